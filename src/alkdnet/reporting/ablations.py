"""Tables 1 to 3: each variant beside its baseline, and beside what the paper's text states."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from alkdnet.analysis.statistics import Comparison
from alkdnet.analysis.statistics import frame as comparison_frame
from alkdnet.config.params import Ablation, Params
from alkdnet.paper.published import Stated, is_variant, paper_sets, set_label, stated_difference
from alkdnet.reporting.comparisons import compare_run_pairs, difference_text, find, sentences
from alkdnet.reporting.marks import VERDICTS
from alkdnet.reporting.scores import cost_texts, origin, score_cells
from alkdnet.reporting.table import Cell, Table, signed, text_cell
from alkdnet.results.tree import Results, RunResults


@dataclass(frozen=True, kw_only=True)
class AblationResult:
    """One of Tables 1 to 3.

    `frame` has a row for each variant with the columns run, label, parameters, multi_adds,
    mean_psnr_difference, mean_ssim_difference (over the sets that are complete for variant and baseline),
    stated_psnr, stated_ssim; `comparisons` with the baseline are per set, and `others` with another row that
    the paper compares a variant with; `sentences` say what the differences support.
    """

    number: int
    title: str
    baseline_label: str
    table: Table
    frame: pd.DataFrame
    comparisons: tuple[Comparison, ...]
    others: tuple[Comparison, ...]
    sentences: tuple[str, ...]
    missing: tuple[str, ...]

    def comparison_frame(self) -> pd.DataFrame:
        """Return the comparisons as a table."""
        return comparison_frame([*self.comparisons, *self.others])


def ablation(params: Params, results: Results, table: int) -> AblationResult | None:
    """Return Table 1, 2 or 3; None if the pipeline has no run of it."""
    plan = _plan(params, table)
    runs = results.of(plan.rows)
    if not runs:
        return None
    baseline = results.runs.get(plan.baseline)
    variants = [run for run in runs if run.name != plan.baseline]
    pairs = [(run, baseline) for run in variants] if baseline is not None else []
    found = compare_run_pairs([*pairs, *_other_pairs(table, variants)])
    comparisons = [each for each in found if each.baseline == plan.baseline]
    others = [each for each in found if each.baseline != plan.baseline]
    frame = pd.DataFrame([_record(table, run, baseline) for run in variants], columns=_COLUMNS)
    return AblationResult(
        number=table,
        title=plan.title,
        baseline_label=plan.baseline if baseline is None else baseline.label,
        table=_table(params, results, table, plan, runs, found),
        frame=frame,
        comparisons=tuple(comparisons),
        others=tuple(others),
        sentences=tuple(sentences(params, results, found, baseline=plan.baseline)),
        missing=tuple(name for name in plan.rows if name not in results.runs),
    )


def mean_difference(variant: RunResults, baseline: RunResults | None, measure: str) -> float | None:
    """Return the mean over the sets that both have whole of variant - baseline; None if there is none.

    Every set weighs the same, as in the averages of the paper.
    """
    if baseline is None:
        return None
    both = [
        getattr(score, measure) - getattr(baseline.scores[name], measure)
        for name, score in variant.scores.items()
        if name in baseline.scores and score.complete and baseline.scores[name].complete
    ]
    return float(np.mean(both)) if both else None


def agreement(
    stated: Stated | None, comparisons: Sequence[Comparison], column_of: Mapping[str, str] | None = None
) -> str:
    """Say whether the PSNRs of one variant go the way that the paper states, as far as can be told.

    Args:
        stated: what it states.
        comparisons: of the variant with one other run.
        column_of: by test set, the column of Table 4 that it is; a statement about some columns is judged by
            them alone.
    """
    columns = column_of or {}
    found = [each for each in comparisons if each.metric == "psnr"]
    if stated is None or not found:
        return "–"
    verdicts = {each.verdict for each in found if stated.is_about(columns.get(each.set))}
    if not verdicts & {"gain", "loss"}:
        return "cannot be told"
    if {"gain", "loss"} <= verdicts:
        return "on some sets"
    return "yes" if ("gain" in verdicts) == (stated.direction == 1) else "no"


def stated_text(stated: Stated | None) -> str:
    """Return what the text states of a variant, with its section; a dash if nothing."""
    if stated is None:
        return "–"
    amounts = []
    if stated.psnr is not None and stated.ssim is not None:
        amounts.append(f"{signed(stated.psnr, 2)} dB, {signed(stated.ssim, 4)} on average")
    if stated.urban100_psnr is not None and stated.urban100_ssim is not None:
        amounts.append(f"{signed(stated.urban100_psnr, 2)} dB, {signed(stated.urban100_ssim, 4)} on Urban100")
    return f"{'; '.join([*amounts, stated.words])} ({stated.section})"


_COLUMNS = [
    "run",
    "label",
    "iterations",
    "parameters",
    "multi_adds",
    "mean_psnr_difference",
    "mean_ssim_difference",
    "stated_psnr",
    "stated_ssim",
]


def _plan(params: Params, table: int) -> Ablation:
    return (params.report.table1, params.report.table2, params.report.table3)[table - 1]


def _record(table: int, run: RunResults, baseline: RunResults | None) -> list[object]:
    stated = stated_difference(table, run.run)
    return [
        run.name,
        run.label,
        run.iterations(),
        None if run.cost is None else run.cost.parameters,
        None if run.cost is None else run.cost.multi_adds,
        mean_difference(run, baseline, "psnr"),
        mean_difference(run, baseline, "ssim"),
        None if stated is None else stated.psnr,
        None if stated is None else stated.ssim,
    ]


def _other_pairs(table: int, variants: Sequence[RunResults]) -> list[tuple[RunResults, RunResults]]:
    """Return the variants with the second row that the text compares them with."""
    pairs = []
    for run in variants:
        stated = stated_difference(table, run.run)
        if stated is not None and stated.also_against is not None:
            pairs += [(run, other) for other in variants if is_variant(other.run, stated.also_against)]
    return pairs


def _table(
    params: Params,
    results: Results,
    table: int,
    plan: Ablation,
    runs: Sequence[RunResults],
    comparisons: Sequence[Comparison],
) -> Table:
    sets = params.names("test")
    columns = {name: score_cells(runs, name) for name in sets}
    baseline = results.runs.get(plan.baseline)
    with_baseline = [each for each in comparisons if each.baseline == plan.baseline]
    rows = []
    for index, run in enumerate(runs):
        is_baseline = run.name == plan.baseline
        stated = stated_difference(table, run.run)
        cells = [_with_difference(columns[name][index], with_baseline, run.name, name) for name in sets]
        own = [each for each in comparisons if each.variant == run.name]
        rows.append(
            (
                text_cell(f"{run.label} (baseline)" if is_baseline else run.label),
                *(text_cell(text) for text in (origin(run), *cost_texts(run))),
                *cells,
                text_cell("–" if is_baseline else _mean_text(run, baseline)),
                text_cell("–" if is_baseline else stated_text(stated)),
                text_cell(_agreement_text(params, results, stated, own)),
            )
        )
    return Table(
        caption=f"Table {table}. {plan.title}: PSNR (dB) / SSIM, and the PSNR difference to the baseline",
        header=(
            *("Variant", "Weights", "Parameters", "Multi-Adds"),
            *(set_label(params, name) for name in sets),
            *("Mean difference", "The paper states", "Agrees"),
        ),
        rows=rows,
        alignment="ll" + "r" * (3 + len(sets)) + "pl",
    )


def _agreement_text(
    params: Params, results: Results, stated: Stated | None, comparisons: Sequence[Comparison]
) -> str:
    """Return `agreement` with every run that the variant is compared with; one word where all are alike."""
    columns = paper_sets(params)
    found = {
        baseline: agreement(stated, [each for each in comparisons if each.baseline == baseline], columns)
        for baseline in dict.fromkeys(each.baseline for each in comparisons)
    }
    if stated is not None and stated.also_against is not None and len(found) == 1:
        (baseline,) = found
        return f"{found[baseline]} (against {results.runs[baseline].label} only)"
    if len(set(found.values())) <= 1:
        return next(iter(found.values()), "–")
    return "; ".join(f"{word} against {results.runs[name].label}" for name, word in found.items())


def _with_difference(cell: Cell, comparisons: Sequence[Comparison], run: str, name: str) -> Cell:
    comparison = find(comparisons, run, name, "psnr")
    if comparison is None:
        return cell
    return replace(cell, difference=difference_text(comparison), mark=VERDICTS[comparison.verdict])


def _mean_text(run: RunResults, baseline: RunResults | None) -> str:
    psnr, ssim = (mean_difference(run, baseline, measure) for measure in ("psnr", "ssim"))
    if psnr is None or ssim is None:
        return "–"
    return f"{signed(psnr, 2)} dB, {signed(ssim, 4)}"
