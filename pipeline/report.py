"""Render the tables, figures and pages."""

from stage import Stage, run

from alkdnet.reporting.report import write_report


def report(stage: Stage) -> None:
    """Fill reports/<pipeline> and results/curves.csv."""
    write_report(params=stage.params, paths=stage.paths)


if __name__ == "__main__":
    run(report)
