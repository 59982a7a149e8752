"""Runs against a baseline: the statistics of their images, and the cells and sentences that show them."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from alkdnet.analysis.statistics import Comparison, Metric, compare_pairs, seed_margin
from alkdnet.config.params import Params
from alkdnet.paper.published import set_label
from alkdnet.reporting.table import number, signed
from alkdnet.reporting.wording import nothing_to_say, sentence
from alkdnet.results.tree import Results, RunResults


def images_of(runs: Sequence[RunResults]) -> pd.DataFrame:
    """Return the scores of these runs by image: columns run, set, image, height, width, psnr, ssim."""
    parts = [run.images.assign(run=run.name) for run in runs if run.images is not None and len(run.images)]
    columns = ["run", "set", "image", "height", "width", "psnr", "ssim"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def compare_runs(variants: Sequence[RunResults], baseline: RunResults) -> list[Comparison]:
    """Compare all evaluated variants with the baseline, as one family; nothing if that was not evaluated."""
    return compare_run_pairs([(variant, baseline) for variant in variants])


def compare_run_pairs(pairs: Sequence[tuple[RunResults, RunResults]]) -> list[Comparison]:
    """Compare the pairs (variant, baseline) of which both were evaluated, as one family."""
    images = images_of(list({run.name: run for pair in pairs for run in pair}.values()))
    known = set(images["run"])
    names = [(variant.name, baseline.name) for variant, baseline in pairs]
    names = [pair for pair in names if known.issuperset(pair)]
    return compare_pairs(images, names) if names else []


def seed_group(params: Params, results: Results, name: str) -> list[str]:
    """Return the runs that are one training with several seeds, the named one first; empty if it has one."""
    group = results.of([name, *params.report.seeds.get(name, ())])
    return [run.name for run in group] if len(group) > 1 else []


def seed_margins(params: Params, results: Results, names: Sequence[str]) -> dict[str, float]:
    """Return by set how far two trainings may lie apart in mean PSNR (dB) by their seeds alone.

    Estimated from those of the named runs that were trained with several seeds; empty if none was.
    """
    groups = [group for name in names if (group := seed_group(params, results, name))]
    runs = results.of(dict.fromkeys(name for group in groups for name in group))
    return seed_margin(images_of(runs), groups)


def sentences(
    params: Params, results: Results, comparisons: Sequence[Comparison], *, baseline: str
) -> list[str]:
    """Return what each pair's PSNR supports, a sentence each, in the order of the comparisons.

    The run `baseline` is called so; another one that a variant is compared with goes by its name.
    """
    shown = [replace(each, set=set_label(params, each.set)) for each in comparisons if each.metric == "psnr"]
    if (sentence_for_all := nothing_to_say(shown)) is not None:
        return [sentence_for_all]
    found = []
    for variant, other in dict.fromkeys((each.variant, each.baseline) for each in shown):
        label, other_label = results.runs[variant].label, results.runs[other].label
        usual = other == baseline
        margins = seed_margins(params, results, [variant, other])
        found.append(
            sentence(
                [each for each in shown if (each.variant, each.baseline) == (variant, other)],
                label=label if usual else f"{label} against {other_label}",
                baseline="the baseline" if usual else other_label,
                seed_margin={set_label(params, name): value for name, value in margins.items()},
            )
        )
    return found


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
