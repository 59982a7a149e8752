"""PSNR and SSIM of a row on every test set, per image."""

import logging

from stage import Stage, run

from alkdnet.device import arithmetic, choose_device
from alkdnet.evaluation.benchmark import evaluate as measure
from alkdnet.evaluation.identity import evaluation_identity
from alkdnet.evaluation.protocol import Protocol
from alkdnet.inference.upscaler import Upscaler
from alkdnet.results.unfinished import Unfinished

logger = logging.getLogger(__name__)


def evaluate(stage: Stage) -> None:
    """Fill results/evaluation/<row>; the scores of images that an attempt left unfinished are kept."""
    params, settings, execution = stage.params, stage.params.evaluate, stage.params.execution
    row = params.rows[stage.key]
    device = choose_device(execution.device)
    model, record = stage.load(stage.key)
    weights = record.weights_sha256 if record else None
    skip = record.published.skip if record and record.published else ()
    identity = evaluation_identity(row, settings, weights_sha256=weights, device=device)
    unfinished = Unfinished(stage.evaluations / f"{stage.key}-{identity[:16]}.jsonl")
    if unfinished.images:
        logger.info("%s: going on, %d images are measured", stage.key, unfinished.images)
    upscaler = Upscaler(model, device=device, self_ensemble=settings.self_ensemble, tile=settings.tile)
    # On a CPU an image for each thread is faster than all threads for one, and adds in one order.
    with arithmetic(device, "float32", threads=1):
        scores = measure(
            upscaler,
            [stage.test_set(name, row.scale) for name in params.names("test") if name not in skip],
            scale=row.scale,
            protocol=Protocol.of(settings),
            description=f"{stage.key}, row {list(params.rows).index(stage.key) + 1} of {len(params.rows)}",
            workers=execution.threads if device.type == "cpu" else 1,
            weights_sha256=weights,
            skipped=skip,
            upscale_luma=upscaler.luma if "classic" in settings.protocols else None,
            unfinished=unfinished,
        )
    scores.write(stage.paths.evaluation(stage.key))
    unfinished.remove()


if __name__ == "__main__":
    run(evaluate, table="rows")
