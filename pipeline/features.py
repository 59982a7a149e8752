"""Feature maps, effective receptive fields and crops for the figures."""

from torch import nn

from stage import Stage, run

from alkdnet.analysis.features import write_features
from alkdnet.device import arithmetic, choose_device
from alkdnet.evaluation.protocol import Protocol
from alkdnet.evaluation.sets import benchmark_set
from alkdnet.inference.upscaler import Upscaler
from alkdnet.networks import build
from alkdnet.weights.files import load_weights


def features(stage: Stage) -> None:
    """Fill results/features."""
    params, paths = stage.params, stage.paths
    settings = params.evaluate
    device = choose_device(settings.device)

    def load(name: str) -> nn.Module:
        row = params.runs[name]
        model = build(row.network, row.scale, row.options)
        load_weights(paths.model(name) / "weights.safetensors", model)
        return model

    with arithmetic(device, "float32", threads=settings.threads):
        write_features(
            paths.features,
            settings=params.features,
            scales={name: row.scale for name, row in params.runs.items()},
            load=load,
            # As in the stage `evaluate`, for the numbers below the details are those of the tables.
            upscaler=lambda model: Upscaler(
                model, device=device, self_ensemble=settings.self_ensemble, tile=settings.tile
            ),
            test_set=lambda name, scale: benchmark_set(params, paths, name, scale),
            unpublishable={name for name, dataset in params.datasets.items() if dataset.source == "manga109"},
            protocol=Protocol(
                channel=settings.channel,
                round_luma=settings.round_luma,
                crop=settings.crop,
                self_ensemble=settings.self_ensemble,
            ),
        )


if __name__ == "__main__":
    run(features)
