"""Table 4: methods published and measured, and how many cells agree; as data in `table4_frame`."""

import math

import pandas as pd

from alkdnet.paper.published import SCALES, SETS, published_score, table4
from alkdnet.reporting.cells import (
    PSNR_DIGITS,
    SSIM_DIGITS,
    compared_cells,
    costs,
    origin,
    ranks,
    shown_sets,
)
from alkdnet.reporting.study import Study, StudyRow
from alkdnet.reporting.table import Cell, Part, Table, number, text_row


def main_table(study: Study) -> Table:
    """Return the methods of Table 4 that the study has, at all scales, with differences to the published."""
    everything = [row for scale in study.scales for _, row in study.methods(scale)]
    sets = shown_sets(study, everything)
    rows: list[tuple[Cell, ...]] = []
    for scale in study.scales:
        measured = study.with_published_protocol(scale)
        columns = [compared_cells(study, measured, name) for name in sets]
        for index, (method, row) in enumerate(measured):
            texts = text_row(f"×{scale}", method, _origin(study, method, row), *costs(row))
            rows.append((*texts, *(column[index] for column in columns)))
    return Table(
        caption="Measured methods: PSNR (dB) / SSIM",
        header=("Scale", "Method", "Weights", "Parameters", "Multi-Adds", *map(study.set_label, sets)),
        rows=rows,
        alignment="lll" + "r" * (2 + len(sets)),
    )


def table4_table(study: Study, scale: int) -> Table:
    """Return Table 4 at one scale: a row as published, under it the measured one with its differences.

    Best and second are marked among the published numbers of a column, and apart among the measured ones.
    """
    cells = table4()
    cells = cells[cells["scale"] == scale]
    measured = study.with_published_protocol(scale)
    set_of = {column: name for name, column in study.columns.items()}
    published_columns = [_published_column(cells[cells["set"] == column]) for column in SETS]
    measured_columns = [
        compared_cells(study, measured, set_of[column])
        if column in set_of
        else [text_row("not available")[0] for _ in measured]
        for column in SETS
    ]
    methods = list(dict.fromkeys(cells["method"]))
    rows: list[tuple[Cell, ...]] = []
    for method in dict.fromkeys([*methods, *(name for name, _ in measured)]):
        if method in methods:
            index = methods.index(method)
            first = cells[cells["method"] == method].iloc[0]
            known = not pd.isna(first["parameters_k"])
            cost = (
                (f"{first['parameters_k']:.0f} K", f"{first['multi_adds_printed']} G")
                if known
                else ("–", "–")
            )
            rows.append(
                (*text_row(method, "published", *cost), *(column[index] for column in published_columns))
            )
        for index, (name, row) in enumerate(measured):
            if name == method:
                status = "measured" if row.scores else "not evaluated"
                texts = text_row(f"↳ {method}", f"{status}: {_origin(study, method, row)}", *costs(row))
                rows.append((*texts, *(column[index] for column in measured_columns)))
    return Table(
        caption=f"Comparison at ×{scale}: PSNR (dB) / SSIM, published and measured, with the differences",
        header=("Method", "Numbers", "Parameters", "Multi-Adds", *SETS),
        rows=rows,
        alignment="ll" + "r" * (2 + len(SETS)),
    )


def table4_frame(study: Study) -> pd.DataFrame:
    """Return Table 4 as data, one row for each method, scale and set, and each row that measures it.

    Columns: method, scale, set, published_psnr, published_ssim, run, weights, protocol (`paper` or `classic`:
    the one of the published cell, if it was measured), measured_psnr, measured_ssim, psnr_difference,
    ssim_difference (measured - published), paper_psnr, paper_ssim (measured by the paper's own protocol). A
    method that is not in the paper has no published values, one that was not measured no measured ones; a set
    that is not whole has no difference.
    """
    set_of = {column: name for name, column in study.columns.items()}
    cells = []
    for scale in SCALES:
        measured = study.methods(scale)
        for method in dict.fromkeys([*table4()["method"], *(name for name, _ in measured)]):
            rows: list[StudyRow | None] = [row for name, row in measured if name == method]
            for row in rows or [None]:
                cells += [_cell(study, method, scale, column, set_of.get(column), row) for column in SETS]
    return pd.DataFrame(cells)


def reproduced_table(study: Study) -> Table | None:
    """Return for each method with released weights how many cells of Table 4 they give to the last digit."""
    cells = table4_frame(study).dropna(subset="psnr_difference")
    cells = cells[cells["run"].isin([row.name for row in study.released])]
    rows = []
    for method, group in cells.groupby("method", sort=False):
        texts = [str(method), f"{len(group)} of {len(SCALES) * len(SETS)}"]
        for measure, digits, decimals in (("psnr", PSNR_DIGITS, 3), ("ssim", SSIM_DIGITS, 5)):
            equal = group[f"measured_{measure}"].round(digits) == group[f"published_{measure}"].round(digits)
            largest = group[f"{measure}_difference"].abs().max()
            texts += [f"{equal.sum()}", number(float(largest), decimals)]
        rows.append(text_row(*texts))
    header = (
        "Method",
        "Cells measured",
        "PSNR equal",
        "largest difference, dB",
        "SSIM equal",
        "largest difference",
    )
    caption = "Cells of Table 4 that released weights give to the last digit"
    return Table(caption=caption, header=header, rows=rows, alignment="lrrrrr") if rows else None


def _cell(
    study: Study, method: str, scale: int, column: str, name: str | None, row: StudyRow | None
) -> dict[str, object]:
    published = published_score(method, scale, column) or (math.nan, math.nan)
    score = row.with_published_protocol(method).scores.get(name) if row and name else None
    by_paper = row.scores.get(name) if row and name else None
    measured = (score.psnr, score.ssim) if score else (math.nan, math.nan)
    comparable = score is not None and score.complete
    found: dict[str, object] = {"method": method, "scale": scale, "set": column}
    found |= zip(("published_psnr", "published_ssim"), published, strict=True)
    found |= {"run": row.name if row else None, "weights": origin(study, row) if row else None}
    found["protocol"] = ("classic" if row.uses_classic_protocol(method) else "paper") if row else None
    found |= zip(("measured_psnr", "measured_ssim"), measured, strict=True)
    for key, here, there in zip(("psnr_difference", "ssim_difference"), measured, published, strict=True):
        found[key] = here - there if comparable else math.nan
    found["paper_psnr"] = by_paper.psnr if by_paper else math.nan
    found["paper_ssim"] = by_paper.ssim if by_paper else math.nan
    return found


def _origin(study: Study, method: str, row: StudyRow) -> str:
    return origin(study, row) + (", classic protocol" if row.uses_classic_protocol(method) else "")


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
