"""The main table of a report: the measured methods at all scales, beside Table 4."""

from collections.abc import Sequence
from dataclasses import replace

from alkdnet.config.params import Params
from alkdnet.paper.published import SCALES, SETS, paper_sets, set_label, table4
from alkdnet.reporting.comparison_table import Measured, comparison_rows, measured_runs
from alkdnet.reporting.marks import published_mark
from alkdnet.reporting.pages import scales_of
from alkdnet.reporting.scores import PSNR_DIGITS, SSIM_DIGITS, cost_texts, origin, score_cells
from alkdnet.reporting.table import Cell, Table, signed, text_row
from alkdnet.results.tree import Results


def main_table(params: Params, results: Results) -> Table:
    """Return the measured methods at all scales on the pipeline's test sets, with differences to Table 4."""
    sets = params.names("test")
    rows: list[tuple[Cell, ...]] = []
    for scale in scales_of(params):
        measured = measured_runs(params, results, scale)
        columns = [_column(params, measured, name, scale) for name in sets]
        for index, each in enumerate(measured):
            texts = (f"×{scale}", each.method, origin(each.run), *cost_texts(each.run))
            rows.append((*text_row(*texts), *(column[index] for column in columns)))
    return Table(
        caption="Measured methods: PSNR (dB) / SSIM",
        header=(
            "Scale",
            "Method",
            "Weights",
            "Parameters",
            "Multi-Adds",
            *(set_label(params, n) for n in sets),
        ),
        rows=rows,
        alignment="lll" + "r" * (2 + len(sets)),
    )


def _column(params: Params, measured: Sequence[Measured], name: str, scale: int) -> list[Cell]:
    cells = score_cells([each.run for each in measured], name)
    column = paper_sets(params).get(name)
    published = table4()
    published = published[(published["scale"] == scale) & (published["set"] == column)].set_index("method")
    found = []
    for each, cell in zip(measured, cells, strict=True):
        score = each.run.scores.get(name)
        if score is not None and score.complete and each.method in published.index:
            psnr = float(published["psnr"][each.method])
            difference = f"{signed(score.psnr - psnr, 2)} dB"
            found.append(replace(cell, difference=difference, mark=published_mark(score.psnr, psnr)))
        else:
            found.append(cell)
    return found


def reproduced(params: Params, results: Results) -> list[str]:
    """Say for each method with released weights how many cells of Table 4 they give to the last digit."""
    rows = comparison_rows(params, results).dropna(subset="psnr_difference")
    released = [name for name, run in params.runs.items() if run.kind == "released"]
    rows = rows[rows["run"].isin(released)]
    sentences = []
    for method, cells in rows.groupby("method", sort=False):
        equal = {
            measure: int(
                (
                    cells[f"measured_{measure}"].round(digits) == cells[f"published_{measure}"].round(digits)
                ).sum()
            )
            for measure, digits in (("psnr", PSNR_DIGITS), ("ssim", SSIM_DIGITS))
        }
        sentences.append(
            f"{method}: {len(cells)} of its {len(SCALES) * len(SETS)} cells in Table 4 measured, of them "
            f"{equal['psnr']} PSNRs and {equal['ssim']} SSIMs to the last digit; the largest differences are "
            f"{cells['psnr_difference'].abs().max():.3f} dB and "
            f"{cells['ssim_difference'].abs().max():.5f}."
        )
    return sentences
