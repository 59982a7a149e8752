"""Which figures a report has, with their captions, from the results that are there."""

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure

from alkdnet.config.params import Params
from alkdnet.config.paths import Paths
from alkdnet.paper.published import OURS, SCALES, set_label
from alkdnet.reporting.comparison_table import measured_runs
from alkdnet.reporting.cost_points import COST_FACTOR, NEAR_BEST, cost_panel
from alkdnet.reporting.feature_files import FeatureFiles, read_features
from alkdnet.reporting.figures.cost import cost_figure
from alkdnet.reporting.figures.crops import crops_figure
from alkdnet.reporting.figures.curves import curves_figure, drawable
from alkdnet.reporting.figures.gains import gains_figure, gains_frame
from alkdnet.reporting.figures.maps import MAP_TITLES, fields_figure, maps_figure
from alkdnet.results.tree import Results, RunResults

BASELINE = "Bicubic"


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
    panels = [panel for scale in SCALES if (panel := cost_panel(params, results, scale)) is not None]
    if not panels:
        return "Accuracy against cost: no method of Table 4 was both evaluated and counted."
    size = f"{params.complexity.width}×{params.complexity.height}"
    return Picture(
        file="cost.png",
        title="Accuracy against cost",
        caption=(
            f"PSNR against Multi-Adds for an output of {size} pixels; the area of a point stands for the "
            "parameters. Hollow: as published (published costs follow several conventions, see the "
            f"[audit](audit.md)); filled: measured here. Published methods with less than {NEAR_BEST:.0%} "
            f"of the best one's gain over bicubic or {COST_FACTOR:.0f} times as costly as ALKDNet are left "
            "out, and HSNet's misprinted 33.22 is drawn at 32.22."
        ),
        draw=lambda: cost_figure(panels, output=size),
    )


def _gains(params: Params, results: Results, scale: int) -> Picture | str:
    measured = measured_runs(params, results, scale)
    baseline = [each.run for each in measured if each.method == BASELINE]
    others: list[RunResults] = [each.run for each in measured if each.method != BASELINE]
    if not baseline or not others:
        return ""
    frame = gains_frame(others, baseline[0])
    if frame.empty:
        return f"Gain over bicubic by image at ×{scale}: no network is measured on an image that bicubic is."
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
        return "Training curves (Figure 6): of fewer than two of `report.curves` the history is at hand."
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
            f"gradients, mean of {features.fields_images} images, logarithmic. The squares hold 50 %, "
            "90 % (dashed) and 99 % (dotted) of what lies within the window of `features.field_size` LR "
            "pixels; a field whose squares fill the window reaches beyond it."
        ),
        draw=lambda: fields_figure(features.fields),
    )
