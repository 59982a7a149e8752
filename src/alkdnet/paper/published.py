"""What the paper states, as data: Table 4, the differences of its ablations, its training recipe.

Source: Qu & Ke 2024, "Asymmetric Large Kernel Distillation Network for efficient single image
super-resolution", doi 10.3389/fnins.2024.1502499. table4.csv holds Table 4 cell by cell. Tables 1 to 3 are
printed as images; of them only the differences that the text states are known. remeasured.csv holds what the
authors' released weights of other methods give under two protocols (docs/protocol.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

import pandas as pd

from alkdnet.config.params import Dataset, Option, Params, Run

SETS = ("Set5", "Set14", "BSD100", "Urban100", "Manga109")
SCALES = (2, 3, 4)
OURS = "ALKDNet"
# Names of the test sets in alkdnet.data.sources.
_SET_OF_SOURCE = {name.lower(): name for name in SETS}
TRAINING_SOURCES = ("div2k", "flickr2k")

# Constructor defaults of alkdnet.networks.bsrn.BSRN, which cannot be imported here: it needs torch, and a
# report must start at once. A test compares them.
BSRN_DEFAULTS: Mapping[str, Option] = {
    "convolution": "bsconv",
    "kernel_size": 9,
    "residual": "fsrl",
    "block_norm": False,
}


@dataclass(frozen=True)
class Recipe:
    """The training recipe of section 4.2, and of the authors' released options where the text is silent."""

    iterations: int = 1_000_000
    batch_size: int = 64
    patch_size: int = 48
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-7
    beta1: float = 0.9
    beta2: float = 0.999
    precision: str = "float32"
    data: str = "DIV2K (800 images) and Flickr2K (2650 images)"
    hardware: str = "one GeForce RTX 3090"


RECIPE = Recipe()


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


def remeasured() -> pd.DataFrame:
    """Return what released weights of methods of Table 4 give; NaN where it was not measured.

    Columns: method, scale, set, new_psnr, new_ssim, old_psnr, old_ssim. `new` is this project's protocol;
    `old` is MATLAB's luma-only one of the years before 2017: the uint8 luma is shrunk without rounding, and
    grey files are taken in full range.
    """
    return _packaged_csv("remeasured.csv")


def paper_set(dataset: Dataset) -> str | None:
    """Return the column of Table 4 that this data set is, or None."""
    return _SET_OF_SOURCE.get(dataset.source)


def paper_sets(params: Params) -> dict[str, str]:
    """Return the test sets that are columns of Table 4: {name in the pipeline: name in the paper}."""
    found = {name: paper_set(params.datasets[name]) for name in params.names("test")}
    return {name: column for name, column in found.items() if column is not None}


def set_label(params: Params, name: str) -> str:
    """Return the name of a test set for tables: the paper's where it has the set, else its own."""
    return paper_sets(params).get(name, name)


def stated_difference(table: int, run: Run) -> Stated | None:
    """Return what the text states for the variant that this run is of Table 1, 2 or 3; None: nothing."""
    for stated in STATED:
        if stated.table == table and is_variant(run, stated.options):
            return stated
    return None


def is_variant(run: Run, options: Mapping[str, Option]) -> bool:
    """Return whether a run is a BSRN with these options."""
    has = {**BSRN_DEFAULTS, **run.options}
    return run.network == "bsrn" and all(has[key] == value for key, value in options.items())


def _packaged_csv(name: str) -> pd.DataFrame:
    with files("alkdnet.paper").joinpath(name).open(encoding="utf-8") as file:
        return pd.read_csv(file, dtype={"multi_adds_g": str})
