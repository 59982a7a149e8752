"""Whether a difference between two networks is one: paired statistics over the images of a set.

docs/statistics.md explains the choices. The intervals and p-values speak about images, for the two given sets
of weights; how much another seed would change is what `seed_spread` shows.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from alkdnet.errors import UserError

Metric = Literal["psnr", "ssim"]
Verdict = Literal["gain", "loss", "not distinguishable", "too few images"]

METRICS: tuple[Metric, ...] = ("psnr", "ssim")
LEVEL = 0.05
# With 5 images the least two-sided p of the signed-rank test is 2 / 2^5 = 0.0625.
LEAST_IMAGES = 6
RESAMPLES = 9999
SEED = 0

DifferencesN = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One variant against the baseline on one set, by the images that both have.

    Attributes:
        variant: the run that is compared.
        baseline: the run it is compared with.
        set: test set.
        metric: psnr (differences in dB) or ssim.
        images: how many.
        difference: the mean of variant minus baseline.
        low: lower end of its 95 % interval; None if there are too few images.
        high: upper end.
        p_value: two-sided, of Wilcoxon's signed-rank test.
        adjusted_p: by Holm's method, over all the comparisons of this metric that were made together.
        verdict: `gain` or `loss` if the interval excludes 0 and `adjusted_p` is below 0.05.
    """

    variant: str
    baseline: str
    set: str
    metric: Metric
    images: int
    difference: float
    low: float | None
    high: float | None
    p_value: float
    adjusted_p: float
    verdict: Verdict


