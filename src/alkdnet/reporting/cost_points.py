"""The points of the figure of accuracy against cost."""

from alkdnet.config.params import Params
from alkdnet.paper.audit_scores import corrected_table4
from alkdnet.paper.published import OURS, paper_sets, set_label
from alkdnet.reporting.comparison_table import measured_runs
from alkdnet.reporting.figures.cost import Point
from alkdnet.reporting.table import records
from alkdnet.results.tree import Results

# Of the published methods, those are drawn that gain at least this share of the best one's gain over bicubic,
# and cost at most this many times as much as ALKDNet: the old ones would press the others together.
NEAR_BEST = 0.8
COST_FACTOR = 4.0
# Sets in the order in which they separate methods best.
COST_SETS = ("Urban100", "BSD100", "Set14", "Set5", "Manga109")


def cost_panel(params: Params, results: Results, scale: int) -> tuple[str, list[Point]] | None:
    """Return the title and the points of one scale, for the test set that separates the methods best.

    None if no network of Table 4 was evaluated and counted at this scale.
    """
    measured = [
        each for each in measured_runs(params, results, scale) if each.run.cost and each.run.cost.multi_adds
    ]
    column_of = paper_sets(params)
    ordered = sorted(
        params.names("test"),
        key=lambda name: COST_SETS.index(column_of[name]) if name in column_of else len(COST_SETS),
    )
    for name in ordered:
        points = [
            Point(
                label=each.run.label,
                multi_adds_g=each.run.cost.multi_adds / 1e9,
                psnr=each.run.scores[name].psnr,
                parameters_k=each.run.cost.parameters / 1e3,
                measured=True,
                ours=each.method == OURS,
            )
            for each in measured
            if each.run.cost is not None and name in each.run.scores and each.run.scores[name].complete
        ]
        if points:
            published = _published_points(column_of[name], scale) if name in column_of else []
            return f"{set_label(params, name)} ×{scale}", [*published, *points]
    return None


def _published_points(column: str, scale: int) -> list[Point]:
    cells = corrected_table4()
    cells = cells[(cells["scale"] == scale) & (cells["set"] == column)]
    gain = cells["psnr"] - float(cells.loc[cells["method"] == "Bicubic", "psnr"].iloc[0])
    cells = cells[gain >= NEAR_BEST * gain.max()].dropna(subset="multi_adds_g")
    ours = float(cells.loc[cells["method"] == OURS, "multi_adds_g"].iloc[0])
    cells = cells[cells["multi_adds_g"] <= COST_FACTOR * ours]
    return [
        Point(
            label=row["method"],
            multi_adds_g=row["multi_adds_g"],
            psnr=row["psnr"],
            parameters_k=row["parameters_k"],
            measured=False,
            ours=row["method"] == OURS,
        )
        for row in records(cells)
    ]
