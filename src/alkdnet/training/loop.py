"""The training loop: from packed patches to the weights of one run.

Shape letters: B batch (this process's share), C colours, H and W the patch size, LR or HR.
"""

import contextlib
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from alkdnet.arrays import ImageHWC
from alkdnet.config.params import Run, Train
from alkdnet.data.packs import PackedImages
from alkdnet.data.sampler import PatchSampler
from alkdnet.device import arithmetic, choose_device, keep_freed_memory
from alkdnet.errors import UserError
from alkdnet.kernels.cpu.training import FastKernels
from alkdnet.networks import build
from alkdnet.progress import Progress
from alkdnet.training.distributed import Agreement, Group, process_group
from alkdnet.training.precision import keep_tail_in_float32
from alkdnet.training.runtime.checkpoint import CheckpointFile, State
from alkdnet.training.runtime.history import History
from alkdnet.training.runtime.identity import run_identity
from alkdnet.training.runtime.monitor import Monitor, NullMonitor
from alkdnet.training.runtime.outputs import write_outputs
from alkdnet.training.runtime.signals import Stopped, stop_requests
from alkdnet.training.schedule import learning_rate
from alkdnet.training.validation import Validator

logger = logging.getLogger(__name__)

# Pixels lie in [0, 1], so that even a black image has a loss below 1: what is ten times off has exploded.
EXPLODED = 10.0


