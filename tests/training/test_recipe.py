"""The learning rate of the released options: one cosine period, no warm-up."""

from pathlib import Path

import pytest

from alkdnet.config.loading import load_pipeline
from alkdnet.training.recipe import learning_rate


@pytest.mark.parametrize(
    ("iteration", "expected"),
    [
        (0, 1e-3),
        (250_000, 8.535680352542453e-4),  # by hand: 1e-7 + 0.5 * (1e-3 - 1e-7) * (1 + sqrt(1/2))
        (500_000, 5.0005e-4),  # the mean of both ends
        (1_000_000, 1e-7),
    ],
)
def test_the_papers_schedule(repository: Path, iteration: int, expected: float) -> None:
    rate = learning_rate(load_pipeline("paper", repository).recipe, iteration)
    assert rate == pytest.approx(expected, rel=1e-12)
