"""Everything that the figures show of the networks' work: the `features` stage in one call."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from torch import nn

from alkdnet.analysis.arrays import large_images, write_field, write_maps
from alkdnet.analysis.crops import Upscale, write_crops
from alkdnet.config.params import Features
from alkdnet.errors import UserError
from alkdnet.evaluation.benchmark import BenchmarkSet, read_pair
from alkdnet.evaluation.protocol import Protocol
from alkdnet.files import atomic_directory, write_json
from alkdnet.progress import progress


def write_features(
    folder: Path,
    *,
    settings: Features,
    scales: Mapping[str, int],
    load: Callable[[str], nn.Module],
    upscaler: Callable[[nn.Module], Upscale],
    test_set: Callable[[str, int], BenchmarkSet],
    unpublishable: Collection[str],
    protocol: Protocol,
) -> None:
    """Write feature maps, receptive fields and details of images, and an index of them, into a folder.

    The folder gets `maps/<feature>.npy`, `fields/<run>.npy`, `crops/<detail>/<run>.png` and `features.json`:

        {"maps": {"run", "set", "image", "files": {feature: file}} or null,
         "fields": [{"run", "file", "images", "radii": {share: LR pixels}}],
         "crops": [{"set", "image", "scale", "top", "left", "height", "width", "original": file,
                    "tiles": [{"run", "file", "psnr", "ssim"}]}],
         "missing": [sentence]}

    Files are named relative to the folder. What cannot be shown (an absent image, a network whose features
    have no names) is a sentence in `missing`.

    Args:
        folder: is replaced.
        settings: what to show.
        scales: all runs with their super-resolution factors.
        load: returns a run's network with its weights.
        upscaler: makes of a network what maps an LR image (uint8, HWC) to the HR image.
        test_set: returns a test set by its name and the scale.
        unpublishable: sets whose licence forbids showing their pixels (Manga109): nothing is shown of them.
        protocol: for the PSNR and SSIM beside the details.
    """
    missing = [
        f"Detail of {crop.image} ({crop.set}, x{crop.scale}): the licence of the set forbids showing it."
        for crop in settings.crops
        if crop.set in unpublishable
    ]
    crops = [crop for crop in settings.crops if crop.set not in unpublishable]
    upscalers = {
        scale: {run: upscaler(load(run)) for run in scales if scales[run] == scale}
        for scale in dict.fromkeys(crop.scale for crop in crops)
    }
    with atomic_directory(folder) as root:
        maps = None
        if settings.maps_set in unpublishable:
            missing.append(f"Feature maps: the licence of {settings.maps_set} forbids showing its images.")
        else:
            maps = _maps(root, settings, scales, load, test_set, missing)
        fields = _fields(root, settings, scales, load, test_set, missing)
        details = write_crops(
            root, crops, upscalers=upscalers, test_set=test_set, protocol=protocol, missing=missing
        )
        content = {"maps": maps, "fields": fields, "crops": details, "missing": missing}
        write_json(root / "features.json", content)


def _maps(
    root: Path,
    settings: Features,
    scales: Mapping[str, int],
    load: Callable[[str], nn.Module],
    test_set: Callable[[str, int], BenchmarkSet],
    missing: list[str],
) -> dict[str, object] | None:
    run, scale = settings.maps_run, scales[settings.maps_run]
    try:
        lr_HWC, _ = read_pair(test_set(settings.maps_set, scale), settings.maps_image, scale)
        files = write_maps(root, load(run), lr_HWC)
    except UserError as error:
        missing.append(f"Feature maps of {run}: {error}.")
        return None
    return {"run": run, "set": settings.maps_set, "image": settings.maps_image, "files": files}


def _fields(
    root: Path,
    settings: Features,
    scales: Mapping[str, int],
    load: Callable[[str], nn.Module],
    test_set: Callable[[str, int], BenchmarkSet],
    missing: list[str],
) -> list[dict[str, object]]:
    rows = []
    for run in progress(
        settings.field_runs, total=len(settings.field_runs), description="receptive fields", unit="runs"
    ):
        if run not in scales:
            missing.append(f"Receptive field of {run}: there is no such run.")
            continue
        images = large_images(
            test_set(settings.maps_set, scales[run]), size=settings.field_size, count=settings.field_images
        )
        try:
            rows.append(write_field(root, run, load(run), images, size=settings.field_size))
        except UserError as error:
            missing.append(f"Receptive field of {run}: {error}.")
    return rows
