"""Which figures a report has, from the results that are there."""

from alkdnet.paper.published import SCALES
from alkdnet.reporting.figures.cost import cost_plan
from alkdnet.reporting.figures.crops import crops_plans
from alkdnet.reporting.figures.curves import curves_plan
from alkdnet.reporting.figures.gains import gains_plan
from alkdnet.reporting.figures.maps import fields_plan, maps_plan
from alkdnet.reporting.figures.style import FigurePlan
from alkdnet.reporting.study import Study


def figure_plans(study: Study) -> tuple[list[FigurePlan], list[str]]:
    """Return the figures that can be drawn, the most telling first, and statements on those that cannot.

    Raises:
        UserError: a file of the features stage is damaged.
    """
    settings, curves = study.params.features, study.params.report.curves
    crops = crops_plans(study)
    plans = {
        "Accuracy against cost": (cost_plan(study), study.params.report.table4),
        **{f"Gain over BSRN by image at ×{scale}": (gains_plan(study, scale), ()) for scale in SCALES},
        "Validation during the training (Figure 6)": (curves_plan(study), curves),
        "Feature maps (Figure 5)": (maps_plan(study), settings.maps_run),
        "Effective receptive fields": (fields_plan(study), settings.field_runs),
    }
    missing = [f"{name}: no results to draw." for name, (plan, asked) in plans.items() if asked and not plan]
    if settings.crops and not crops:
        missing.insert(0, "Crops of test images (Figures 7 and 8): no results to draw.")
    for row in study.rows.values():
        missing += row.features.missing if row.features else ()
    return [*crops, *(plan for plan, _ in plans.values() if plan)], list(dict.fromkeys(missing))
