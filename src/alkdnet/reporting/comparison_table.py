"""Table 4: every method at every scale on the five sets, published and, where there is one, measured."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from alkdnet.analysis.statistics import Comparison
from alkdnet.config.params import Params
from alkdnet.paper.published import OURS, SCALES, SETS, paper_sets, set_label, table4
from alkdnet.reporting.comparisons import compare_runs, difference_text, find
from alkdnet.reporting.marks import VERDICTS, published_mark, ranks
from alkdnet.reporting.scores import PSNR_DIGITS, SSIM_DIGITS, cost_texts, origin, score_cells
from alkdnet.reporting.table import Cell, Part, Table, number, signed, text_cell
from alkdnet.results.tree import Results, RunResults


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The run behind a measured row of Table 4."""

    method: str
    run: RunResults


def measured_runs(params: Params, results: Results, scale: int) -> list[Measured]:
    """Return the runs of Table 4 at one scale, in the order of the parameter file."""
    return [
        Measured(method=method, run=run)
        for method, names in params.report.table4.items()
        for run in results.of(names)
        if run.run.scale == scale
    ]


def comparison_rows(params: Params, results: Results) -> pd.DataFrame:
    """Return Table 4 as data, one row for each method, scale and set.

    Columns: method, scale, set, published_psnr, published_ssim, run, weights, measured_psnr, measured_ssim,
    psnr_difference, ssim_difference (measured - published). A method that is not in the paper has no
    published values, one that was not measured no measured ones; a set that is not whole has no difference.
    """
    published = table4().rename(columns={"psnr": "published_psnr", "ssim": "published_ssim"})
    measured = _measured_frame(params, results)
    keys = ["method", "scale", "set"]
    rows = published[[*keys, "published_psnr", "published_ssim"]].merge(
        measured, on=keys, how="left", validate="1:1"
    )
    if len(unknown := measured[~measured["method"].isin(published["method"])]):
        rows = pd.concat([rows, unknown], ignore_index=True)
    whole = rows.pop("complete").eq(True)
    for measure in ("psnr", "ssim"):
        difference = rows[f"measured_{measure}"] - rows[f"published_{measure}"]
        rows[f"{measure}_difference"] = difference.where(whole)
    return rows


def _measured_frame(params: Params, results: Results) -> pd.DataFrame:
    set_of = {column: name for name, column in paper_sets(params).items()}
    columns = [
        *("method", "scale", "set", "run", "weights"),
        *("measured_psnr", "measured_ssim", "complete"),
    ]
    rows = []
    for scale in SCALES:
        for each in measured_runs(params, results, scale):
            for column in SETS:
                score = each.run.scores.get(set_of.get(column, ""))
                values = (
                    (math.nan, math.nan, False) if score is None else (score.psnr, score.ssim, score.complete)
                )
                rows.append([each.method, scale, column, each.run.name, origin(each.run), *values])
    return pd.DataFrame(rows, columns=columns).astype(
        {"measured_psnr": float, "measured_ssim": float, "scale": int}
    )


def comparison_table(params: Params, results: Results, scale: int) -> Table:
    """Return Table 4 at one scale: a row as published, under it the measured one with its differences.

    Best and second are marked among the published numbers of a column, and apart among the measured ones.
    """
    cells = table4()
    cells = cells[cells["scale"] == scale]
    methods = list(dict.fromkeys(cells["method"]))
    measured = measured_runs(params, results, scale)
    set_of = {column: name for name, column in paper_sets(params).items()}
    published_columns = [_published_column(cells[cells["set"] == column]) for column in SETS]
    measured_columns = [_measured_column(measured, column, set_of.get(column), cells) for column in SETS]
    rows: list[tuple[Cell, ...]] = []
    for method in dict.fromkeys([*methods, *(each.method for each in measured)]):
        if method in methods:
            index = methods.index(method)
            first = cells[cells["method"] == method].iloc[0]
            costs = (
                "–" if pd.isna(first["parameters_k"]) else f"{first['parameters_k']:.0f} K",
                "–" if pd.isna(first["multi_adds_g"]) else f"{first['multi_adds_printed']} G",
            )
            published = [column[index] for column in published_columns]
            rows.append((*(text_cell(text) for text in (method, "published", *costs)), *published))
        for index, each in enumerate(measured):
            if each.method == method:
                standing = "measured" if each.run.scores else "not measured here"
                texts = (f"↳ {method}", f"{standing}: {origin(each.run)}", *cost_texts(each.run))
                rows.append(
                    (*(text_cell(text) for text in texts), *(column[index] for column in measured_columns))
                )
    return Table(
        caption=f"Table 4 at ×{scale}: PSNR (dB) / SSIM, published and measured, with the differences",
        header=("Method", "Numbers", "Parameters", "Multi-Adds", *SETS),
        rows=rows,
        alignment="ll" + "r" * (2 + len(SETS)),
    )


