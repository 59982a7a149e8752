"""The paper's statements as data: Table 4, the differences of its ablations, its training recipe.

Source: Qu & Ke 2024, "Asymmetric Large Kernel Distillation Network for efficient single image
super-resolution", doi 10.3389/fnins.2024.1502499. table4.csv holds Table 4 cell by cell. Tables 1 to 3 are
printed as images; of them only the differences that the text states are known.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

import pandas as pd

from alkdnet.config.params import Option, Recipe, Row

SETS = ("Set5", "Set14", "BSD100", "Urban100", "Manga109")
SCALES = (2, 3, 4)
OURS = "ALKDNet"
# Rows that Table 4 copies from papers that measured by the classic protocol (docs/protocol.md). Of Bicubic,
# SRCNN, VDSR and IDN the audit shows it; FSRCNN and DRRN, whose authors' weights are not available, come
# from the same tables.
CLASSIC_METHODS = ("Bicubic", "SRCNN", "FSRCNN", "VDSR", "DRRN", "IDN")
# The one cell of Table 4 that cannot be right, and what it must have been.
TYPO_METHOD, TYPO_SCALE, TYPO_SET, TYPO_READ_AS = "HSNet", 2, "BSD100", 32.22
# Names of the training images in the catalogue of sources.
TRAINING_SOURCES = ("div2k", "flickr2k")

# Constructor defaults of alkdnet.networks.bsrn.BSRN, which cannot be imported here: it needs torch, and a
# report must start at once. A test compares them.
BSRN_DEFAULTS: Mapping[str, Option] = {
    "convolution": "bsconv",
    "kernel_size": 9,
    "residual": "fsrl",
    "block_norm": False,
}


# The training recipe of section 4.2, and of the authors' released options where the text is silent.
RECIPE = Recipe(
    iterations=1_000_000,
    batch_size=64,
    patch_size=48,
    learning_rate=1e-3,
    final_learning_rate=1e-7,
    beta1=0.9,
    beta2=0.999,
    precision="float32",
)
TRAINING_IMAGES = "DIV2K (800 images) and Flickr2K (2650 images)"


@dataclass(frozen=True, kw_only=True)
class Stated:
    """A difference to BSRN that the text states for one variant of an ablation.

    `table` is 1, 2 or 3; `options` identify the variant among the rows of that table; `direction` is 1 if
    it is said to be better and -1 if worse; `psnr` (dB) and `ssim` are the mean over the five sets,
    `urban100_*` on that set; None: not stated in numbers. `only` and `but` are the columns of Table 4 that
    the statement is about, or not about; `also_against` are the options of a second row that the variant is
    said to be better or worse than.
    """

    table: int
    options: Mapping[str, Option]
    section: str
    words: str
    direction: Literal[1, -1] = 1
    psnr: float | None = None
    ssim: float | None = None
    urban100_psnr: float | None = None
    urban100_ssim: float | None = None
    only: tuple[str, ...] = ()
    but: tuple[str, ...] = ()
    also_against: Mapping[str, Option] | None = None

    def is_about(self, column: str | None) -> bool:
        """Return whether the statement covers this column of Table 4; None: a test set that is none."""
        return column in self.only if self.only else column not in self.but


STATED = (
    Stated(
        table=1,
        options={"convolution": "alkconv", "kernel_size": 5},
        section="4.3.1",
        words="better on all sets except Set5 and BSD100",
        psnr=0.04,
        ssim=0.0002,
        but=("Set5", "BSD100"),
    ),
    Stated(
        table=1,
        options={"convolution": "alkconv", "kernel_size": 9},
        section="4.3.1",
        words="best overall",
        psnr=0.07,
        ssim=0.0004,
    ),
    Stated(
        table=2,
        options={"convolution": "bsconv", "residual": "abrl"},
        section="4.3.2",
        words="better than FSRL",
        psnr=0.04,
        ssim=0.0002,
    ),
    Stated(
        table=2,
        options={"convolution": "bsconv", "residual": "both"},
        section="4.3.2",
        words="worse than either alone",
        direction=-1,
        also_against={"convolution": "bsconv", "residual": "abrl"},
    ),
    Stated(
        table=2,
        options={"convolution": "alkconv", "residual": "both"},
        section="4.3.2",
        words="best, except on Set5 and Set14",
        psnr=0.10,
        ssim=0.0006,
        urban100_psnr=0.25,
        urban100_ssim=0.0026,
        but=("Set5", "Set14"),
    ),
    Stated(
        table=3,
        options={"block_norm": True},
        section="4.3.3",
        words="little on the whole",
        urban100_psnr=0.05,
        urban100_ssim=0.0004,
        only=("Urban100",),
    ),
)


@dataclass(frozen=True, kw_only=True)
class StatedGain:
    """The gain of ALKDNet over the best other method in Table 4 that section 4.4 states for one scale."""

    scale: int
    psnr: float
    ssim: float
    urban100_psnr: float
    urban100_ssim: float


STATED_GAINS = (
    StatedGain(scale=2, psnr=0.11, ssim=0.0005, urban100_psnr=0.30, urban100_ssim=0.0021),
    StatedGain(scale=3, psnr=0.09, ssim=0.0014, urban100_psnr=0.19, urban100_ssim=0.0041),
    StatedGain(scale=4, psnr=0.09, ssim=0.0019, urban100_psnr=0.17, urban100_ssim=0.0052),
)
# The same over all scales, from the abstract.
ABSTRACT_GAIN_PSNR, ABSTRACT_GAIN_SSIM = 0.10, 0.0013


def table4() -> pd.DataFrame:
    """Return Table 4, one row for each method, scale and test set, in the paper's order.

    Columns: method, scale, parameters_k (thousands), multi_adds_g (10^9, for 1280x720 pixels) and the same
    as it is printed, multi_adds_printed, all three NaN for Bicubic, then set, psnr (dB), ssim.
    """
    return _table4().copy()


def published_score(method: str, scale: int, column: str | None) -> tuple[float, float] | None:
    """Return the PSNR (dB) and SSIM of a cell of Table 4; None: it has no such cell."""
    return _scores().get((method, scale, column))


@cache
def _scores() -> dict[tuple[str, int, str | None], tuple[float, float]]:
    cells = _table4()
    keys = zip(cells["method"], cells["scale"], cells["set"], strict=True)
    return dict(zip(keys, zip(cells["psnr"], cells["ssim"], strict=True), strict=True))


@cache
def _table4() -> pd.DataFrame:
    wide = _packaged_csv("table4.csv")
    parts = [
        pd.DataFrame(
            {
                "method": wide["method"],
                "scale": wide["scale"],
                "parameters_k": wide["params_k"],
                "multi_adds_g": wide["multi_adds_g"].astype(float),
                "multi_adds_printed": wide["multi_adds_g"],
                "set": name,
                "psnr": wide[f"{name.lower()}_psnr"],
                "ssim": wide[f"{name.lower()}_ssim"],
                "order": range(len(wide)),
            }
        )
        for name in SETS
    ]
    long = pd.concat(parts, ignore_index=True).sort_values("order", kind="stable")
    return long.drop(columns="order").reset_index(drop=True)


def corrected_table4() -> pd.DataFrame:
    """Return Table 4 with HSNet's BSD100 x2 cell, printed 33.22, read as 32.22."""
    cells = table4()
    typo = (cells["method"] == TYPO_METHOD) & (cells["scale"] == TYPO_SCALE) & (cells["set"] == TYPO_SET)
    cells.loc[typo, "psnr"] = TYPO_READ_AS
    return cells


def field() -> pd.DataFrame:
    """Return published numbers of networks that Table 4 leaves out, by their authors; all at x4.

    Columns: method, year, scale, parameters_k (thousands), <set>_psnr (dB) and <set>_ssim for the five sets,
    NaN where it is not known here, and source.
    """
    return _packaged_csv("field.csv")


def stated_difference(table: int, row: Row) -> Stated | None:
    """Return the statement of the text on a row, as a variant of Table 1, 2 or 3; None: there is none."""
    for stated in STATED:
        if stated.table == table and is_variant(row, stated.options):
            return stated
    return None


def is_variant(row: Row, options: Mapping[str, Option]) -> bool:
    """Return whether a row is a BSRN with these options."""
    has = {**BSRN_DEFAULTS, **row.options}
    return row.network == "bsrn" and all(has[key] == value for key, value in options.items())


def _packaged_csv(name: str) -> pd.DataFrame:
    with files("alkdnet.paper").joinpath(name).open(encoding="utf-8") as file:
        return pd.read_csv(file, dtype={"multi_adds_g": str})