def train(
    *,
    run: Run,
    recipe: Train,
    packed: PackedImages,
    validation: Sequence[tuple[ImageHWC, ImageHWC]],
    output: Path,
    checkpoints: Path,
    monitor: Monitor,
    starter: int | None = None,
) -> None:
    """Train one run from its beginning or its checkpoint, and write its folder of outputs.

    The same arguments give the same bytes on the same type of machine, also when the training was killed and
    called again. Under torchrun every process calls this with the same arguments; only the first one writes.

    Args:
        run: network, scale, options, seed.
        recipe: section 4.2 of the paper.
        packed: the training images of the run's scale.
        validation: images (LR, HR) to follow PSNR on; none: the column stays empty.
        output: folder of weights.safetensors, history.csv and run.json; its name is that of the run.
        checkpoints: folder that keeps the states of runs that are not finished, or not recorded yet.
        monitor: told of every row of the history.
        starter: id of the process to work for, see `StopRequest`.

    Raises:
        UserError: the batch does not divide among the processes, the device is missing, another process
            trains this run, or the loss has exploded or is no number.
        Stopped: a signal or the starter's death ended the training early; with a checkpoint, if the disk had
            room for it.
    """
    device = choose_device(recipe.device)
    identity = run_identity(run, recipe, data=packed.digest, validation=validation)
    file = CheckpointFile(checkpoints, output.name, identity)
    with contextlib.ExitStack() as stack:
        stack.enter_context(arithmetic(device, recipe.precision, threads=recipe.threads))
        group = stack.enter_context(process_group(device.type, processes=recipe.processes))
        request = stack.enter_context(stop_requests(starter))
        finished = False
        _own(file, group, stack)
        if group.leads:
            stack.callback(lambda: monitor.close(finished=finished))
        else:
            monitor = NullMonitor()

        batches = PatchSampler(
            packed,
            seed=run.seed,
            batch_size=recipe.batch_size,
            patch_size=recipe.patch_size,
            device=device,
            rank=group.rank,
            world_size=group.size,
        )
        torch.manual_seed(run.seed)
        model = build(run.network, run.scale, run.options)
        model.to(device=device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        optimizer = torch.optim.Adam(
            model.parameters(), recipe.learning_rate, betas=(recipe.beta1, recipe.beta2), fused=True
        )
        loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        start = 0
        state = group.same(file.read() if group.leads else None)
        if state is not None:
            start = state.iteration
            model.load_state_dict(state.model)
            optimizer.load_state_dict(state.optimizer)
            loss_sum.fill_(state.loss_sum)
            monitor.resume(state.monitor)
        history = History(state.rows if state else (), monitor)
        validator = (
            Validator(validation, scale=run.scale, device=device) if validation and group.leads else None
        )
        batch_loss = _batch_loss(model, recipe, device, group)
        agreement = Agreement(group, start)
        shown = None
        if group.leads:
            shown = Progress(recipe.iterations, description=output.name, unit="iterations", initial=start)
            stack.enter_context(shown)

        for iteration in range(start, recipe.iterations):
            lr_BCHW, hr_BCHW = batches.batch(iteration)
            rate = learning_rate(
                iteration,
                iterations=recipe.iterations,
                initial=recipe.learning_rate,
                final=recipe.final_learning_rate,
            )
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad()
            loss = batch_loss(lr_BCHW, hr_BCHW)
            torch.autograd.backward(loss)
            optimizer.step()
            loss_sum += loss.detach()

            done = iteration + 1
            last = done == recipe.iterations
            validates = done % recipe.validation_interval == 0 or last
            if validates or done % recipe.log_interval == 0:
                mean_loss = group.mean(loss_sum).item() / (done - history.iteration)
                _refuse_explosion(mean_loss, done, file, model)
                history.add(
                    done, mean_loss, rate, validator.start(model) if validator and validates else None
                )
                loss_sum.zero_()
            if shown is not None:
                shown.advance(note=history.note())

            reason = None if last else request.reason()
            stops = agreement.any(done, reason is not None)
            if stops or last or done % recipe.checkpoint_interval == 0:
                partial_sum = group.mean(loss_sum).item()
                _refuse_explosion(partial_sum / max(done - history.iteration, 1), done, file, model)
                written = None
                if group.leads:
                    state = State(
                        iteration=done,
                        model=model.state_dict(),
                        optimizer=optimizer.state_dict(),
                        rows=history.complete(),
                        loss_sum=partial_sum,
                        monitor=monitor.state(),
                    )
                    written = _write_checkpoint(file, state)
            if stops:
                reason = reason or Stopped("a request to another process of this training", 1)
                raise Stopped(f"{reason}; the next start {_next_start(file, written)}", reason.exit_code)

        if group.leads:
            rows = history.complete()
            write_outputs(output, model, rows, run=run, recipe=recipe, packed=packed, identity=identity)
            file.finish()
            finished = True
            logger.info("%s: %d iterations, %s", output, recipe.iterations, history.note())


def _own(file: CheckpointFile, group: Group, stack: contextlib.ExitStack) -> None:
    """Own the checkpoint until the stack ends, on the first process; what is refused there, all raise."""
    refusal = None
    if group.leads:
        try:
            stack.enter_context(file.owned())
        except UserError as error:
            refusal = str(error)
    refusal = group.same(refusal)
    if refusal is not None:
        raise UserError(refusal)


def _batch_loss(
    model: nn.Module, recipe: Train, device: torch.device, group: Group
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the function from a batch (LR, HR) to its mean L1 loss, in float32."""
    if recipe.precision == "bfloat16":
        keep_tail_in_float32(model, device.type)
    trained = group.wrap(model)

    def batch_loss(lr_BCHW: Tensor, hr_BCHW: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
            sr_BCHW = trained(lr_BCHW)
        return F.l1_loss(sr_BCHW.float(), hr_BCHW)

    def batch_loss_on_cpu(lr_BCHW: Tensor, hr_BCHW: Tensor) -> Tensor:
        with FastKernels():
            return batch_loss(lr_BCHW, hr_BCHW)

    if device.type == "cpu":
        keep_freed_memory()
        return batch_loss_on_cpu
    return torch.compile(batch_loss) if recipe.compile else batch_loss


def _refuse_explosion(loss: float, iteration: int, file: CheckpointFile, model: nn.Module) -> None:
    """Stop before a state that cannot recover gets into a checkpoint."""
    # One norm over all parameters: on a GPU every number that is looked at waits for the device.
    size = get_total_norm([parameter.detach() for parameter in model.parameters()]).item()
    if math.isfinite(loss) and loss < EXPLODED and math.isfinite(size):
        return
    good = f"the last good checkpoint is {file.path}" if file.path.exists() else "there is no checkpoint yet"
    raise UserError(
        f"{file.run}: the training has diverged (loss {loss:.3g} at iteration {iteration}); {good}. "
        "The same settings would end here again: lower train.learning_rate, or use another seed or precision"
    )


def _write_checkpoint(file: CheckpointFile, state: State) -> int | None:
    """Write it and return its iteration, or warn: a full disk may be emptied before the next one is due."""
    try:
        file.write(state)
    except OSError as error:
        logger.warning("%s: no checkpoint at iteration %d: %s", file.run, state.iteration, error)
        return None
    return state.iteration


def _next_start(file: CheckpointFile, written: int | None) -> str:
    if written is not None:
        return f"continues after iteration {written}"
    return "continues from the checkpoint before" if file.path.exists() else "begins anew"
