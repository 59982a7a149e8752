"""Which figures a report has, with their captions, from the results that are there."""

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure

from alkdnet.config import Params
from alkdnet.paths import Paths
from alkdnet.reporting.audit_scores import corrected_table4
from alkdnet.reporting.comparison_table import measured_runs
from alkdnet.reporting.feature_files import FeatureFiles, read_features
from alkdnet.reporting.figures.cost import Point, cost_figure
from alkdnet.reporting.figures.crops import crops_figure
from alkdnet.reporting.figures.curves import curves_figure, drawable
from alkdnet.reporting.figures.gains import gains_figure, gains_frame
from alkdnet.reporting.figures.maps import MAP_TITLES, fields_figure, maps_figure
from alkdnet.reporting.published import OURS, SCALES, paper_sets, set_label
from alkdnet.reporting.results import Results, RunResults
from alkdnet.reporting.table import records

BASELINE = "Bicubic"
# Of the published methods, those this near to the best are drawn: the old ones would press the others
# together.
NEAR_BEST_DB = 1.0
# Sets in the order in which they separate methods best.
COST_SETS = ("Urban100", "BSD100", "Set14", "Set5", "Manga109")


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure of the report: `file` is its name in the folder `figures`, `draw` makes it."""

    file: str
    title: str
    caption: str
    draw: Callable[[], Figure]


def pictures(params: Params, paths: Paths, results: Results) -> tuple[list[Picture], list[str]]:
    """Return the figures that can be drawn, the most telling first, and in sentences those that cannot.

    Raises:
        UserError: the files of the features stage are damaged.
    """
    features = read_features(
        paths.features,
        labels={run.name: run.label for run in results.runs.values()},
        shown={run.name: run.label for names in params.report.table4.values() for run in results.of(names)},
        set_labels={name: set_label(params, name) for name in params.names("test")},
    )
    found: list[Picture | str] = [
        _cost(params, results),
        *(_gains(params, results, scale) for scale in SCALES),
        _curves(params, results),
    ]
    if features is None:
        found.append("Details, feature maps and receptive fields: the stage `features` has not run yet.")
    else:
        found = [_crops(features), *found, _maps(features), _fields(features), *features.missing]
    drawn = [each for each in found if isinstance(each, Picture)]
    return drawn, [each for each in found if isinstance(each, str) and each]


def _crops(features: FeatureFiles) -> Picture | str:
    if not features.crops:
        return "Details of images (Figures 7 and 8): no image of `features.crops` is there."
    return Picture(
        file="crops.png",
        title="Details of test images (Figures 7 and 8)",
        caption=(
            "Below each detail the PSNR and SSIM of its whole image; in colour where one method has the "
            "best of both. Positions and images are parameters (`features.crops`)."
        ),
        draw=lambda: crops_figure(features.crops),
    )


def _cost(params: Params, results: Results) -> Picture | str:
    panels = [panel for scale in SCALES if (panel := _cost_panel(params, results, scale)) is not None]
    if not panels:
        return "Accuracy against cost: no method of Table 4 was both evaluated and counted."
    size = f"{params.complexity.width}×{params.complexity.height}"
    return Picture(
        file="cost.png",
        title="Accuracy against cost",
        caption=(
            f"PSNR against Multi-Adds for an output of {size} pixels; the area of a point stands for the "
            "parameters. Hollow: as published (published costs follow several conventions, see the "
            f"[audit](audit.md)); filled: measured here. Published methods more than {NEAR_BEST_DB:.0f} dB "
            "below the best are left out, and HSNet's misprinted 33.22 is drawn at 32.22."
        ),
        draw=lambda: cost_figure(panels, output=size),
    )


def _cost_panel(params: Params, results: Results, scale: int) -> tuple[str, list[Point]] | None:
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
    cells = cells[(cells["scale"] == scale) & (cells["set"] == column)].dropna(subset="multi_adds_g")
    cells = cells[cells["psnr"] >= cells["psnr"].max() - NEAR_BEST_DB]
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


def _gains(params: Params, results: Results, scale: int) -> Picture | str:
    measured = measured_runs(params, results, scale)
    baseline = [each.run for each in measured if each.method == BASELINE]
    others: list[RunResults] = [each.run for each in measured if each.method != BASELINE]
    if not baseline or not others:
        return ""
    frame = gains_frame(others, baseline[0])
    if frame.empty:
        return f"Gain over bicubic by image at ×{scale}: not evaluated yet."
    main = next((each.run.name for each in measured if each.method == OURS), others[-1].name)
    return Picture(
        file=f"gains_x{scale}.png",
        title=f"Gain over bicubic by image, ×{scale}",
        caption=(
            "Each column of dots is an image, sorted by the gain of the network in front; after the name "
            "of the set the number of its images."
        ),
        draw=lambda: gains_figure(
            frame,
            labels={run.name: run.label for run in others},
            set_labels={name: set_label(params, name) for name in params.names("test")},
            main=main,
            scale=scale,
        ),
    )


def _curves(params: Params, results: Results) -> Picture | str:
    if not params.report.curves:
        return ""
    runs = drawable(results.of(params.report.curves))
    if len(runs) < 2:
        return "Training curves (Figure 6): fewer than two of `report.curves` were trained."
    return Picture(
        file="curves.png",
        title="Validation during the training (Figure 6)",
        caption=(
            f"Left: mean PSNR on {set_label(params, params.train.validation_set)}; the first steps run "
            f"out of the picture. Right: the same minus that of {runs[0].label} at the same iteration."
        ),
        draw=lambda: curves_figure(runs, validation_set=set_label(params, params.train.validation_set)),
    )


def _maps(features: FeatureFiles) -> Picture | str:
    if not set(features.maps) & set(MAP_TITLES):
        return "Feature maps (Figure 5): not there."
    return Picture(
        file="maps.png",
        title="Features around the two residual connections (Figure 5)",
        caption=(
            f"Means over the channels, of {features.maps_of}. FSRL adds the shallow features, ABRL the "
            "colours of the LR image. Each panel has its own range of values."
        ),
        draw=lambda: maps_figure(features.maps),
    )


def _fields(features: FeatureFiles) -> Picture | str:
    if not features.fields:
        return "Effective receptive fields: not there."
    return Picture(
        file="fields.png",
        title="Effective receptive fields",
        caption=(
            "How much each LR pixel matters to the centre of the output (Luo et al. 2016): absolute "
            f"gradients, mean of {features.fields_images} images, logarithmic. The dashed square holds "
            "the stated share of the whole."
        ),
        draw=lambda: fields_figure(features.fields),
    )
