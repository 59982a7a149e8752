"""The numbers of the fabricated outputs (conftest.py)."""

from alkdnet.results.history import HistoryRow

ITERATIONS = 300
HISTORY = [
    HistoryRow(100, 0.5, 1e-3, None),
    HistoryRow(200, 0.25, 5e-4, None),
    HistoryRow(300, 0.125, 1e-6, 30.5),
]
TEST_SET = "embedded_test"