def compare_pairs(images: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> list[Comparison]:
    """Compare pairs of runs, set by set, in PSNR and SSIM.

    All that is compared in one call is corrected together by Holm's method: pass all pairs of a table.

    Args:
        images: one row per run and image, with columns run, set, image, psnr, ssim.
        pairs: (variant, baseline), runs in `images`.

    Returns:
        For every pair in the given order, every set that both have in the order of `images`, every metric.

    Raises:
        UserError: a named run is not in `images`.
    """
    known = [str(run) for run in dict.fromkeys(images["run"])]
    if absent := [run for run in dict.fromkeys(run for pair in pairs for run in pair) if run not in known]:
        raise UserError(
            f"no images of {', '.join(absent)} to compare; there are: {', '.join(map(str, known))}"
        )
    by_run = {run: rows.set_index(["set", "image"])[list(METRICS)] for run, rows in images.groupby("run")}
    found: list[Comparison] = []
    for variant, baseline in pairs:
        # Aligned by set and image; sorted, so that the resamples do not depend on the order of the rows.
        differences = (by_run[variant] - by_run[baseline]).dropna().sort_index()
        present = set(differences.index.get_level_values("set"))
        for name in (name for name in dict.fromkeys(images["set"]) if name in present):
            for metric in METRICS:
                values = differences.xs(name, level="set")[metric].to_numpy(dtype=np.float64)
                found.append(_comparison(variant, baseline, str(name), metric, values))
    return _adjusted(found)


def frame(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """Return comparisons as a table, one row each, columns named as the attributes."""
    columns = list(Comparison.__dataclass_fields__)
    return pd.DataFrame([asdict(comparison) for comparison in comparisons], columns=columns)


def bootstrap_interval(differences_N: DifferencesN) -> tuple[float, float]:
    """Return the 95 % interval of the mean: BCa bootstrap (Efron 1987), seeded, 9999 resamples."""
    if np.ptp(differences_N) == 0:
        return float(differences_N[0]), float(differences_N[0])
    interval = stats.bootstrap(
        (differences_N,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=1000,
        confidence_level=1 - LEVEL,
        method="BCa",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def signed_rank_p(differences_N: DifferencesN) -> float:
    """Return the two-sided p of Wilcoxon's signed-rank test; 1 if nothing differs.

    It is exact for up to 50 differences without ties and zeros, and a normal approximation beyond.
    """
    return float(stats.wilcoxon(differences_N).pvalue) if differences_N.any() else 1.0


def holm(p_values_N: Sequence[float]) -> list[float]:
    """Return the p-values adjusted for their number by Holm's step-down method (Holm 1979)."""
    order = np.argsort(p_values_N, kind="stable")
    factors = len(p_values_N) - np.arange(len(p_values_N))
    adjusted = np.minimum(1, np.maximum.accumulate(factors * np.asarray(p_values_N, dtype=np.float64)[order]))
    result = np.empty_like(adjusted)
    result[order] = adjusted
    return [float(value) for value in result]


def seed_spread(images: pd.DataFrame, runs: Sequence[str]) -> pd.DataFrame:
    """Return how far the same training with other seeds moves a set's mean.

    Args:
        images: as for `compare_pairs`.
        runs: runs that differ in their seed only; those without images are left out.

    Returns:
        One row for each set, in the order of `images`: set, runs (their number), and for each metric its
        mean, sample standard deviation (NaN for one run) and range: psnr_mean, psnr_std, psnr_range, ...
    """
    chosen = images[images["run"].isin(runs)]
    means = chosen.groupby(["set", "run"], sort=False)[list(METRICS)].mean()
    rows = []
    for name, group in means.groupby(level="set", sort=False):
        row: dict[str, object] = {"set": name, "runs": len(group)}
        for metric in METRICS:
            values = group[metric]
            row |= {
                f"{metric}_mean": values.mean(),
                f"{metric}_std": values.std(ddof=1),
                f"{metric}_range": values.max() - values.min(),
            }
        rows.append(row)
    columns = [
        "set",
        "runs",
        *(f"{metric}_{kind}" for metric in METRICS for kind in ("mean", "std", "range")),
    ]
    return pd.DataFrame(rows, columns=columns)


def pooled_seeds(images: pd.DataFrame, groups: Sequence[Sequence[str]]) -> dict[str, tuple[float, int]]:
    """Return by set how a mean PSNR varies with the seed: (standard deviation in dB, degrees of freedom).

    Args:
        images: as for `compare_pairs`.
        groups: runs that differ in their seed only, a sequence for each training; their variances are pooled.
            Sets on which no training has two seeds are left out.
    """
    parts = [seed_spread(images, group) for group in groups]
    found: dict[str, tuple[float, int]] = {}
    for name in dict.fromkeys(str(name) for part in parts for name in part["set"]):
        rows = [part[(part["set"] == name) & (part["runs"] > 1)] for part in parts]
        freedom = sum(int(row["runs"].iloc[0]) - 1 for row in rows if len(row))
        squares = sum(
            float(row["psnr_std"].iloc[0]) ** 2 * (int(row["runs"].iloc[0]) - 1) for row in rows if len(row)
        )
        if freedom:
            found[name] = (float(np.sqrt(squares / freedom)), freedom)
    return found


def seed_margin(images: pd.DataFrame, groups: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return by set how far the mean PSNRs (dB) of two trainings may lie apart by their seeds alone.

    With a standard deviation s over the seeds, the difference of two trainings has sqrt(2) s; 95 % of such
    differences are below t sqrt(2) s, t being Student's for the degrees of freedom that s was estimated with.
    Takes the arguments of `pooled_seeds`.
    """
    return {
        name: half_width(deviation, freedom, 1, 1)
        for name, (deviation, freedom) in pooled_seeds(images, groups).items()
    }


def half_width(deviation: float, freedom: int, first: int, second: int) -> float:
    """Return half of the 95 % interval of a difference of two means over so many seeds, by Student's t."""
    return float(stats.t.ppf(1 - LEVEL / 2, freedom) * deviation * np.sqrt(1 / first + 1 / second))


def _comparison(
    variant: str, baseline: str, name: str, metric: Metric, differences_N: DifferencesN
) -> Comparison:
    enough = len(differences_N) >= LEAST_IMAGES
    low, high = bootstrap_interval(differences_N) if enough else (None, None)
    p_value = signed_rank_p(differences_N)
    return Comparison(
        variant=variant,
        baseline=baseline,
        set=name,
        metric=metric,
        images=len(differences_N),
        difference=float(np.mean(differences_N)),
        low=low,
        high=high,
        p_value=p_value,
        adjusted_p=p_value,
        verdict="not distinguishable" if enough else "too few images",
    )


def _adjusted(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return the comparisons with Holm's p and the verdict that follows from it.

    Sets that are too small to decide anything are no part of the family: they were ruled out by their size,
    before their values were seen.
    """
    adjusted: dict[int, float] = {}
    for metric in METRICS:
        family = [
            index
            for index, comparison in enumerate(comparisons)
            if comparison.metric == metric and comparison.verdict != "too few images"
        ]
        adjusted |= zip(family, holm([comparisons[index].p_value for index in family]), strict=True)
    return [
        _decided(comparison, adjusted[index]) if index in adjusted else comparison
        for index, comparison in enumerate(comparisons)
    ]


def _decided(comparison: Comparison, adjusted_p: float) -> Comparison:
    verdict: Verdict = "not distinguishable"
    if adjusted_p < LEVEL and comparison.low is not None and comparison.high is not None:
        if comparison.low > 0:
            verdict = "gain"
        elif comparison.high < 0:
            verdict = "loss"
    return replace(comparison, adjusted_p=adjusted_p, verdict=verdict)
