"""Tables 1 to 3: each variant beside its baseline and the statements of the paper's text."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from alkdnet.analysis.statistics import Comparison
from alkdnet.config.params import Ablation
from alkdnet.paper.published import RECIPE, Stated, is_variant, stated_difference
from alkdnet.reporting.cells import costs, origin, score_cells, shown_sets
from alkdnet.reporting.comparisons import compare, verdicts_table
from alkdnet.reporting.deviations import recipe_value
from alkdnet.reporting.study import Study, StudyRow
from alkdnet.reporting.table import Table, signed, text_row


@dataclass(frozen=True, kw_only=True)
class AblationResult:
    """One of Tables 1 to 3.

    Attributes:
        number: 1, 2 or 3.
        plan: its section of the parameter file.
        rows: existing rows, the baseline among them.
        comparisons: with the baseline, then with other rows that the paper compares a variant with.
        missing: names that are no rows of the parameter file.
    """

    number: int
    plan: Ablation
    rows: tuple[StudyRow, ...]
    comparisons: tuple[Comparison, ...]
    missing: tuple[str, ...]


def ablations(study: Study) -> list[AblationResult]:
    """Return those of Tables 1 to 3 that the study has rows of."""
    report = study.params.report
    plans = enumerate((report.table1, report.table2, report.table3), 1)
    return [_ablation(study, table, plan) for table, plan in plans if study.of(plan.rows)]


def ablation_table(study: Study, ablation: AblationResult) -> Table:
    """Return the variants with their costs, scores, and the mean differences to the baseline."""
    sets = shown_sets(study, ablation.rows)
    columns = [score_cells(ablation.rows, name) for name in sets]
    baseline = study.rows.get(ablation.plan.baseline)
    rows = []
    for index, row in enumerate(ablation.rows):
        label = f"{row.label} (baseline)" if row is baseline else row.label
        difference = (mean_difference(row, baseline, measure) for measure in ("psnr", "ssim"))
        mean = "–" if row is baseline else _amounts(*difference)
        rows.append(
            (
                *text_row(label, origin(study, row), *costs(row)),
                *(column[index] for column in columns),
                *text_row(mean),
            )
        )
    return Table(
        caption=f"{ablation.plan.title}: PSNR (dB) / SSIM",
        header=(
            *("Variant", "Weights", "Parameters", "Multi-Adds"),
            *map(study.set_label, sets),
            "Mean difference",
        ),
        rows=rows,
        alignment="ll" + "r" * (3 + len(sets)),
    )


def camera_ready_table(study: Study, ablation: AblationResult) -> Table:
    """Return the variants as a paper prints them: parameters, Multi-Adds, scores."""
    whole = ablation_table(study, ablation)
    keep = [index for index, name in enumerate(whole.header) if name not in ("Weights", "Mean difference")]
    iterations = recipe_value(study, "iterations")
    short = "" if iterations == f"{RECIPE.iterations:,}" else f" Trained for {iterations} iterations."
    return Table(
        caption=f"{whole.caption}.{short}",
        header=tuple(whole.header[index] for index in keep),
        rows=[tuple(row[index] for index in keep) for row in whole.rows],
        alignment="".join(whole.alignment[index] for index in keep),
    )


def ablation_verdicts(study: Study, ablation: AblationResult) -> Table:
    """Return the differences to the baseline with intervals, p-values and verdicts."""
    return verdicts_table(study, ablation.comparisons, caption=f"{ablation.plan.title}: differences in PSNR")


def statements_table(study: Study, ablation: AblationResult) -> Table:
    """Return the statements of the paper's text on the variants, beside the measured differences.

    The paper prints the tables as images; its text has the differences. Amounts are means over the five sets,
    and those on Urban100 where the text has them.
    """
    rows = []
    for row in ablation.rows:
        stated = stated_difference(ablation.number, row.row)
        found = [each for each in ablation.comparisons if each.variant == row.name]
        if stated is None:
            continue
        for name in dict.fromkeys(each.baseline for each in found):
            baseline = study.rows[name]
            measured = mean_difference(row, baseline, "psnr")
            rows.append(
                text_row(
                    row.label,
                    baseline.label,
                    stated.words,
                    stated.section,
                    _amounts(stated.psnr, stated.ssim),
                    _amounts(stated.urban100_psnr, stated.urban100_ssim),
                    _amounts(measured, mean_difference(row, baseline, "ssim")),
                    agreement(study, stated, [each for each in found if each.baseline == name]),
                )
            )
    return Table(
        caption=f"{ablation.plan.title}: what the text states, PSNR (dB) / SSIM",
        header=(
            *("Variant", "Against", "Stated", "Section", "Stated mean", "Stated on Urban100"),
            *("Measured mean", "Agrees"),
        ),
        rows=rows,
        alignment="lllrrrrl",
    )


def verdicts_overview(study: Study, found: Sequence[AblationResult]) -> Table:
    """Return the differences of all variants to their baselines with verdicts, a column for each set.

    Sets that have too few images for any verdict are left out.
    """
    decided = {
        (each.number, c.variant, c.set): c
        for each in found
        for c in each.comparisons
        if c.metric == "psnr" and c.baseline == each.plan.baseline and c.verdict != "too few images"
    }
    sets = [name for name in study.sets if any(name == key[2] for key in decided)]
    rows = []
    for number, name in dict.fromkeys((key[0], key[1]) for key in decided):
        cells = [decided.get((number, name, each)) for each in sets]
        texts = [f"{signed(c.difference, 3)} {c.verdict}" if c else "–" for c in cells]
        rows.append(text_row(str(number), study.rows[name].label, *texts))
    return Table(
        caption="Differences in PSNR to the baseline",
        header=("Table", "Variant", *map(study.set_label, sets)),
        rows=rows,
        alignment="ll" + "l" * len(sets),
    )


def ablation_frame(study: Study, ablation: AblationResult) -> pd.DataFrame:
    """Return the variants as data, one row each; differences are means over the whole sets of both rows."""
    baseline = study.rows.get(ablation.plan.baseline)
    rows = []
    for row in ablation.rows:
        stated = stated_difference(ablation.number, row.row)
        rows.append(
            {
                "run": row.name,
                "label": row.label,
                "iterations": row.recipe.iterations if row.recipe else None,
                "parameters": row.cost.parameters if row.cost else None,
                "multi_adds": row.cost.multi_adds if row.cost else None,
                "mean_psnr_difference": mean_difference(row, baseline, "psnr"),
                "mean_ssim_difference": mean_difference(row, baseline, "ssim"),
                "stated_psnr": stated.psnr if stated else None,
                "stated_ssim": stated.ssim if stated else None,
            }
        )
    return pd.DataFrame(rows).astype(dict.fromkeys(("iterations", "parameters", "multi_adds"), "Int64"))


def mean_difference(variant: StudyRow, baseline: StudyRow | None, measure: str) -> float | None:
    """Return the mean over the sets that both have whole of variant - baseline; None if there is none.

    Every set weighs the same, as in the averages of the paper.
    """
    pairs = [(score, baseline.scores.get(name)) for name, score in variant.scores.items()] if baseline else []
    both = [
        getattr(score, measure) - getattr(other, measure)
        for score, other in pairs
        if other is not None and score.complete and other.complete
    ]
    return float(np.mean(both)) if both else None


def agreement(study: Study, stated: Stated, comparisons: Sequence[Comparison]) -> str:
    """Return whether the PSNR verdicts of one variant against one row go the way that the paper states.

    They are those of the sets that the statement is about.
    """
    found = [
        each for each in comparisons if each.metric == "psnr" and stated.is_about(study.columns.get(each.set))
    ]
    verdicts = {each.verdict for each in found} & {"gain", "loss"}
    if len(verdicts) != 1:
        return "on some sets" if verdicts else "undecided"
    return "yes" if ("gain" in verdicts) == (stated.direction == 1) else "no"


def _amounts(psnr: float | None, ssim: float | None) -> str:
    return "–" if psnr is None else f"{signed(psnr, 2)} / {signed(ssim, 4)}"


def _ablation(study: Study, table: int, plan: Ablation) -> AblationResult:
    rows = study.of(plan.rows)
    baseline = study.rows.get(plan.baseline)
    variants = [row for row in rows if row is not baseline]
    pairs = [(row, baseline) for row in variants] if baseline else []
    comparisons = compare(study, [*pairs, *_other_pairs(table, variants)])
    return AblationResult(
        number=table,
        plan=plan,
        rows=tuple(rows),
        comparisons=tuple(comparisons),
        missing=tuple(name for name in plan.rows if name not in study.rows),
    )


def _other_pairs(table: int, variants: Sequence[StudyRow]) -> list[tuple[StudyRow, StudyRow]]:
    """Return the variants with the second row that the text compares them with."""
    pairs = []
    for row in variants:
        stated = stated_difference(table, row.row)
        if stated is not None and stated.also_against is not None:
            pairs += [(row, other) for other in variants if is_variant(other.row, stated.also_against)]
    return pairs