@dataclass(frozen=True, kw_only=True)
class AgainstOurs:
    """The other measured methods of one scale, and their differences to ALKDNet on every test set."""

    scale: int
    ours: RunResults
    others: tuple[RunResults, ...]
    comparisons: tuple[Comparison, ...]


def against_ours(params: Params, results: Results) -> list[AgainstOurs]:
    """Return the comparisons with ALKDNet at every scale at which it and another method were evaluated."""
    found = []
    for scale in SCALES:
        measured = measured_runs(params, results, scale)
        ours = [each.run for each in measured if each.method == OURS]
        others = tuple(each.run for each in measured if each.method != OURS)
        if ours and (comparisons := compare_runs(others, ours[0])):
            found.append(
                AgainstOurs(scale=scale, ours=ours[0], others=others, comparisons=tuple(comparisons))
            )
    return found


def against_ours_table(params: Params, against: AgainstOurs) -> Table:
    """Return the PSNR differences of the other methods to ALKDNet, with intervals and marks."""
    sets = params.names("test")
    rows = []
    for run in against.others:
        found = [find(against.comparisons, run.name, name, "psnr") for name in sets]
        cells = (
            text_cell("–")
            if each is None
            else Cell(
                parts=(Part(text=difference_text(each)),),
                difference=f"{each.images} images",
                mark=VERDICTS[each.verdict],
            )
            for each in found
        )
        rows.append((text_cell(run.label), text_cell(origin(run)), *cells))
    return Table(
        caption=f"PSNR of the other methods minus ALKDNet's at ×{against.scale}, in dB, over the same images",
        header=("Method", "Weights", *(set_label(params, name) for name in sets)),
        rows=rows,
        alignment="ll" + "r" * len(sets),
    )


def _published_column(column: pd.DataFrame) -> list[Cell]:
    psnr, ssim = list(column["psnr"]), list(column["ssim"])
    return [
        Cell(
            parts=(
                Part(text=number(psnr[index], PSNR_DIGITS), rank=psnr_rank),
                Part(text=number(ssim[index], SSIM_DIGITS), rank=ssim_rank),
            )
        )
        for index, (psnr_rank, ssim_rank) in enumerate(zip(ranks(psnr), ranks(ssim), strict=True))
    ]


def _measured_column(
    measured: Sequence[Measured], column: str, name: str | None, published: pd.DataFrame
) -> list[Cell]:
    if name is None:
        return [text_cell("not available") for _ in measured]
    column_cells = published[published["set"] == column].set_index("method")
    found = []
    for each, cell in zip(measured, score_cells([each.run for each in measured], name), strict=True):
        score = each.run.scores.get(name)
        if score is not None and score.complete and each.method in column_cells.index:
            psnr = float(column_cells["psnr"][each.method])
            ssim = float(column_cells["ssim"][each.method])
            difference = f"{signed(score.psnr - psnr, 2)} / {signed(score.ssim - ssim, 4)}"
            found.append(replace(cell, difference=difference, mark=published_mark(score.psnr, psnr)))
        else:
            found.append(cell)
    return found
