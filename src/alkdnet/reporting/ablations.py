"""Tables 1 to 3: each variant beside its baseline, and beside what the paper's text states."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from alkdnet.config import Ablation, Params
from alkdnet.evaluation.statistics import Comparison
from alkdnet.evaluation.statistics import frame as comparison_frame
from alkdnet.reporting.comparisons import compare_runs, difference_text, find, sentences
from alkdnet.reporting.marks import VERDICTS
from alkdnet.reporting.published import Stated, set_label, stated_difference
from alkdnet.reporting.results import Results, RunResults
from alkdnet.reporting.scores import cost_texts, origin, score_cells
from alkdnet.reporting.table import Cell, Table, signed, text_cell


@dataclass(frozen=True, kw_only=True)
class AblationResult:
    """One of Tables 1 to 3.

    `frame` has a row for each variant with the columns run, label, parameters, multi_adds,
    mean_psnr_difference, mean_ssim_difference (over the sets that are complete for variant and baseline),
    stated_psnr, stated_ssim; `comparisons` are per set; `sentences` say what the differences support.
    """

    number: int
    title: str
    baseline_label: str
    table: Table
    frame: pd.DataFrame
    comparisons: tuple[Comparison, ...]
    sentences: tuple[str, ...]
    missing: tuple[str, ...]

    def comparison_frame(self) -> pd.DataFrame:
        """Return the comparisons as a table."""
        return comparison_frame(self.comparisons)


def ablation(params: Params, results: Results, table: int) -> AblationResult | None:
    """Return Table 1, 2 or 3; None if the pipeline has no run of it."""
    plan = _plan(params, table)
    runs = results.of(plan.rows)
    if not runs:
        return None
    baseline = results.runs.get(plan.baseline)
    variants = [run for run in runs if run.name != plan.baseline]
    comparisons = compare_runs(variants, baseline) if baseline is not None else []
    frame = pd.DataFrame([_record(table, run, baseline) for run in variants], columns=_COLUMNS)
    return AblationResult(
        number=table,
        title=plan.title,
        baseline_label=plan.baseline if baseline is None else baseline.label,
        table=_table(params, table, plan, runs, baseline, comparisons),
        frame=frame,
        comparisons=tuple(comparisons),
        sentences=tuple(sentences(params, results, comparisons)),
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


def agreement(stated: Stated | None, comparisons: Sequence[Comparison]) -> str:
    """Say whether the PSNRs of one variant go the way that the paper states, as far as can be told."""
    verdicts = {each.verdict for each in comparisons if each.metric == "psnr"}
    if stated is None or not verdicts:
        return "–"
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


def _table(
    params: Params,
    table: int,
    plan: Ablation,
    runs: Sequence[RunResults],
    baseline: RunResults | None,
    comparisons: Sequence[Comparison],
) -> Table:
    sets = params.names("test")
    columns = {name: score_cells(runs, name) for name in sets}
    rows = []
    for index, run in enumerate(runs):
        is_baseline = run.name == plan.baseline
        stated = stated_difference(table, run.run)
        cells = [_with_difference(columns[name][index], comparisons, run.name, name) for name in sets]
        rows.append(
            (
                text_cell(f"{run.label} (baseline)" if is_baseline else run.label),
                *(text_cell(text) for text in (origin(run), *cost_texts(run))),
                *cells,
                text_cell("–" if is_baseline else _mean_text(run, baseline)),
                text_cell("–" if is_baseline else stated_text(stated)),
                text_cell(agreement(stated, [each for each in comparisons if each.variant == run.name])),
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
