"""The tables of all rows of a study and of their networks' costs; as data in `rows_frame`."""

import pandas as pd

from alkdnet.config.params import Run
from alkdnet.reporting.cells import costs, origin, score_cells, shown_sets
from alkdnet.reporting.study import Study
from alkdnet.reporting.table import Table, number, text_row

COSTS = ("parameters", "multi_adds", "multi_adds_convolutions", "activations")


def rows_table(study: Study, scale: int) -> Table:
    """Return the rows of one scale, best and second marked by column among them."""
    shown = [row for row in study.rows.values() if row.row.scale == scale]
    sets = shown_sets(study, shown)
    columns = [score_cells(shown, name) for name in sets]
    return Table(
        caption=f"All rows at ×{scale}: PSNR (dB) / SSIM",
        header=("Row", "Weights", "Parameters", "Multi-Adds", *map(study.set_label, sets)),
        rows=[
            (*text_row(row.label, origin(study, row), *costs(row)), *(column[index] for column in columns))
            for index, row in enumerate(shown)
        ],
        alignment="ll" + "r" * (2 + len(sets)),
    )


def rows_frame(study: Study) -> pd.DataFrame:
    """Return all rows as data.

    Columns: run, label, kind, scale, seed, iterations, parameters, multi_adds, multi_adds_convolutions,
    activations, then for each test set <set>_images, <set>_psnr (dB) and <set>_ssim; NaN where there is
    nothing.
    """
    rows = []
    for row in study.rows.values():
        record: dict[str, object] = {
            "run": row.name,
            "label": row.label,
            "kind": row.row.kind,
            "scale": row.row.scale,
            "seed": row.row.seed if isinstance(row.row, Run) else None,
            "iterations": row.recipe.iterations if row.recipe else None,
            **{name: getattr(row.cost, name, None) for name in COSTS},
        }
        for name in study.sets:
            score = row.scores.get(name)
            record |= {f"{name}_{what}": getattr(score, what, None) for what in ("images", "psnr", "ssim")}
        rows.append(record)
    counts = ["seed", "iterations", *COSTS, *(f"{name}_images" for name in study.sets)]
    return pd.DataFrame(rows).astype(dict.fromkeys(counts, "Int64"))


def costs_table(study: Study) -> Table:
    """Return the costs of every counted network, by both rules."""
    return Table(
        caption="What the networks cost",
        header=(
            *("Scale", "Row", "Parameters", "Multi-Adds, the paper's rule", "Multi-Adds, convolutions only"),
            "Activations",
        ),
        rows=[
            text_row(
                f"×{row.row.scale}",
                row.label,
                f"{row.cost.parameters:,}",
                number(row.cost.multi_adds / 1e9, 3) + " G",
                number(row.cost.multi_adds_convolutions / 1e9, 3) + " G",
                number(row.cost.activations / 1e6, 1) + " M",
            )
            for row in study.rows.values()
            if row.cost is not None and row.cost.parameters
        ],
        alignment="llrrrr",
    )
