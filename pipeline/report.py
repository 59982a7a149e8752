"""Render the tables, figures and pages, and mirror the results into MLflow."""

from stage import Stage, run

from alkdnet.reporting.report import write_report
from alkdnet.tracking import sync_or_warn


def report(stage: Stage) -> None:
    """Fill reports/<pipeline> and results/{metrics.json,curves.csv}."""
    write_report(params=stage.params, paths=stage.paths)
    sync_or_warn(stage.params, stage.paths, stage.root)


if __name__ == "__main__":
    run(report)
