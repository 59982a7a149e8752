"""Import released weights under the names of this library."""

from stage import Stage, run

from alkdnet.weights.runs import import_run


def import_weights(stage: Stage) -> None:
    """Fill models/<row>."""
    row, paths = stage.params.released[stage.key], stage.paths
    import_run(row, paths.raw_weights(stage.key), paths.model(stage.key))


if __name__ == "__main__":
    run(import_weights, table="released")
