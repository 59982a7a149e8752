"""Runs against a baseline: the statistics of their images, and the cells and sentences that show them."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from alkdnet.config import Params
from alkdnet.evaluation.statistics import Comparison, Metric, compare, seed_spread
from alkdnet.evaluation.wording import sentence
from alkdnet.reporting.published import set_label
from alkdnet.reporting.results import Results, RunResults
from alkdnet.reporting.table import number, signed


def images_of(runs: Sequence[RunResults]) -> pd.DataFrame:
    """Return the scores of these runs by image: columns run, set, image, height, width, psnr, ssim."""
    parts = [run.images.assign(run=run.name) for run in runs if run.images is not None and len(run.images)]
    columns = ["run", "set", "image", "height", "width", "psnr", "ssim"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def compare_runs(variants: Sequence[RunResults], baseline: RunResults) -> list[Comparison]:
    """Compare all evaluated variants with the baseline, as one family; nothing if that was not evaluated."""
    images = images_of([*variants, baseline])
    known = set(images["run"])
    names = [run.name for run in variants if run.name in known]
    if baseline.name not in known or not names:
        return []
    return compare(images, variants=names, baseline=baseline.name)


def seed_ranges(params: Params, results: Results, names: Sequence[str]) -> dict[str, float]:
    """Return by set how far the mean PSNR (dB) of one training moved with its seed.

    Of the named runs that were trained with several seeds, the widest; empty if none was.
    """
    widest: dict[str, float] = {}
    for name in names:
        runs = results.of([name, *params.report.seeds.get(name, ())])
        spread = seed_spread(images_of(runs), [run.name for run in runs])
        for record in spread[spread["runs"] > 1].to_dict("records"):
            value = float(record["psnr_range"])
            widest[str(record["set"])] = max(value, widest.get(str(record["set"]), 0.0))
    return widest


def sentences(params: Params, results: Results, comparisons: Sequence[Comparison]) -> list[str]:
    """Return what each variant's PSNR supports, a sentence each, in the order of the comparisons."""
    compared = list(dict.fromkeys(comparison.variant for comparison in comparisons))
    baselines = list(dict.fromkeys(comparison.baseline for comparison in comparisons))
    ranges = seed_ranges(params, results, [*compared, *baselines])
    return [
        sentence(
            [
                replace(each, set=set_label(params, each.set))
                for each in comparisons
                if each.variant == variant and each.metric == "psnr"
            ],
            label=results.runs[variant].label,
            seed_range={set_label(params, name): value for name, value in ranges.items()},
        )
        for variant in compared
    ]


def find(comparisons: Sequence[Comparison], variant: str, name: str, metric: Metric) -> Comparison | None:
    """Return the comparison of one variant on one set in one metric; None if it was not made."""
    for comparison in comparisons:
        if (comparison.variant, comparison.set, comparison.metric) == (variant, name, metric):
            return comparison
    return None


def difference_text(comparison: Comparison) -> str:
    """Return a PSNR difference in dB with its interval, as in +0.07 [0.05, 0.09]."""
    text = signed(comparison.difference, 2)
    if comparison.low is None or comparison.high is None:
        return text
    return f"{text} [{number(comparison.low, 2)}, {number(comparison.high, 2)}]"
