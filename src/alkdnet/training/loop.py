"""Training: from packed patches to the weights of one run.

Shape letters: B batch (this process's share), C colours, H and W the patch size, LR or HR.
"""

import logging
from pathlib import Path

import torch

from alkdnet.config.params import Execution, History, Recipe, Run
from alkdnet.data.packs import PackedImages
from alkdnet.data.sampler import PatchSampler
from alkdnet.data.validation_images import Pairs
from alkdnet.device import arithmetic, choose_device, keep_freed_memory
from alkdnet.kernels.choice import choose_kernels
from alkdnet.networks import build
from alkdnet.results.run import Training
from alkdnet.training.averaging import WeightAverage
from alkdnet.training.distributed import join_ranks
from alkdnet.training.initialisation import start_from
from alkdnet.training.losses import largest_loss, make_loss
from alkdnet.training.optimizers import make_optimizer
from alkdnet.training.running_loss import RunningLoss
from alkdnet.training.runtime.identity import run_identity
from alkdnet.training.runtime.monitor import Monitor
from alkdnet.training.runtime.session import Session
from alkdnet.training.schedules import learning_rate
from alkdnet.training.step import TrainingStep
from alkdnet.training.validation import Validator

logger = logging.getLogger(__name__)


def train(
    *,
    run: Run,
    recipe: Recipe,
    history: History,
    execution: Execution,
    packed: PackedImages,
    validation: Pairs,
    output: Path,
    checkpoints: Path,
    monitor: Monitor,
    start: Path | None = None,
    parent: int | None = None,
) -> None:
    """Train one run from its beginning or its checkpoint, and write its folder of outputs.

    The same arguments give the same bytes on the same model of CPU, also when the training was killed and
    called again. Under torchrun every process calls this with the same arguments; only rank 0 writes.

    Args:
        run: network, scale, options, seed.
        recipe: optimiser, schedule, loss, batch, number of iterations.
        history: what is recorded, and how often.
        execution: device, kernels, threads, interval of checkpoints.
        packed: the training images of the run's scale.
        validation: images (LR, HR) to follow PSNR on; none: the columns stay empty.
        output: folder of weights.safetensors, history.csv and run.json; its name is that of the run.
        checkpoints: folder of the states of unfinished runs.
        monitor: receives every row of the history.
        start: file of the weights to start from, in the folder of their row; None: random ones by the seed.
        parent: id of the process that waits for the outputs; the training stops when it is gone.

    Raises:
        UserError: the batch does not divide among the processes, the device or its kernels are missing,
            another process trains this run, or the loss has diverged.
        Stopped: a signal or the end of `parent` stopped the training; with a checkpoint, if the disk had
            space for it.
    """
    device = choose_device(execution.device)
    identity = run_identity(
        run,
        recipe,
        history,
        data=packed.digest,
        validation=validation,
        start=start,
    )
    with arithmetic(device, recipe.precision, threads=execution.threads), join_ranks(device.type) as ranks:
        batches = PatchSampler(
            packed,
            seed=run.seed,
            batch_size=recipe.batch_size,
            patch_size=recipe.patch_size,
            device=device,
            rank=ranks.rank,
            world_size=ranks.world_size,
        )
        torch.manual_seed(run.seed)
        model = build(run.network, run.scale, run.options)
        init_from = start_from(start, model) if start else None
        if init_from and ranks.is_rank_zero:
            logger.info("%s: %s", output.name, init_from)
        model.to(device=device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        choose_kernels(model, execution.kernels, device, recipe.precision)
        average = WeightAverage(model, recipe.ema_decay) if recipe.ema_decay else None
        optimizer = make_optimizer(recipe, model.parameters())
        batch_loss = make_loss(recipe, model, ranks.wrap(model), device)
        if device.type == "cpu":
            keep_freed_memory()
        elif execution.compile:
            batch_loss = torch.compile(batch_loss)
        step = TrainingStep(
            optimizer=optimizer,
            batch_loss=batch_loss,
            clip_norm=recipe.clip_norm,
            average=average,
            device=device,
            graph=device.type == "cuda" and ranks.world_size == 1,
        )
        running_loss = RunningLoss(device, ranks)
        validator = Validator(validation, scale=run.scale, device=device)
        # What PSNR is followed of, by the column of the history.
        followed = {"validation_psnr": model} if validation and ranks.is_rank_zero else {}
        if followed and average:
            followed["validation_psnr_ema"] = average.model
        session = Session(
            name=output.name,
            model=model,
            average=average,
            optimizer=optimizer,
            running_loss=running_loss,
            identity=identity,
            checkpoints=checkpoints,
            iterations=recipe.iterations,
            largest_loss=largest_loss(recipe.loss, run.scale * recipe.patch_size),
            ranks=ranks,
            monitor=monitor,
            parent=parent,
        )
        with session:
            for iteration in range(session.iteration, recipe.iterations):
                lr_BCHW, hr_BCHW = batches.batch(iteration)
                rate = learning_rate(recipe, iteration)
                loss = step(lr_BCHW, hr_BCHW, rate)
                running_loss.add(loss)
                session.advance()

                done = iteration + 1
                last = done == recipe.iterations
                validates = done % history.validation_interval == 0 or last
                if validates or done % history.log_interval == 0:
                    networks = followed if validates else {}
                    psnr = {column: validator.start(network) for column, network in networks.items()}
                    session.log(rate, step.gradient_norm, psnr)
                stop = session.stop_requested() and not last
                if stop or last or done % execution.checkpoint_interval == 0:
                    session.save()
                if stop:
                    session.stop()
            training = Training(
                seed=run.seed,
                recipe=recipe,
                data=packed.digest,
                sets=tuple(packed.sets),
                validation_sets=history.validation_sets,
                identity=identity,
                init_from=init_from,
            )
            session.write_outputs(output, run=run, training=training)
