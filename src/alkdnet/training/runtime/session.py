"""What surrounds a training and decides no number: checkpoint, history, monitor, progress, stop requests."""

import contextlib
import logging
import math
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from alkdnet.config.params import Run
from alkdnet.errors import UserError, one_line
from alkdnet.files import atomic_directory, sha256_file
from alkdnet.progress import Progress
from alkdnet.results.history import HistoryRow, write_history
from alkdnet.results.run import HISTORY, RAW_WEIGHTS, WEIGHTS, RunRecord, Training
from alkdnet.training.averaging import WeightAverage
from alkdnet.training.distributed import Ranks
from alkdnet.training.running_loss import RunningLoss
from alkdnet.training.runtime.checkpoint import CheckpointFile, State
from alkdnet.training.runtime.monitor import Monitor, NullMonitor
from alkdnet.training.runtime.recorder import Recorder
from alkdnet.training.runtime.signals import Stopped, stop_requests
from alkdnet.weights.files import save_weights

logger = logging.getLogger(__name__)

# A loss this many times what a black image for a white one can have has diverged.
DIVERGED = 10.0


class Session:
    """One training as its surroundings see it; a context manager.

    Args:
        name: of the run.
        model: the network; a checkpoint fills it.
        average: the average of its weights, which becomes the run's result; likewise. None: there is none.
        optimizer: its optimizer; likewise.
        running_loss: of the steps since the last row; likewise.
        identity: digest of all that decides the run: the key of its checkpoint.
        checkpoints: folder of checkpoints.
        iterations: of the whole training.
        largest_loss: that images in [0, 1] can have.
        ranks: the processes that take part; rank 0 writes and shows.
        monitor: receives every row of the history.
        parent: id of the process that waits for the outputs.

    Raises:
        UserError: on entering: another process trains the same run.
    """

    def __init__(
        self,
        *,
        name: str,
        model: nn.Module,
        average: WeightAverage | None,
        optimizer: torch.optim.Optimizer,
        running_loss: RunningLoss,
        identity: str,
        checkpoints: Path,
        iterations: int,
        largest_loss: float,
        ranks: Ranks,
        monitor: Monitor,
        parent: int | None,
    ) -> None:
        self.iteration = 0
        self._name = name
        self._model = model
        self._average = average
        self._optimizer = optimizer
        self._iterations = iterations
        self._limit = DIVERGED * largest_loss
        self._ranks = ranks
        self._monitor = monitor if ranks.is_rank_zero else NullMonitor()
        self._parent = parent
        self._file = CheckpointFile(checkpoints, name, identity)
        self._recorder = Recorder((), self._monitor)
        self._loss = running_loss
        self._finished = False
        self._saved_at: int | None = None
        self._progress: Progress | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._requests = stack.enter_context(stop_requests(self._parent))
            self._lock(stack)
            stack.callback(lambda: self._monitor.close(finished=self._finished))
            self._restore()
            if self._ranks.is_rank_zero:
                shown = Progress(
                    self._iterations, description=self._name, unit="iterations", initial=self.iteration
                )
                self._progress = stack.enter_context(shown)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def advance(self) -> None:
        """Count a finished optimiser step."""
        self.iteration += 1
        if self._progress is not None:
            self._progress.advance(note=self._recorder.note())

    def log(
        self, learning_rate: float, gradient_norm: Tensor | None, validation: Mapping[str, Future[float]]
    ) -> None:
        """Add a row to the history; its PSNRs, by column, may follow.

        Raises:
            UserError: the loss has diverged.
        """
        loss = self._loss.mean()
        self._require_finite(loss)
        norm = None if gradient_norm is None else gradient_norm.item()
        self._recorder.add(
            HistoryRow(self.iteration, loss, learning_rate, None, gradient_norm=norm), validation
        )
        self._loss.reset()

    def save(self) -> None:
        """Write a checkpoint; when the disk is full, warn: there may be space when the next one is due.

        Raises:
            UserError: the loss has diverged.
        """
        self._require_finite(self._loss.mean())
        loss_sum = self._loss.total()
        if not self._ranks.is_rank_zero:
            return
        state = State(
            iteration=self.iteration,
            model=self._model.state_dict(),
            average=self._average.model.state_dict() if self._average else {},
            optimizer=self._optimizer.state_dict(),
            rows=self._recorder.complete(),
            loss_sum=loss_sum,
            monitor=self._monitor.state(),
        )
        try:
            self._file.write(state)
            self._saved_at = self.iteration
        except OSError as error:
            logger.warning("%s: no checkpoint at iteration %d: %s", self._name, self.iteration, error)

    def stop_requested(self) -> bool:
        """Return whether any process was asked to stop."""
        return self._ranks.any(self._requests.reason() is not None)

    def stop(self) -> NoReturn:
        """Raise Stopped; the process that writes the checkpoints says how the next start goes on."""
        reason = self._requests.reason() or Stopped("a request to another process of this training", 1)
        if not self._ranks.is_rank_zero:
            raise reason
        if self._saved_at == self.iteration:
            then = f"continues after iteration {self.iteration}"
        else:
            then = "continues from the checkpoint before" if self._file.path.exists() else "starts again"
        raise Stopped(f"{reason}; the next start {then}", reason.exit_code)

    def write_outputs(self, output: Path, *, run: Run, training: Training) -> None:
        """Write the folder `output` whole: weights.safetensors, history.csv and run.json.

        With an average, weights.safetensors has it, and weights_raw.safetensors the weights of the last step.
        """
        if not self._ranks.is_rank_zero:
            return
        with atomic_directory(output) as folder:
            save_weights(folder / WEIGHTS, self._average.model if self._average else self._model)
            if self._average:
                save_weights(folder / RAW_WEIGHTS, self._model)
            write_history(folder / HISTORY, self._recorder.complete())
            record = RunRecord(
                network=run.network,
                scale=run.scale,
                options=dict(run.options),
                parameters=sum(parameter.numel() for parameter in self._model.parameters()),
                weights_sha256=sha256_file(folder / WEIGHTS),
                torch=torch.__version__.partition("+")[0],
                training=training,
                published=None,
            )
            record.write(folder)
        self._file.finish()
        self._finished = True
        logger.info("%s: %d iterations, %s", output, self.iteration, self._recorder.note())

    def _lock(self, stack: contextlib.ExitStack) -> None:
        """Lock the checkpoint on rank 0; when another process holds it, raise on all ranks."""
        problem = None
        if self._ranks.is_rank_zero:
            try:
                stack.enter_context(self._file.locked())
            except UserError as error:
                problem = str(error)
        if (problem := self._ranks.broadcast(problem)) is not None:
            raise UserError(problem)

    def _restore(self) -> None:
        """Continue from the checkpoint, if there is one."""
        state = self._ranks.broadcast(self._file.read() if self._ranks.is_rank_zero else None)
        if state is None:
            return
        try:
            if state.iteration > self._iterations:
                raise ValueError(f"iteration {state.iteration} of {self._iterations}")
            self._model.load_state_dict(state.model)
            if self._average:
                self._average.model.load_state_dict(state.average)
            load_optimizer(self._optimizer, state.optimizer)
        except Exception as error:  # the names, shapes and types of a file that was not written here
            problem = one_line(" ".join(str(error).split()))
            raise UserError(
                f"{self._file.existing}: not the state of this training ({problem}); remove the file, and "
                "the training starts at the beginning"
            ) from None
        self.iteration = state.iteration
        self._monitor.resume(state.monitor)
        self._recorder = Recorder(state.rows, self._monitor)
        self._loss.reset(state.loss_sum, steps=state.iteration - self._recorder.iteration)

    def _require_finite(self, loss: float) -> None:
        """Stop before a state that cannot recover gets into a checkpoint."""
        if not has_diverged(loss, self._model, limit=self._limit):
            return
        path = self._file.path
        good = f"the last good checkpoint is {path}" if path.exists() else "there is no checkpoint yet"
        raise UserError(
            f"{self._name}: the training has diverged (loss {loss:.3g} at iteration {self.iteration}); "
            f"{good}. The same settings would diverge again: lower learning_rate in its recipe, or use "
            "clip_norm, another seed or precision"
        )


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load a state after comparing it: PyTorch adopts the settings in it, and tensors of any shape.

    Raises:
        Exception: of any kind, if the state is not that of the optimizer at another time.
    """
    # Versions of PyTorch differ in the settings that they have; the learning rate is set in every step.
    for own, stored in zip(optimizer.state_dict()["param_groups"], state["param_groups"], strict=True):
        if wrong := [key for key in own.keys() & stored.keys() - {"lr"} if own[key] != stored[key]]:
            raise ValueError(f"other {', '.join(sorted(wrong))} of the optimizer")
    optimizer.load_state_dict(state)
    for parameter, tensors in optimizer.state.items():
        for name, tensor in tensors.items():
            if not torch.is_tensor(tensor) or (tensor.ndim and tensor.shape != parameter.shape):
                raise ValueError(f"{name} of the optimizer does not fit its parameter")
            # PyTorch leaves a `step` where it was read to, unless the optimizer is one of its own.
            tensors[name] = tensor.to(parameter.device)


def has_diverged(loss: float, model: nn.Module, *, limit: float) -> bool:
    """Return whether a mean loss, which should be below `limit`, or a weight cannot recover."""
    # One norm over all parameters: on a GPU every number that is looked at waits for the device.
    norm = get_total_norm([parameter.detach() for parameter in model.parameters()]).item()
    return not (math.isfinite(loss) and loss < limit and math.isfinite(norm))
