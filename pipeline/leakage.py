"""Reject test images among the training images."""

from stage import Stage, run

from alkdnet.data.leakage import write_leakage


def leakage(stage: Stage) -> None:
    """Write results/leakage.json, unless a training image is a test image."""
    params, paths = stage.params, stage.paths
    training = [paths.raw("train", name) for name in params.names("train")]
    tests = [paths.raw("test", name) for name in params.names("test")]
    with stage.explaining_own_images(*params.datasets):
        write_leakage(paths.leakage, training, tests)


if __name__ == "__main__":
    run(leakage)
