"""Keep the images that training is validated on as plain arrays, so that it needs no image library."""

from stage import Stage, run

from alkdnet.data.pairs import read_pairs
from alkdnet.data.validation_images import write_validation
from alkdnet.files import atomic_directory


def validation(stage: Stage) -> None:
    """Fill validation/x<scale>.safetensors."""
    params, paths = stage.params, stage.paths
    name = params.train.validation_set
    with atomic_directory(paths.validation) as folder:
        for scale in params.downscale.scales:
            pairs = read_pairs(
                paths.raw("test", name),
                paths.lr("test", name, scale),
                scale=scale,
                alpha=params.datasets[name].alpha,
            )
            write_validation(folder / f"x{scale}.safetensors", pairs)


if __name__ == "__main__":
    run(validation)
