"""Keep the images that training is validated on as plain arrays, so that it needs no image library."""

from stage import Stage, run

from alkdnet.data.images import list_images
from alkdnet.data.pairs import read_pairs
from alkdnet.data.validation_images import Pairs, write_validation
from alkdnet.errors import raise_problems
from alkdnet.files import atomic_directory


def validation(stage: Stage) -> None:
    """Fill validation/x<scale> with <set>.safetensors."""
    scale = int(stage.key)
    sets = {name: _pairs(stage, name, scale) for name in stage.params.history.validation_sets}
    with atomic_directory(stage.paths.validation(scale)) as folder:
        for name, pairs in sets.items():
            write_validation(folder / f"{name}.safetensors", pairs)


def _pairs(stage: Stage, name: str, scale: int) -> Pairs:
    hr, lr = stage.paths.raw("test", name), stage.paths.lr("test", name, scale)
    least = 2 * scale + 1  # the paper's protocol cuts as many pixels as the scale from every side
    with stage.explaining_own_images(name):
        pairs = read_pairs(hr, lr, scale=scale, alpha=stage.params.datasets[name].alpha)
        raise_problems(
            [
                f"{path}: too small to validate on at x{scale}, which takes {least} pixels a side"
                for path, (_, hr_HWC) in zip(list_images(hr), pairs, strict=True)
                if min(hr_HWC.shape[:2]) < least
            ]
        )
    return pairs


if __name__ == "__main__":
    run(validation, table="scales")
