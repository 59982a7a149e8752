"""Making the LR images of a folder of HR images."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from alkdnet.data.disk import require_space, size
from alkdnet.data.images import (
    Alpha,
    collect_problems,
    image_sizes,
    list_images,
    pixel_bytes,
    png_bytes,
    read_rgb,
    same_stems,
    too_small,
    unreadable_names,
)
from alkdnet.data.resize import Border, crop_to_multiple, downscale
from alkdnet.errors import UserError
from alkdnet.files import atomic_directory

logger = logging.getLogger(__name__)


def downscale_folder(
    source: Path,
    target: Path,
    scales: Sequence[int],
    *,
    border: Border = "replicate",
    alpha: Alpha = "reject",
    workers: int | None = None,
) -> int:
    """Write `target/x<scale>/<stem>.png` for every image in `source` and every scale; return how many images.

    An image is cropped at the bottom and the right to a multiple of each scale first. A folder without images
    (a data set that is not available) gives empty folders. `target` appears when it is complete.

    Every core takes an image at a time, so that the memory is that of `workers` images.

    Raises UserError with all problems at once: see `images.read_rgb`; also images smaller than a scale, files
    that differ by their suffix only and names that are not UTF-8; and, before all that, if the disk cannot
    hold the LR images' pixels.
    """
    paths = list_images(source)
    sizes, _ = image_sizes(paths)
    needed = sum(pixel_bytes(sizes.values(), scale) for scale in scales)
    logger.info("%s: %d images, their LR images take at most %s", source, len(paths), size(needed))
    require_space([(target, needed)])
    problems = same_stems(paths) + unreadable_names(paths)
    with atomic_directory(target) as folder:
        for scale in scales:
            (folder / f"x{scale}").mkdir()

        def make_lr(path: Path) -> str | None:
            # One thread for each image: the cores are kept busy by different images.
            torch.set_num_threads(1)
            image = read_rgb(path, alpha=alpha)
            problem = too_small(path, image.shape[0], image.shape[1], max(scales))
            if problem is None:
                for scale in scales:
                    lr = downscale(crop_to_multiple(image, scale), scale, border=border)
                    (folder / f"x{scale}" / f"{path.stem}.png").write_bytes(png_bytes(lr))
            return problem

        problems += collect_problems(make_lr, paths, description=f"downscale {source.name}", workers=workers)
        if problems:
            raise UserError(
                f"{source}: {len(problems)} of the images cannot be used:\n" + "\n".join(problems)
            )
    return len(paths)
