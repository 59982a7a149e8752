"""PSNR and SSIM of a run on every test set, per image."""

from stage import Stage, run

from alkdnet.device import arithmetic, choose_device
from alkdnet.evaluation.benchmark import evaluate as measure
from alkdnet.evaluation.protocol import Protocol
from alkdnet.evaluation.sets import benchmark_set
from alkdnet.files import read_json
from alkdnet.inference.upscaler import Upscaler
from alkdnet.networks import build
from alkdnet.training.runtime.checkpoint import forget_finished
from alkdnet.weights.files import load_weights


def evaluate(stage: Stage) -> None:
    """Fill results/evaluation/<run>."""
    params, paths, row = stage.params, stage.paths, stage.params.runs[stage.key]
    settings = params.evaluate
    device = choose_device(settings.device)
    model = build(row.network, row.scale, row.options)
    load_weights(paths.model(stage.key) / "weights.safetensors", model)
    protocol = Protocol(
        channel=settings.channel,
        round_luma=settings.round_luma,
        crop=settings.crop,
        self_ensemble=settings.self_ensemble,
    )
    # On a CPU an image for each thread is faster than all threads for one, and adds in one order.
    with arithmetic(device, "float32", threads=1):
        result = measure(
            Upscaler(model, device=device, self_ensemble=settings.self_ensemble, tile=settings.tile),
            [benchmark_set(params, paths, name, row.scale) for name in params.names("test")],
            scale=row.scale,
            protocol=protocol,
            description=stage.key,
            workers=settings.threads if device.type == "cpu" else 1,
        )
    result.write(paths.evaluation(stage.key))
    # DVC runs this stage when it has recorded the training's outputs. What was taken over has no identity.
    if identity := read_json(paths.model(stage.key) / "run.json").get("config_hash"):
        forget_finished(stage.checkpoints, stage.key, identity)


if __name__ == "__main__":
    run(evaluate, each="run")
