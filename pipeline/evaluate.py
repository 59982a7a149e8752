"""PSNR and SSIM of a row on every test set, per image."""

from stage import Stage, run

from alkdnet.device import arithmetic, choose_device
from alkdnet.evaluation.benchmark import evaluate as measure
from alkdnet.evaluation.protocol import Protocol
from alkdnet.inference.upscaler import Upscaler


def evaluate(stage: Stage) -> None:
    """Fill results/evaluation/<row>."""
    params, settings, execution = stage.params, stage.params.evaluate, stage.params.execution
    row = params.rows[stage.key]
    device = choose_device(execution.device)
    model, record = stage.load(stage.key)
    skip = record.published.skip if record and record.published else ()
    # On a CPU an image for each thread is faster than all threads for one, and adds in one order.
    with arithmetic(device, "float32", threads=1):
        scores = measure(
            Upscaler(model, device=device, self_ensemble=settings.self_ensemble, tile=settings.tile),
            [stage.test_set(name, row.scale) for name in params.names("test") if name not in skip],
            scale=row.scale,
            protocol=Protocol.of(settings),
            description=stage.key,
            workers=execution.threads if device.type == "cpu" else 1,
            weights_sha256=record.weights_sha256 if record else None,
            skipped=skip,
        )
    scores.write(stage.paths.evaluation(stage.key))


if __name__ == "__main__":
    run(evaluate, table="rows")
