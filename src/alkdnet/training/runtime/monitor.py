"""What the training loop reports to a monitor; alkdnet.tracking implements one for MLflow."""

from collections.abc import Mapping
from typing import Protocol


class Monitor(Protocol):
    """Receives the numbers of one training run while it goes on.

    No method raises, and none but `close` waits for a network or a disk: a monitor that fails must not cost
    training time.
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

        `loss` and `learning_rate` are always there, `validation_psnr` and `validation_psnr_ema` (dB) when
        they were measured, `gradient_norm` if the recipe clips.
        """

    def state(self) -> str:
        """Return what the next checkpoint keeps for `resume`; empty when there is nothing to continue."""

    def close(self, *, finished: bool) -> None:
        """Close the monitor; `finished`: the outputs are complete, otherwise the run was stopped."""


class NullMonitor:
    """A monitor that ignores everything."""

    def resume(self, state: str) -> None:
        """Ignore the state."""

    def log(self, iteration: int, values: Mapping[str, float]) -> None:
        """Ignore the values."""

    def state(self) -> str:
        """Return the empty state."""
        return ""

    def close(self, *, finished: bool) -> None:
        """Do nothing."""
