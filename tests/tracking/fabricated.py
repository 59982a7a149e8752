"""The numbers of the fabricated outputs (conftest.py)."""

ITERATIONS = 300
HISTORY = [(100, 0.5, 1e-3, None), (200, 0.25, 5e-4, None), (300, 0.125, 1e-6, 30.5)]
"""Rows of history.csv: iteration, loss, learning rate, validation PSNR."""
TEST_SET = "embedded_test"
