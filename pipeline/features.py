"""Feature maps, effective receptive fields and crops for the figures."""

from torch import nn

from stage import Stage, run

from alkdnet.evaluation.features import write_features
from alkdnet.evaluation.protocol import Protocol
from alkdnet.evaluation.sets import benchmark_set
from alkdnet.models.build import build, load_weights
from alkdnet.models.device import arithmetic, choose_device
from alkdnet.models.inference import Upscaler


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
