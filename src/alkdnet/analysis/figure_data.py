"""What the figures show of one row: feature maps, effective receptive field, crops."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alkdnet.analysis.intermediates import intermediates
from alkdnet.analysis.receptive_field import effective_receptive_field, receptive_radii
from alkdnet.arrays import ImageHWC
from alkdnet.config.params import Crop, Features
from alkdnet.data.images import list_images, read_rgb, write_png
from alkdnet.errors import UserError
from alkdnet.evaluation.benchmark import BenchmarkSet, read_pair
from alkdnet.evaluation.metrics import score
from alkdnet.evaluation.protocol import Protocol
from alkdnet.files import atomic_directory, atomic_path
from alkdnet.results.features import CropImage, FeaturesRecord, Field, Maps

TestSet = Callable[[str], BenchmarkSet]
# The longer side of a whole image as the figures show it.
WHOLE_SIDE = 320


def write_features(
    folder: Path,
    *,
    row: str,
    settings: Features,
    scale: int,
    model: nn.Module,
    upscale: Callable[[ImageHWC], ImageHWC],
    test_set: TestSet,
    protocol: Protocol,
    originals: bool,
) -> None:
    """Write what `settings` asks of one row into `folder`: see `alkdnet.results.features`.

    What cannot be shown (an absent image, a network whose features have no names) is in `missing`.

    Args:
        folder: is replaced.
        row: its name.
        settings: what to show.
        scale: super-resolution factor of the row.
        model: the network with its weights.
        upscale: what maps an LR image (uint8, HWC) to the HR image with it.
        test_set: returns a test set of the row's scale by its name.
        protocol: for the PSNR and SSIM beside the crops.
        originals: write the crops of the originals too.
    """
    missing: list[str] = []
    with atomic_directory(folder) as root:
        maps, field = None, None
        try:
            if row == settings.maps_run:
                maps = _write_maps(root, model, settings, test_set, scale)
        except UserError as error:
            missing.append(f"Feature maps of {row}: {error}.")
        try:
            if row in settings.field_runs:
                field = _write_field(root, model, settings, test_set)
        except UserError as error:
            missing.append(f"Receptive field of {row}: {error}.")
        crops = []
        for crop in crops_of(row, scale, settings, originals=originals):
            try:
                crops.append(_write_crop(root, crop, upscale, test_set, protocol, originals=originals))
            except UserError as error:
                missing.append(f"Crop of {crop.image} ({crop.set}, x{scale}): {error}.")
        FeaturesRecord(maps=maps, field=field, crops=tuple(crops), missing=tuple(missing)).write(root)


def crops_of(row: str, scale: int, settings: Features, *, originals: bool) -> list[Crop]:
    """Return the crops that are written of a row."""
    shown = originals or settings.crop_runs is None or row in settings.crop_runs
    return [crop for crop in settings.crops if crop.scale == scale and shown]


def _publishable(test_set: BenchmarkSet) -> BenchmarkSet:
    if not test_set.publishable:
        raise UserError(f"the licence of {test_set.name} forbids showing its images")
    return test_set


def _write_maps(root: Path, model: nn.Module, settings: Features, test_set: TestSet, scale: int) -> Maps:
    """Write the mean over the channels of every feature in `intermediates`."""
    lr_HWC, _ = read_pair(_publishable(test_set(settings.maps_set)), settings.maps_image, scale)
    files = {}
    for name, feature_BCHW in intermediates(model.eval(), _batch(lr_HWC)).items():
        files[name] = f"maps/{name}.npy"
        _save(root / files[name], feature_BCHW[0].mean(0).numpy())
    return Maps(set=settings.maps_set, image=settings.maps_image, files=files)


def _write_field(root: Path, model: nn.Module, settings: Features, test_set: TestSet) -> Field:
    """Write the effective receptive field, averaged over the centres of LR images."""
    size = settings.field_size
    images = _large_images(test_set(settings.maps_set), size=size, count=settings.field_images)
    if not images:
        raise UserError(f"no image of {size}x{size} LR pixels or more")
    centres_BCHW = torch.cat([_batch(_centre(image_HWC, size)) for image_HWC in images])
    field_HW = effective_receptive_field(model.eval(), centres_BCHW)
    _save(root / "field.npy", field_HW.numpy())
    radii = {str(share): radius for share, radius in receptive_radii(field_HW).items()}
    return Field(file="field.npy", images=len(images), radii=radii)


def _write_crop(
    root: Path,
    crop: Crop,
    upscale: Callable[[ImageHWC], ImageHWC],
    test_set: TestSet,
    protocol: Protocol,
    *,
    originals: bool,
) -> CropImage:
    lr_HWC, hr_HWC = read_pair(_publishable(test_set(crop.set)), crop.image, crop.scale)
    height, width = hr_HWC.shape[:2]
    if crop.top + crop.height > height or crop.left + crop.width > width:
        raise UserError(
            f"{crop.width}x{crop.height} pixels from row {crop.top}, column {crop.left} reach beyond the "
            f"{width}x{height} of the image"
        )
    rows, columns = slice(crop.top, crop.top + crop.height), slice(crop.left, crop.left + crop.width)
    sr_HWC = upscale(lr_HWC)
    psnr, ssim = score(sr_HWC, hr_HWC, scale=crop.scale, protocol=protocol)
    name = f"crops/{crop.set}_{crop.image}_{crop.top}_{crop.left}"
    write_png(root / f"{name}.png", sr_HWC[rows, columns])
    if originals:
        write_png(root / f"{name}_original.png", hr_HWC[rows, columns])
        write_png(root / f"{name}_whole.png", _reduced(hr_HWC))
    return CropImage(
        set=crop.set,
        image=crop.image,
        top=crop.top,
        left=crop.left,
        height=crop.height,
        width=crop.width,
        file=f"{name}.png",
        original=f"{name}_original.png" if originals else None,
        whole=f"{name}_whole.png" if originals else None,
        image_height=height,
        image_width=width,
        psnr=psnr if math.isfinite(psnr) else None,  # JSON has no infinity
        ssim=ssim,
    )


def _reduced(image_HWC: ImageHWC) -> ImageHWC:
    """Return the image with at most `WHOLE_SIDE` pixels a side, every pixel the mean of a square."""
    factor = -(-max(image_HWC.shape[:2]) // WHOLE_SIDE)
    height, width = (side // factor for side in image_HWC.shape[:2])
    squares = image_HWC[: height * factor, : width * factor].reshape(height, factor, width, factor, 3)
    reduced_HWC: ImageHWC = squares.mean((1, 3)).round().astype(np.uint8)
    return reduced_HWC


def _large_images(test_set: BenchmarkSet, *, size: int, count: int) -> Sequence[ImageHWC]:
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
