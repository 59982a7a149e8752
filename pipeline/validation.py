"""Keep the images that training is validated on as plain arrays, so that it needs no image library."""

from stage import Stage, run

from alkdnet.data.pairs import read_pairs
from alkdnet.data.validation_images import write_validation


def validation(stage: Stage) -> None:
    """Write validation/x<scale>/<set>.safetensors."""
    name, scale = stage.key, stage.scale
    hr, lr = stage.paths.raw("test", name), stage.paths.lr("test", name, scale)
    pairs = read_pairs(hr, lr, scale=scale, alpha=stage.params.datasets[name].alpha)
    write_validation(stage.paths.validation(scale) / f"{name}.safetensors", pairs)


if __name__ == "__main__":
    run(validation, table="datasets", with_scale=True)
