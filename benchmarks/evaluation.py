"""Evaluation against a plain loop (forward pass, then SSIM, image by image), in one run.

    PYTHONPATH=src python -m benchmarks.evaluation [--images FOLDER] [--scale 4] [--threads 2] [--rounds 3]

prints a Markdown table for docs/protocol.md. FOLDER holds original images (Set14, say); by default,
photographs that come with scikit-image. The variants are run in turn and medians are taken, so that a busy
machine disturbs all alike; on one that is never quiet, read the processor time with `--threads 1`. The scores
of all variants are compared before anything is printed.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import skimage.data
import torch
from skimage.metrics import structural_similarity

from alkdnet.arrays import ImageHWC
from alkdnet.data.images import list_images, read_rgb, write_png
from alkdnet.data.resize import crop_to_multiple, downscale
from alkdnet.evaluation.benchmark import BenchmarkSet, evaluate
from alkdnet.evaluation.metrics import luma
from alkdnet.evaluation.protocol import Protocol
from alkdnet.inference.upscaler import Upscaler
from alkdnet.networks.alkdnet import ALKDNet
from benchmarks.plain import PlainALKDNet, copy_weights

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "motorcycle_left")


def plain_loop(network: torch.nn.Module, test_set: BenchmarkSet, scale: int) -> list[tuple[float, float]]:
    """Return PSNR and SSIM of every image, as an evaluation script computes them."""
    scores = []
    for path in list_images(test_set.hr_folder):
        hr_HWC = crop_to_multiple(read_rgb(path), scale)
        lr_HWC = read_rgb(test_set.lr_folder / f"{path.stem}.png")
        with torch.no_grad():
            y_BCHW = network(torch.from_numpy(lr_HWC).permute(2, 0, 1)[None].float() / 255)
        sr_HWC = (y_BCHW[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
        sr_HW, hr_HW = (luma(image)[scale:-scale, scale:-scale] for image in (sr_HWC, hr_HWC))
        ssim = structural_similarity(  # type: ignore[no-untyped-call]
            sr_HW, hr_HW, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
        )
        scores.append((10 * np.log10(255**2 / np.mean((sr_HW - hr_HW) ** 2)), ssim))
    return scores


def originals(folder: Path | None) -> dict[str, ImageHWC]:
    """Return the images of a folder, without the LR images beside them, or scikit-image's photographs."""
    chosen = folder or Path(skimage.data.__file__).parent
    paths = [path for path in list_images(chosen) if not path.stem.endswith("_LR")]
    return {path.stem: read_rgb(path) for path in paths if folder or path.stem in PHOTOGRAPHS}


def write_set(folder: Path, images: dict[str, ImageHWC], scale: int) -> BenchmarkSet:
    """Write originals and LR images and return the set."""
    for name, image_HWC in images.items():
        write_png(folder / "hr" / f"{name}.png", image_HWC)
        write_png(folder / "lr" / f"{name}.png", downscale(crop_to_multiple(image_HWC, scale), scale))
    return BenchmarkSet(name="photographs", hr_folder=folder / "hr", lr_folder=folder / "lr")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    scale, threads = arguments.scale, arguments.threads
    torch.manual_seed(0)
    model = ALKDNet(scale=scale).eval()
    plain = PlainALKDNet(scale=scale).eval()
    copy_weights(model, plain)
    upscaler = Upscaler(model)
    torch.set_num_threads(threads)

    with tempfile.TemporaryDirectory() as folder:
        images = originals(arguments.images)
        test_set = write_set(Path(folder), images, scale)

        def ours(workers: int) -> list[tuple[float, float]]:
            torch.set_num_threads(threads // workers)
            result = evaluate(upscaler, [test_set], scale=scale, protocol=Protocol(), workers=workers)
            torch.set_num_threads(threads)
            return list(result.images[["psnr", "ssim"]].itertuples(index=False, name=None))

        variants: dict[str, Callable[[], list[tuple[float, float]]]] = {
            "plain loop": lambda: plain_loop(plain, test_set, scale),
            f"`evaluate`, one image on {threads} threads": lambda: ours(1),
        }
        if threads > 1:
            variants[f"`evaluate`, {threads} images on a thread each"] = lambda: ours(threads)
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
        for _ in range(arguments.rounds):
            scores = {}
            for name, variant in variants.items():
                start = time.perf_counter(), time.process_time()
                scores[name] = np.array(variant())
                seconds[name].append((time.perf_counter() - start[0], time.process_time() - start[1]))
            for found in scores.values():
                np.testing.assert_allclose(found, scores["plain loop"], rtol=0, atol=2e-4)
    medians = {name: np.median(times, axis=0) for name, times in seconds.items()}
    pixels = sum(len(image) * image.shape[1] for image in images.values()) / 1e6
    print(f"ALKDNet x{scale}, {len(images)} images, {pixels:.1f} million pixels, {threads} threads:\n")
    print("| | seconds | to the plain loop | processor seconds | to the plain loop |\n|---|---|---|---|---|")
    for name, (wall, processor) in medians.items():
        ratio, processor_ratio = (wall, processor) / medians["plain loop"]
        print(f"| {name} | {wall:.2f} | {ratio:.2f} | {processor:.2f} | {processor_ratio:.2f} |")


if __name__ == "__main__":
    main()
