"""The pages of a report: the values of their templates."""

from collections.abc import Mapping, Sequence

from alkdnet.analysis.statistics import Comparison
from alkdnet.config.loading import dvc_target
from alkdnet.markdown import render
from alkdnet.paper.published import SCALES
from alkdnet.reporting import cells, comparisons, row_tables, table4
from alkdnet.reporting.ablation_tables import (
    AblationResult,
    ablation_table,
    ablation_verdicts,
    statements_table,
    verdicts_overview,
)
from alkdnet.reporting.deviations import (
    Deviation,
    evaluation_deviations,
    outdated,
    recipes_in_words,
    training_data,
    training_deviations,
)
from alkdnet.reporting.field import field_table, has_others, machines
from alkdnet.reporting.figures.style import FigurePlan
from alkdnet.reporting.seeds import seeds_table
from alkdnet.reporting.study import Study
from alkdnet.reporting.table import Table, text_row

LEGENDS = {
    "ranks": cells.RANK_LEGEND,
    "partial": cells.PARTIAL_LEGEND,
    "published": cells.PUBLISHED_LEGEND,
    "verdicts": comparisons.VERDICTS_LEGEND,
    "seeds": comparisons.SEED_LEGEND,
}


def pages(
    study: Study,
    found: Sequence[AblationResult],
    against: Mapping[int, Sequence[Comparison]],
    figures: Sequence[FigurePlan],
    undrawn: Sequence[str],
) -> dict[str, str]:
    """Return all pages by file name."""
    beyond = {scale: family for scale, family in against.items() if has_others(study, scale)}
    seeds = seeds_table(study)
    values = {
        "study": study,
        "params": study.params,
        "legends": LEGENDS,
        "field": bool(beyond),
        "has_ablations": bool(found or seeds),
        "target": dvc_target(study.params.pipeline),
    }
    own: dict[str, dict[str, object]] = {
        "README.md": {
            "lead": figures[0] if figures else None,
            "missing": [*study.missing, *undrawn],
            **_front_page(study, found),
        },
        "comparison.md": {
            "tables": {scale: table4.table4_table(study, scale) for scale in SCALES},
            "against": {
                scale: comparisons.verdicts_table(study, family, caption="")
                for scale, family in against.items()
            },
        },
        "runs.md": {
            "tables": {scale: row_tables.rows_table(study, scale) for scale in study.scales},
            "costs": row_tables.costs_table(study),
        },
        "figures.md": {"figures": figures, "undrawn": undrawn},
    }
    if values["has_ablations"]:
        own["ablations.md"] = {
            "ablations": [
                (
                    each,
                    ablation_table(study, each),
                    ablation_verdicts(study, each),
                    statements_table(study, each),
                )
                for each in found
            ],
            "seeds": seeds,
        }
    if beyond:
        own["field.md"] = {
            "tables": {scale: field_table(study, scale, family) for scale, family in beyond.items()},
            "verdicts": {
                scale: comparisons.verdicts_table(study, family, caption="")
                for scale, family in beyond.items()
            },
            "machines": machines(study),
        }
    return {name: render("alkdnet.reporting", f"{name}.j2", **values, **page) for name, page in own.items()}


def _front_page(study: Study, found: Sequence[AblationResult]) -> dict[str, object]:
    training = training_deviations(study)
    recorded = [row.record.torch for row in study.trained if row.record]
    return {
        "main": table4.main_table(study),
        "reproduced": table4.reproduced_table(study),
        "verdicts": verdicts_overview(study, found),
        "deviations": _deviations_table([*training, *evaluation_deviations(study)]),
        "training_deviations": training,
        "outdated": _outdated_table(study),
        "waiting": [row for row in study.trained if row.status == "waiting"],
        "evaluated": [row for row in study.rows.values() if row.scores],
        "torch": sorted(set(recorded)),
        "training_data": training_data(study.params),
        "recipes": recipes_in_words(study),
        "sets": [(study.set_label(name), _images(study, name)) for name in study.sets],
    }


def _images(study: Study, name: str) -> int:
    return max((row.scores[name].images for row in study.rows.values() if name in row.scores), default=0)


def _deviations_table(deviations: Sequence[Deviation]) -> Table | None:
    rows = [text_row(each.what, each.paper, each.here) for each in deviations]
    header = ("What", "The paper", "Here")
    return Table(caption="Deviations", header=header, rows=rows, alignment="lll") if rows else None


def _outdated_table(study: Study) -> Table | None:
    rows = [text_row(each.run, each.what, each.trained, each.now) for each in outdated(study)]
    header = ("Row", "Setting", "Trained with", "Parameter file")
    return Table(caption="Out of date", header=header, rows=rows, alignment="llll") if rows else None
