"""Each network with published weights against the figures that a reference implementation gave with them.

The references were measured once, in float32 on a CPU, by other programs than this library; those
of ALKDNet are, rounded, the cells of the paper's Table 4. Luma networks are scored as their authors do: Y of
the output, rounded, without going through RGB.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from skimage.metrics import structural_similarity
from torch import Tensor, nn

from alkdnet.data.resize import crop_to_multiple, downscale
from alkdnet.evaluation import metrics
from alkdnet.evaluation.protocol import Protocol
from alkdnet.inference.upscaler import Upscaler
from alkdnet.layers.luma import OFFSET, WEIGHTS, luma
from alkdnet.networks import build
from alkdnet.sources.catalogue import SOURCES
from alkdnet.weights.released import import_released

pytestmark = pytest.mark.data

PSNR_TOLERANCE = 0.0005
IMAGES = {
    "Set5": (5, "Set5/image_SRF_2/*_HR.png"),
    "Set14": (14, "Set14/image_SRF_2/*_HR.png"),
    "BSD100": (100, "BSD100/image_SRF_3/*_HR.png"),
}
ERFDN = {"attention": "esa", "blocks": 4, "channels": 50}
FMEN_S = {"channels": 50, "attention_channels": 16, "attention_blocks": 1, "first_attention_blocks": 2}


@dataclass(frozen=True)
class Proof:
    """PSNR in dB and SSIM by set, with as many digits as the reference has; the options of the network."""

    source: str
    network: str
    scale: int
    references: Mapping[str, tuple[float, float]]
    options: Mapping[str, Any] = field(default_factory=dict)
    ssim_tolerance: float = 0.00001
    is_luma: bool = False


def of_colour(source: str, network: str, scale: int, **references: tuple[float, float]) -> Proof:
    return Proof(source, network, scale, references)


def rounded(source: str, network: str, scale: int, set5: tuple, set14: tuple, **options: Any) -> Proof:
    """References with three decimals of PSNR and four of SSIM."""
    return Proof(source, network, scale, {"Set5": set5, "Set14": set14}, options, ssim_tolerance=0.00006)


def of_luma(source: str, network: str, scale: int, set5: tuple, set14: tuple = (), **options: Any) -> Proof:
    references = {"Set5": set5} | ({"Set14": set14} if set14 else {})
    return Proof(source, network, scale, references, options, ssim_tolerance=0.00006, is_luma=True)


PROOFS = [
    of_colour(
        "alkdnet_x2",
        "alkdnet",
        2,
        Set5=(38.1445, 0.96095),
        Set14=(33.8131, 0.91934),
        BSD100=(32.2883, 0.90106),
    ),
    of_colour(
        "alkdnet_x3",
        "alkdnet",
        3,
        Set5=(34.5636, 0.92839),
        Set14=(30.4976, 0.84568),
        BSD100=(29.2158, 0.80792),
    ),
    of_colour(
        "alkdnet_x4",
        "alkdnet",
        4,
        Set5=(32.3698, 0.89757),
        Set14=(28.8005, 0.78597),
        BSD100=(27.6916, 0.73989),
    ),
    of_colour(
        "bsrn_x2",
        "bsrn",
        2,
        Set5=(38.08397, 0.960837),
        Set14=(33.73360, 0.919259),
        BSD100=(32.23520, 0.900452),
    ),
    rounded("bsrn_x3", "bsrn", 3, (34.452, 0.9276), (30.472, 0.8449)),
    of_colour(
        "bsrn_x4",
        "bsrn",
        4,
        Set5=(32.35007, 0.896524),
        Set14=(28.73908, 0.784718),
        BSD100=(27.64938, 0.738626),
    ),
    of_colour(
        "imdn_x2",
        "imdn",
        2,
        Set5=(37.99662, 0.960494),
        Set14=(33.63211, 0.917737),
        BSD100=(32.18931, 0.899633),
    ),
    rounded("imdn_x3", "imdn", 3, (34.362, 0.9270), (30.325, 0.8417)),
    of_colour(
        "imdn_x4",
        "imdn",
        4,
        Set5=(32.21145, 0.894776),
        Set14=(28.58688, 0.781105),
        BSD100=(27.56138, 0.735305),
    ),
    rounded("cfsr_x2", "cfsr", 2, (38.070, 0.9607), (33.744, 0.9192)),
    rounded("cfsr_x3", "cfsr", 3, (34.502, 0.9279), (30.439, 0.8437)),
    rounded("cfsr_x4", "cfsr", 4, (32.328, 0.8963), (28.734, 0.7842)),
    rounded("safmn_x2", "safmn", 2, (38.002, 0.9604), (33.544, 0.9177)),
    rounded("erfdn_x4", "rfdn", 4, (32.161, 0.8946), (28.650, 0.7825), **ERFDN),
    rounded("fmen_s_x4", "fmen", 4, (32.120, 0.8949), (28.570, 0.7814), **FMEN_S),
    of_colour("lkdn_x2", "lkdn", 2, Set5=(38.11503, 0.960979)),
    of_colour("lkdn_x4", "lkdn", 4, Set5=(32.39487, 0.897954)),
    of_colour("smfanet_x2", "smfanet", 2, Set5=(38.07855, 0.960720)),
    of_colour("smfanet_x4", "smfanet", 4, Set5=(32.25469, 0.895651)),
    of_colour("lkfmixer_x2", "lkfmixer", 2, Set5=(38.18705, 0.961171)),
    of_colour("lkfmixer_x4", "lkfmixer", 4, Set5=(32.46306, 0.898223)),
    of_colour("lkmn_x2", "lkmn", 2, Set5=(38.13089, 0.960942)),
    of_colour("lkmn_x4", "lkmn", 4, Set5=(32.40290, 0.897622)),
    of_luma("srcnn_x2", "srcnn", 2, (36.654, 0.9540), (32.525, 0.9070)),
    of_luma("srcnn_x3", "srcnn", 3, (32.755, 0.9092), (29.365, 0.8223)),
    of_luma("srcnn_x4", "srcnn", 4, (30.492, 0.8631), (27.578, 0.7528)),
    of_luma("fsrcnn_x2", "fsrcnn", 2, (37.103, 0.9562), (32.715, 0.9089)),
    of_luma("fsrcnn_x3", "fsrcnn", 3, (32.590, 0.9052), (29.209, 0.8174)),
    of_luma("fsrcnn_x4", "fsrcnn", 4, (30.508, 0.8593), (27.554, 0.7496)),
    of_luma("vdsr", "vdsr", 2, (37.522, 0.9586)),
    of_luma("vdsr", "vdsr", 3, (33.656, 0.9214)),
    of_luma("vdsr", "vdsr", 4, (31.344, 0.8839)),
    of_luma("idn_x2", "idn", 2, (37.811, 0.9597), (33.286, 0.9148)),
    of_luma("idn_x3", "idn", 3, (34.107, 0.9252), (30.014, 0.8359)),
    of_luma("idn_x4", "idn", 4, (31.806, 0.8902), (28.287, 0.7740)),
]
QUICK = {"Set5"}


def cases() -> list[Any]:
    return [
        pytest.param(
            proof,
            test_set,
            id=f"{proof.source}-x{proof.scale}-{test_set}",
            marks=[] if test_set in QUICK else pytest.mark.slow,
        )
        for proof in PROOFS
        for test_set in proof.references
    ]


def network_of(data_dir: Path, proof: Proof) -> nn.Module:
    """Return the network with the file that the catalogue lists, from the mirror."""
    file = data_dir / "mirror" / SOURCES[proof.source].files[0].urls[0].removeprefix("https://")
    if not file.is_file():
        pytest.skip(f"the mirror lacks {file.name} of {proof.source}")
    model = build(proof.network, proof.scale, proof.options).eval()
    import_released(file, model)
    return model


def luma_scores(y_B1HW: Tensor, hr_HW: NDArray[np.float64], scale: int) -> tuple[float, float]:
    """Score Y of an output as an 8-bit image against Y of the original, 0 to 255."""
    border = slice(scale, -scale)
    sr_HW = (y_B1HW[0, 0] * 255).round().clamp(0, 255).double().numpy()[border, border]
    hr_HW = hr_HW[border, border]
    ssim = structural_similarity(
        sr_HW, hr_HW, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    return 10 * np.log10(255**2 / np.mean((sr_HW - hr_HW) ** 2)), ssim


def mean_scores(
    data_dir: Path,
    test_set: str,
    scale: int,
    scores_of: Callable[[NDArray[np.uint8], NDArray[np.uint8]], tuple[float, float]],
) -> tuple[float, float]:
    """Return the means of PSNR and SSIM over a set; `scores_of` maps an LR image and its original to them."""
    count, pattern = IMAGES[test_set]
    scores = []
    for path in sorted((data_dir / "mirror").rglob(pattern)):
        with Image.open(path) as image:
            hr_HWC = crop_to_multiple(np.array(image.convert("RGB")), scale)
        scores.append(scores_of(downscale(hr_HWC, scale), hr_HWC))
    assert len(scores) == count
    psnr, ssim = np.mean(scores, axis=0)
    return float(psnr), float(ssim)


def check(proof: Proof, test_set: str, found: tuple[float, float]) -> None:
    psnr, ssim = proof.references[test_set]
    assert found[0] == pytest.approx(psnr, abs=PSNR_TOLERANCE)
    assert found[1] == pytest.approx(ssim, abs=proof.ssim_tolerance)


@pytest.mark.parametrize(("proof", "test_set"), cases())
def test_published_weights_give_the_reference(data_dir: Path, proof: Proof, test_set: str) -> None:
    """By the network's own forward pass."""
    model = network_of(data_dir, proof).to(memory_format=torch.channels_last)
    protocol = Protocol()

    def scores_of(lr_HWC: NDArray[np.uint8], hr_HWC: NDArray[np.uint8]) -> tuple[float, float]:
        x_BCHW = torch.from_numpy(lr_HWC).permute(2, 0, 1)[None] / 255
        with torch.inference_mode():
            y_BCHW = model(x_BCHW)
        if proof.is_luma:
            return luma_scores(luma(y_BCHW), metrics.luma(hr_HWC), proof.scale)
        sr_HWC = (y_BCHW.clamp(0, 1) * 255).round().byte()[0].permute(1, 2, 0).numpy()
        return metrics.score(sr_HWC, hr_HWC, scale=proof.scale, protocol=protocol)

    check(proof, test_set, mean_scores(data_dir, test_set, proof.scale, scores_of))


