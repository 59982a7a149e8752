"""Pack the training images so that any patch can be read without decoding an image."""

from stage import Stage, run

from alkdnet.data.packing import TrainingSet, pack


def patches(stage: Stage) -> None:
    """Fill patches/hr and patches/x<scale>."""
    params, paths = stage.params, stage.paths
    sets = [
        TrainingSet(
            name, paths.raw("train", name), paths.lr("train", name), alpha=params.datasets[name].alpha
        )
        for name in params.names("train")
    ]
    with stage.explaining_own_images(*params.names("train")):
        pack(sets, paths.patches, params.patch_sizes)


if __name__ == "__main__":
    run(patches)
