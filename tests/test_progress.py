"""What a log says of long work."""

import logging

import pytest

from alkdnet import progress
from alkdnet.progress import Progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of the clock, to be set by the test."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_line_a_minute_by_the_pace_of_that_minute(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), Progress(100_000, description="run", unit="steps") as shown:
        for second, units in ((59.0, 10), (60.0, 10), (119.0, 10), (120.0, 590), (130.0, 0)):
            clock[0] = second
            shown.advance(units, note="loss 0.5")
    assert caplog.messages == [
        "run: 20/100000 steps, 0.3333/s, 3 days, 11:19:00 left, loss 0.5",
        "run: 620/100000 steps, 10/s, 2:45:38 left, loss 0.5",
        "run: 620/100000 steps, 4.769/s, 5:47:18 left, loss 0.5",
    ]


def test_short_work_is_silent_and_long_work_tells_its_time(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        for seconds in (30.0, 70.0):
            with Progress(2, description="set", unit="images") as shown:
                clock[0] += seconds
                shown.advance()
                shown.advance()
    assert caplog.messages == [
        "set: 1/2 images, 0.01429/s, 0:01:10 left",
        "set: 2/2 images, 0.02857/s, 0:01:10 in all",
    ]
