"""What the training loop tells whoever watches it; alkdnet.tracking implements it for MLflow."""

from collections.abc import Mapping
from typing import Protocol


class Monitor(Protocol):
    """Receives the numbers of one training run while it goes on.

    No method raises or waits for a network or a disk: a watcher that fails must not cost training time.
    The calls come in this order: `resume` at most once, then `log` with rising iterations and `state` between
    them, then `close`.
    """

    def resume(self, state: str) -> None:
        """Continue what `state` named when the checkpoint was written.

        Training goes on from the checkpoint and logs the iterations after it once more, with the same values:
        those that were received before the kill are to be dropped.
        """

    def log(self, iteration: int, values: Mapping[str, float]) -> None:
        """Take the values of the history's row of `iteration` (counted from 1): its columns by name.

        `loss` and `learning_rate` are always there, `validation_psnr` (dB) when it was measured.
        """

    def state(self) -> str:
        """Return what the next checkpoint keeps for `resume`; empty when there is nothing to continue."""

    def close(self, *, finished: bool) -> None:
        """End the watching: `finished` tells whether the outputs are complete or the run was stopped."""


class NullMonitor:
    """A monitor for nobody."""

    def resume(self, state: str) -> None:
        """Ignore the state."""

    def log(self, iteration: int, values: Mapping[str, float]) -> None:
        """Ignore the values."""

    def state(self) -> str:
        """Return nothing to continue."""
        return ""

    def close(self, *, finished: bool) -> None:
        """Do nothing."""
