"""The whole report in one call: pages, tables, figures, and the files that DVC shows."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from alkdnet.analysis.statistics import frame as comparison_frame
from alkdnet.config.params import Params
from alkdnet.config.paths import Paths
from alkdnet.files import atomic_directory
from alkdnet.paper.audit import audit, audit_page
from alkdnet.paper.published import SCALES
from alkdnet.reporting.ablations import AblationResult, ablation
from alkdnet.reporting.comparison_table import AgainstOurs, against_ours, comparison_rows, comparison_table
from alkdnet.reporting.figures.style import write_figure
from alkdnet.reporting.front_page import front_page
from alkdnet.reporting.metrics import write_curves, write_metrics
from alkdnet.reporting.pages import ablations_page, comparison_page, figures_page, runs_page
from alkdnet.reporting.pictures import pictures
from alkdnet.reporting.scores import runs_frame
from alkdnet.reporting.seeds import seeds_frame
from alkdnet.reporting.table import to_latex
from alkdnet.results.tree import Results, read_results


def write_report(*, params: Params, paths: Paths) -> None:
    """Write `paths.report` anew, and `paths.metrics` and `paths.curves`, from what the stages have left.

    Results that are not there yet make gaps that the front page names.

    Raises:
        UserError: a file is there and is not what its stage writes.
    """
    results = read_results(params, paths)
    write_metrics(paths.metrics, results)
    write_curves(paths.curves, results)
    ablations = [found for table in (1, 2, 3) if (found := ablation(params, results, table)) is not None]
    drawn, undrawn = pictures(params, paths, results)
    findings = audit(params, results)
    against = against_ours(params, results)
    with atomic_directory(paths.report) as folder:
        for name in ("tables", "figures"):
            (folder / name).mkdir()
        _write_tables(folder / "tables", params, results, ablations, against)
        for finding in findings:
            _write_csv(folder / "tables" / f"audit_{finding.name}.csv", finding.frame)
        for picture in drawn:
            write_figure(folder / "figures" / picture.file, picture.draw)
        missing = [*results.missing, *undrawn]
        for name, page in (
            ("README.md", front_page(params, results, ablations, drawn, missing)),
            ("ablations.md", ablations_page(params, results, ablations)),
            ("comparison.md", comparison_page(params, results, against)),
            ("runs.md", runs_page(params, results)),
            ("figures.md", figures_page(drawn, undrawn)),
            ("audit.md", audit_page(findings)),
        ):
            (folder / name).write_text(page, encoding="utf-8")


def _write_tables(
    folder: Path,
    params: Params,
    results: Results,
    ablations: Sequence[AblationResult],
    against: Sequence[AgainstOurs],
) -> None:
    _write_csv(folder / "runs.csv", runs_frame(params, results))
    _write_csv(folder / "table4.csv", comparison_rows(params, results))
    _write_csv(folder / "seeds.csv", seeds_frame(params, results))
    for each in ablations:
        _write_csv(folder / f"table{each.number}.csv", each.frame)
        _write_csv(folder / f"table{each.number}_comparisons.csv", each.comparison_frame())
        (folder / f"table{each.number}.tex").write_text(to_latex(each.table), encoding="utf-8")
    for scale in SCALES:
        latex = to_latex(comparison_table(params, results, scale))
        (folder / f"table4_x{scale}.tex").write_text(latex, encoding="utf-8")
    comparisons = [comparison for each in against for comparison in each.comparisons]
    _write_csv(folder / "against_alkdnet.csv", comparison_frame(comparisons))


def _write_csv(path: Path, frame: pd.DataFrame) -> None:
    # Six digits are finer than anything printed, and coarser than what differs from machine to machine.
    frame.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")
