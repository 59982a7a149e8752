"""The results tree of made-up numbers that several packages' tests read."""

from tests.reporting_fixtures import params, report, small_figures, study, tree

__all__ = ["params", "report", "small_figures", "study", "tree"]