@pytest.mark.parametrize(
    ("proof", "test_set"),
    [case for case in cases() if case.values[0].source in ("alkdnet_x2", "alkdnet_x4", "bsrn_x2", "imdn_x4")],
)
def test_the_default_inference_gives_the_reference(data_dir: Path, proof: Proof, test_set: str) -> None:
    """By `Upscaler`, through which evaluation and every other inference go: FastALKDNet on a CPU."""
    upscale = Upscaler(network_of(data_dir, proof))

    def scores_of(lr_HWC: NDArray[np.uint8], hr_HWC: NDArray[np.uint8]) -> tuple[float, float]:
        return metrics.score(upscale(lr_HWC), hr_HWC, scale=proof.scale, protocol=Protocol())

    check(proof, test_set, mean_scores(data_dir, test_set, proof.scale, scores_of))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scale", "reference"), [(2, (37.621, 0.9593)), (3, (33.990, 0.9247)), (4, (31.672, 0.8889))]
)
def test_drrn_gives_the_reference(data_dir: Path, scale: int, reference: tuple[float, float]) -> None:
    """Its reference was measured as before 2017: Y of 8 bits is shrunk without rounding."""
    proof = Proof("drrn", "drrn", scale, {"Set5": reference}, {"form": "port"}, ssim_tolerance=0.00006)
    model = network_of(data_dir, proof)

    def scores_of(_: NDArray[np.uint8], hr_HWC: NDArray[np.uint8]) -> tuple[float, float]:
        hr_HW = np.floor(metrics.luma(hr_HWC) + 0.5)
        small_B1HW = shrunk(torch.from_numpy(hr_HW)[None, None] / 255, scale).float()
        # Grey of that luma.
        x_BCHW = ((small_B1HW - OFFSET) / sum(WEIGHTS)).expand(-1, 3, -1, -1)
        with torch.inference_mode():
            y_BCHW = model(x_BCHW)
        return luma_scores(luma(y_BCHW), hr_HW, scale)

    check(proof, "Set5", mean_scores(data_dir, "Set5", scale, scores_of))


def shrunk(y_B1HW: Tensor, scale: int) -> Tensor:
    """Shrink as MATLAB's `imresize` does with numbers: its symmetric border, without rounding."""
    margin = 4 * scale
    for axis in (2, 3):
        size = y_B1HW.shape[axis]
        index_N = torch.arange(-margin, size + margin) % (2 * size)
        y_B1HW = y_B1HW.index_select(axis, torch.minimum(index_N, 2 * size - 1 - index_N))
    small_B1HW = F.interpolate(y_B1HW, scale_factor=1 / scale, mode="bicubic", antialias=True)
    return small_B1HW[:, :, 4:-4, 4:-4]
