"""The whole report in one call: pages, tables, figures, and the files that DVC shows."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from alkdnet.analysis.statistics import Comparison
from alkdnet.analysis.statistics import frame as comparisons_frame
from alkdnet.config.params import Params
from alkdnet.config.paths import Paths
from alkdnet.files import atomic_directory
from alkdnet.paper.published import SCALES
from alkdnet.reporting.ablation_tables import (
    AblationResult,
    ablation_frame,
    ablation_verdicts,
    ablations,
    camera_ready_table,
)
from alkdnet.reporting.comparisons import against_ours, verdicts_table
from alkdnet.reporting.dvc_files import write_curves
from alkdnet.reporting.figures.plans import figure_plans
from alkdnet.reporting.figures.style import write_figure
from alkdnet.reporting.pages import pages
from alkdnet.reporting.row_tables import rows_frame
from alkdnet.reporting.seeds import seeds_frame
from alkdnet.reporting.study import Study
from alkdnet.reporting.table import Table
from alkdnet.reporting.table4 import table4_frame, table4_table


def write_report(*, params: Params, paths: Paths) -> None:
    """Replace `paths.report`, and write `paths.curves`, from the outputs of the stages.

    The front page lists missing results.

    Raises:
        UserError: a file is damaged.
    """
    study = Study.read(params, paths)
    write_curves(paths.curves, study)
    plans, missing = figure_plans(study)
    found, against = ablations(study), against_ours(study)
    with atomic_directory(paths.report) as folder:
        for name in ("tables", "figures"):
            (folder / name).mkdir()
        _write_tables(folder / "tables", study, found, against)
        for plan in plans:
            write_figure(folder / "figures", plan)
        for name, page in pages(study, found, against, plans, missing).items():
            (folder / name).write_text(page, encoding="utf-8")


def _write_tables(
    folder: Path,
    study: Study,
    found: Sequence[AblationResult],
    against: Mapping[int, Sequence[Comparison]],
) -> None:
    frames = {
        "runs": rows_frame(study),
        "table4": table4_frame(study),
        "seeds": seeds_frame(study),
        "against_alkdnet": comparisons_frame([c for family in against.values() for c in family]),
    }
    tables: dict[str, Table] = {f"table4_x{scale}": table4_table(study, scale) for scale in SCALES}
    for scale, family in against.items():
        caption = f"Differences in PSNR to ALKDNet at ×{scale}"
        tables[f"against_alkdnet_x{scale}"] = verdicts_table(study, family, caption=caption)
    for each in found:
        frames[f"table{each.number}"] = ablation_frame(study, each)
        frames[f"table{each.number}_comparisons"] = comparisons_frame(each.comparisons)
        tables[f"table{each.number}"] = camera_ready_table(study, each)
        tables[f"table{each.number}_comparisons"] = ablation_verdicts(study, each)
    for name, frame in frames.items():
        _write_csv(folder / f"{name}.csv", frame)
    for name, table in tables.items():
        if table.rows:
            text = table.latex(name.replace("_", "-"))
            (folder / f"{name}.tex").write_text(text, encoding="utf-8")


def _write_csv(path: Path, frame: pd.DataFrame) -> None:
    # Six digits are finer than anything printed, and coarser than what differs from machine to machine.
    frame.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")
