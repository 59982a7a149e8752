"""The cells that several tables share: where weights come from, costs, scores with ranks, differences."""

import math
from collections.abc import Sequence
from dataclasses import replace

from alkdnet.config.params import Finetuned
from alkdnet.paper.published import RECIPE, published_score
from alkdnet.reporting.study import Study, StudyRow
from alkdnet.reporting.table import Cell, Mark, Part, Rank, number, signed, text_row
from alkdnet.results.scores import SKIPPED
from alkdnet.sources.catalogue import source

PSNR_DIGITS, SSIM_DIGITS = 2, 4
# Who trained released weights, by the catalogue; None: a file of the user's own.
RELEASED_BY = {
    "authors": "authors' weights",
    "third party": "third party's weights",
    None: "a file of weights",
}
PARTIAL = "†"
RANK_LEGEND = "**best**, <ins>second</ins> of a column"
PARTIAL_LEGEND = f"`{PARTIAL}` mean over a part of the set only"

EQUAL = Mark("=", "black")
NEAR = Mark("≈", "gray")
ABOVE = Mark("△", "teal")
FAR_ABOVE = Mark("▲", "blue")
BELOW = Mark("▽", "orange")
FAR_BELOW = Mark("▼", "red")
# PSNR in dB. Below NEAR_DB two evaluations of one network may differ by border or rounding alone; from FAR_DB
# on a difference is of the size that separates the methods of Table 4.
NEAR_DB = 0.02
FAR_DB = 0.10
PUBLISHED_LEGEND = (
    f"`{EQUAL.symbol}` the published digits exactly; `{NEAR.symbol}` within {NEAR_DB:.2f} dB of them; "
    f"`{ABOVE.symbol}` above and `{BELOW.symbol}` below by up to {FAR_DB:.2f} dB; "
    f"`{FAR_ABOVE.symbol}` and `{FAR_BELOW.symbol}` by more"
)


def origin(study: Study, row: StudyRow) -> str:
    """Return where the weights of a row come from."""
    if row.row.kind == "released":
        return RELEASED_BY[source(study.params.released[row.name].source).provenance]
    if row.row.kind == "interpolation":
        return "interpolation"
    if row.status == "waiting":
        return "not trained yet"
    iterations = (row.recipe or study.params.recipe_of(row.name)).iterations
    of = "" if iterations == RECIPE.iterations else f" of {RECIPE.iterations:,}"
    start = f" from {study.rows[row.row.init_from].label}" if isinstance(row.row, Finetuned) else ""
    return f"{iterations:,}{of} iterations{start}{'' if row.record else ', by the parameter file'}"


def costs(row: StudyRow) -> tuple[str, str]:
    """Return parameters in thousands and Multi-Adds in 10^9 as they are printed."""
    if row.cost is None or row.cost.parameters == 0:
        return "–", "–"
    return f"{row.cost.parameters / 1e3:,.1f} K", f"{number(row.cost.multi_adds / 1e9, 2)} G"


def shown_sets(study: Study, rows: Sequence[StudyRow]) -> list[str]:
    """Return the test sets that any of these rows was evaluated on; all if none was."""
    return [name for name in study.sets if any(name in row.scores for row in rows)] or list(study.sets)


def score_cells(rows: Sequence[StudyRow], name: str) -> list[Cell]:
    """Return the column of one test set; its ranks are among complete means of these rows, as printed."""
    psnr = _parts(rows, name, "psnr", PSNR_DIGITS)
    ssim = _parts(rows, name, "ssim", SSIM_DIGITS)
    return [
        Cell(parts=(each_psnr, each_ssim)) if name in row.scores else text_row(_absence(row, name))[0]
        for row, each_psnr, each_ssim in zip(rows, psnr, ssim, strict=True)
    ]


def compared_cells(study: Study, measured: Sequence[tuple[str, StudyRow]], name: str) -> list[Cell]:
    """Return `score_cells` of (method, row) of one scale, with the differences to Table 4."""
    cells = score_cells([row for _, row in measured], name)
    found = []
    for (method, row), cell in zip(measured, cells, strict=True):
        published = published_score(method, row.row.scale, study.columns.get(name))
        score = row.scores.get(name)
        if published is not None and score is not None and score.complete:
            psnr, ssim = published
            difference = f"{signed(score.psnr - psnr, 2)} / {signed(score.ssim - ssim, 4)}"
            found.append(replace(cell, difference=difference, mark=published_mark(score.psnr, psnr)))
        else:
            found.append(cell)
    return found


def ranks(values: Sequence[float | None]) -> list[Rank]:
    """Return for each value whether it is the best (greatest) or the second of the column.

    Equal values share a rank; two that share the best leave no second, as in a competition. A value alone is
    best of nothing. None and NaN are missing cells and have no rank. Values are compared as they are: round
    them first to what is printed.
    """
    present = sorted((value for value in values if value is not None and not math.isnan(value)), reverse=True)
    if len(present) < 2:
        return ["" for _ in values]
    best = present[0]
    second = present[1] if present[1] < best else None
    return ["best" if value == best else "second" if value == second is not None else "" for value in values]


def published_mark(measured: float, published: float) -> Mark:
    """Return the mark of a measured PSNR (dB) beside a published one that has two decimals."""
    if round(measured, 2) == round(published, 2):
        return EQUAL
    difference = measured - published
    if abs(difference) < NEAR_DB:
        return NEAR
    if abs(difference) <= FAR_DB:
        return ABOVE if difference > 0 else BELOW
    return FAR_ABOVE if difference > 0 else FAR_BELOW


def _parts(rows: Sequence[StudyRow], name: str, measure: str, digits: int) -> list[Part]:
    scores = [row.scores.get(name) for row in rows]
    values = [None if score is None else round(getattr(score, measure), digits) for score in scores]
    ranked = ranks([v if score and score.complete else None for v, score in zip(values, scores, strict=True)])
    return [
        Part(text=number(value, digits) + ("" if score is None or score.complete else PARTIAL), rank=rank)
        for value, score, rank in zip(values, scores, ranked, strict=True)
    ]


def _absence(row: StudyRow, name: str) -> str:
    reason = row.missing.get(name, "not evaluated")
    if reason == SKIPPED and row.cost is not None:
        return f"not measured: {row.cost.multi_adds / 1e9:,.0f} G Multi-Adds"
    return reason
