"""What happens inside the networks, as arrays: feature maps (Figure 5) and effective receptive fields."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alkdnet.analysis.intermediates import intermediates
from alkdnet.analysis.receptive_field import effective_receptive_field, receptive_radii
from alkdnet.arrays import ImageHWC
from alkdnet.data.images import list_images, read_rgb
from alkdnet.errors import UserError
from alkdnet.evaluation.benchmark import BenchmarkSet
from alkdnet.files import atomic_path


def feature_maps(model: nn.Module, lr_HWC: ImageHWC) -> dict[str, NDArray[np.float32]]:
    """Return the mean over the channels of every feature in `models.features.intermediates`, shape HW of LR.

    Raises:
        UserError: the network's features have no names.
    """
    features = intermediates(model.eval(), _batch(lr_HWC))
    return {name: feature_BCHW[0].mean(0).numpy() for name, feature_BCHW in features.items()}


def write_maps(root: Path, model: nn.Module, lr_HWC: ImageHWC) -> dict[str, str]:
    """Write `feature_maps` under `root` as `maps/<feature>.npy`, float32; return the files by feature."""
    files = {}
    for name, map_HW in feature_maps(model, lr_HWC).items():
        files[name] = f"maps/{name}.npy"
        _save(root / files[name], map_HW)
    return files


def write_field(
    root: Path, run: str, model: nn.Module, images: Sequence[ImageHWC], *, size: int
) -> dict[str, object]:
    """Write a network's effective receptive field under `root` as `fields/<run>.npy`.

    The array is float64 of shape HW, H = W = `size`, with sum 1.

    Args:
        root: the folder that file names are relative to.
        run: the network's name.
        model: the network.
        images: LR images, uint8, not smaller than `size`; their central squares are averaged over.
        size: side of the squares in LR pixels, odd.

    Returns:
        run, file, images (their number), radii: by share of the whole (0.5, 0.9, 0.99) the half side of the
        central square that holds it, in LR pixels.

    Raises:
        UserError: there is no image, or the network has no gradient.
    """
    if not images:
        raise UserError(f"no image of {size}x{size} LR pixels or more")
    squares_BCHW = torch.cat([_batch(_centre(image_HWC, size)) for image_HWC in images])
    field_HW = effective_receptive_field(model.eval(), squares_BCHW)
    file = f"fields/{run}.npy"
    _save(root / file, field_HW.numpy())
    radii = {str(share): radius for share, radius in receptive_radii(field_HW).items()}
    return {"run": run, "file": file, "images": len(images), "radii": radii}


def large_images(test_set: BenchmarkSet, *, size: int, count: int) -> list[ImageHWC]:
    """Return the first `count` LR images of a set, by name, that hold a square of `size` pixels."""
    found: list[ImageHWC] = []
    for path in list_images(test_set.lr_folder) if test_set.lr_folder.is_dir() else []:
        if len(found) == count:
            break
        image_HWC = read_rgb(path)
        if min(image_HWC.shape[:2]) >= size:
            found.append(image_HWC)
    return found


def _batch(image_HWC: ImageHWC) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image_HWC)).permute(2, 0, 1)[None].float() / 255


def _centre(image_HWC: ImageHWC, size: int) -> ImageHWC:
    top, left = ((side - size) // 2 for side in image_HWC.shape[:2])
    return image_HWC[top : top + size, left : left + size]


def _save(path: Path, array: NDArray[np.floating]) -> None:
    # Plain .npy: a .npz archive carries the time of its making.
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, np.ascontiguousarray(array))
