"""Feature maps, effective receptive field and crops of a row, for the figures."""

from stage import Stage, run

from alkdnet.analysis.figure_data import write_features
from alkdnet.device import arithmetic, choose_device
from alkdnet.evaluation.protocol import Protocol
from alkdnet.inference.upscaler import Upscaler


def features(stage: Stage) -> None:
    """Fill results/features/<row>."""
    params, settings, execution = stage.params, stage.params.evaluate, stage.params.execution
    row = params.rows[stage.key]
    device = choose_device(execution.device)
    model, _ = stage.load(stage.key)
    with arithmetic(device, "float32", threads=1):
        write_features(
            stage.paths.features(stage.key),
            row=stage.key,
            settings=params.features,
            scale=row.scale,
            model=model,
            # As in the stage `evaluate`: the scores below the crops are those of the tables.
            upscale=Upscaler(model, device=device, self_ensemble=settings.self_ensemble, tile=settings.tile),
            test_set=lambda name: stage.test_set(name, row.scale),
            protocol=Protocol.of(settings),
            originals=row.kind == "interpolation",
        )


if __name__ == "__main__":
    run(features, table="rows")
