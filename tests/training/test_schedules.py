"""The learning rate: the cosine of the released options, steps at milestones, and a warm-up before either."""

import dataclasses
from pathlib import Path

import pytest

from alkdnet.config.loading import load_pipeline
from alkdnet.training.schedules import learning_rate
from tests.training.trainer import RECIPE

COSINE = dataclasses.replace(RECIPE, iterations=1000, learning_rate=1.0, final_learning_rate=0.0)
STEPS = dataclasses.replace(
    COSINE, schedule="multistep", final_learning_rate=None, milestones=(400, 800), gamma=0.5
)


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
    rate = learning_rate(load_pipeline("paper", repository).recipes["paper"], iteration)
    assert rate == pytest.approx(expected, rel=1e-12)


def test_steps_at_the_milestones() -> None:
    rates = [learning_rate(STEPS, iteration) for iteration in (0, 399, 400, 799, 800, 999)]
    assert rates == [1, 1, 0.5, 0.5, 0.25, 0.25]


def test_the_warm_up_rises_to_where_the_schedule_begins() -> None:
    for recipe in (COSINE, STEPS):
        warm = dataclasses.replace(recipe, warmup=10)
        assert [learning_rate(warm, iteration) for iteration in (0, 4, 9)] == [0.1, 0.5, 1.0]
    # The cosine has the iterations after it; milestones stay where they are.
    warm = dataclasses.replace(COSINE, warmup=10)
    assert learning_rate(warm, 10) == 1
    assert learning_rate(warm, 10 + 495) == pytest.approx(0.5)
    assert learning_rate(dataclasses.replace(STEPS, warmup=10), 400) == 0.5
