"""Details of test images, in the original and as every network restores them (Figures 7 and 8)."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from alkdnet.arrays import ImageHWC
from alkdnet.config.params import Crop
from alkdnet.data.images import write_png
from alkdnet.errors import UserError
from alkdnet.evaluation.benchmark import BenchmarkSet, read_pair
from alkdnet.evaluation.metrics import score
from alkdnet.evaluation.protocol import Protocol
from alkdnet.progress import progress

Upscale = Callable[[ImageHWC], ImageHWC]


def write_crops(
    root: Path,
    crops: Sequence[Crop],
    *,
    upscalers: Mapping[int, Mapping[str, Upscale]],
    test_set: Callable[[str, int], BenchmarkSet],
    protocol: Protocol,
    missing: list[str],
) -> list[dict[str, object]]:
    """Write every detail as PNG: of the original, and of the image as every run of its scale restores it.

    Args:
        root: gets `crops/<detail>/original.png` and `crops/<detail>/<run>.png`.
        crops: the details.
        upscalers: by scale, the runs with what maps an LR image (uint8, HWC) to the HR image.
        test_set: returns a set by its name and the scale.
        protocol: for PSNR and SSIM, which are those of the whole image.
        missing: gets a sentence for every detail that cannot be shown.

    Returns:
        For every other detail: the keys of `Crop`, `original` (a file, relative to `root`) and `tiles`:
        a list of run, file, psnr (dB; None if the image equals the original) and ssim.
    """
    rows: list[dict[str, object]] = []
    shown = enumerate(crops, start=1)
    for number, crop in progress(shown, total=len(crops), description="crops", unit="details"):
        try:
            lr_HWC, hr_HWC = read_pair(test_set(crop.set, crop.scale), crop.image, crop.scale)
            _check_inside(crop, hr_HWC)
        except UserError as error:
            missing.append(f"Detail of {crop.image} ({crop.set}, x{crop.scale}): {error}.")
            continue
        name = f"crops/{number:02}_{crop.set}_{crop.image}_x{crop.scale}"
        write_png(root / name / "original.png", _cut(hr_HWC, crop))
        tiles = []
        for run, upscale in upscalers.get(crop.scale, {}).items():
            sr_HWC = upscale(lr_HWC)
            psnr, ssim = score(sr_HWC, hr_HWC, scale=crop.scale, protocol=protocol)
            write_png(root / name / f"{run}.png", _cut(sr_HWC, crop))
            # JSON has no infinity.
            finite = psnr if math.isfinite(psnr) else None
            tiles.append({"run": run, "file": f"{name}/{run}.png", "psnr": finite, "ssim": ssim})
        rows.append({**asdict(crop), "original": f"{name}/original.png", "tiles": tiles})
    return rows


def _cut(image_HWC: ImageHWC, crop: Crop) -> ImageHWC:
    return image_HWC[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]


def _check_inside(crop: Crop, image_HWC: ImageHWC) -> None:
    height, width = image_HWC.shape[:2]
    if crop.top + crop.height > height or crop.left + crop.width > width:
        raise UserError(
            f"{crop.width}x{crop.height} pixels from row {crop.top}, column {crop.left} reach beyond the "
            f"{width}x{height} of the image"
        )
