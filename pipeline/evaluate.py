"""PSNR and SSIM of a run on every test set, per image."""

import torch

from stage import Stage, run

from alkdnet.evaluation.benchmark import evaluate as measure
from alkdnet.evaluation.protocol import Protocol
from alkdnet.evaluation.sets import benchmark_set
from alkdnet.models.build import build, load_weights
from alkdnet.models.inference import Upscaler
from alkdnet.training.device import choose_device


def evaluate(stage: Stage) -> None:
    """Fill results/evaluation/<run>."""
    params, paths, row = stage.params, stage.paths, stage.params.runs[stage.key]
    settings = params.evaluate
    torch.set_num_threads(settings.threads)
    model = build(row.network, row.scale, row.options)
    load_weights(paths.model(stage.key) / "weights.safetensors", model)
    result = measure(
        Upscaler(
            model,
            device=choose_device(settings.device),
            self_ensemble=settings.self_ensemble,
            tile=settings.tile,
        ),
        [benchmark_set(params, paths, name, row.scale) for name in params.names("test")],
        scale=row.scale,
        protocol=Protocol(
            channel=settings.channel,
            round_luma=settings.round_luma,
            crop=settings.crop,
            self_ensemble=settings.self_ensemble,
        ),
        description=stage.key,
    )
    result.write(paths.evaluation(stage.key))


if __name__ == "__main__":
    run(evaluate, each="run")
