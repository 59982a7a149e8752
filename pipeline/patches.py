"""Pack the training images so that any patch can be read without decoding an image."""

from stage import Stage, run

from alkdnet.data.leakage import refuse_overlaps
from alkdnet.data.packing import TrainingSet, pack, require_disk


def patches(stage: Stage) -> None:
    """Fill patches/hr and patches/x<scale>, unless a training image is a test image."""
    params, paths = stage.params, stage.paths
    sets = [
        TrainingSet(
            name, paths.raw("train", name), paths.lr("train", name), alpha=params.datasets[name].alpha
        )
        for name in params.names("train")
    ]
    # First what is known at once: comparing thousands of images takes minutes.
    require_disk(sets, paths.patches, params.downscale.scales)
    if sets:
        tests = [paths.raw("test", name) for name in params.names("test")]
        with stage.saying_where_to_mend(*params.names("train")):
            refuse_overlaps([training.hr for training in sets], tests)
    pack(sets, paths.patches, params.downscale.scales)


if __name__ == "__main__":
    run(patches)
