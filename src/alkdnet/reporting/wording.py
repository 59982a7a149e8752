"""What comparisons support, in a sentence."""

from collections.abc import Mapping, Sequence
from typing import get_args

from alkdnet.analysis.statistics import Comparison, Metric, Verdict

# As many as the published tables have.
DIGITS: Mapping[Metric, int] = {"psnr": 2, "ssim": 4}
UNITS: Mapping[Metric, str] = {"psnr": " dB", "ssim": ""}


def sentence(
    comparisons: Sequence[Comparison],
    *,
    label: str,
    baseline: str = "the baseline",
    seed_margin: Mapping[str, float] | None = None,
) -> str:
    """Say what the comparisons of one variant, in one metric, support.

    For example: "k = 9 gains 0.07 dB on Urban100 [0.05, 0.09]; on Set5 (5 images) nothing can be said."

    Args:
        comparisons: of one variant and one metric, one for each set.
        label: the variant's name.
        baseline: what it is compared with, in words.
        seed_margin: by set, how far two trainings may lie apart by their seeds alone
            (`statistics.seed_margin`); a gain or loss that is no larger is said to be so.

    Raises:
        ValueError: the comparisons are of several variants or metrics.
    """
    if len({(comparison.variant, comparison.metric) for comparison in comparisons}) > 1:
        raise ValueError("a sentence speaks about one variant and one metric")
    by_verdict = {verdict: [c for c in comparisons if c.verdict == verdict] for verdict in get_args(Verdict)}
    margins = seed_margin or {}
    changes = [
        f"{verb} {_list([_amount(c, margins.get(c.set)) for c in by_verdict[verdict]])}"
        for verdict, verb in (("gain", "gains"), ("loss", "loses"))
        if by_verdict[verdict]
    ]
    clauses = [" and ".join(changes)] if changes else []
    if undecided := [_undecided(c) for c in by_verdict["not distinguishable"]]:
        clauses.append(f"on {_list(undecided)} it cannot be told from {baseline}")
    if few := [_size(c) for c in by_verdict["too few images"]]:
        clauses.append(f"on {_list(few)} nothing can be said")
    if not clauses:
        return f"{label}: no set to compare on."
    return f"{label}{' ' if changes else ': '}{'; '.join(clauses)}."


def nothing_to_say(comparisons: Sequence[Comparison]) -> str | None:
    """Return one sentence for several variants of which nothing can be said for want of images; else None."""
    variants = dict.fromkeys(comparison.variant for comparison in comparisons)
    if len(variants) < 2 or any(comparison.verdict != "too few images" for comparison in comparisons):
        return None
    sets = list(dict.fromkeys(_size(comparison) for comparison in comparisons))
    verb = "has" if len(sets) == 1 else "have"
    return (
        f"Nothing can be said of any of the {len(variants)} variants: {_list(sets)} {verb} too few images "
        "to tell a difference from chance."
    )


def _amount(comparison: Comparison, seed_margin: float | None) -> str:
    digits, unit = _digits(comparison), UNITS[comparison.metric]
    text = f"{abs(comparison.difference):.{digits}f}{unit} on {comparison.set} {_interval(comparison)}"
    if seed_margin is not None and abs(comparison.difference) <= seed_margin:
        text += f" (two seeds may differ by as much: up to {seed_margin:.{digits}f}{unit})"
    return text


def _undecided(comparison: Comparison) -> str:
    digits, unit = _digits(comparison), UNITS[comparison.metric]
    return f"{comparison.set} ({_number(comparison.difference, digits, '+')}{unit} {_interval(comparison)})"


def _size(comparison: Comparison) -> str:
    return f"{comparison.set} ({comparison.images} {'image' if comparison.images == 1 else 'images'})"


def _interval(comparison: Comparison) -> str:
    """Return the interval of the amount: for a loss, of how much is lost."""
    if comparison.low is None or comparison.high is None:
        return ""
    digits = _digits(comparison)
    low, high = comparison.low, comparison.high
    if comparison.verdict == "loss":
        low, high = -high, -low
    return f"[{_number(low, digits)}, {_number(high, digits)}]"


def _number(value: float, digits: int, sign: str = "") -> str:
    """Return a number with the sign that the tables have: a true minus, and none for what rounds to 0."""
    return f"{round(value, digits) + 0.0:{sign}.{digits}f}".replace("-", "−")


def _digits(comparison: Comparison) -> int:
    """Return the digits of the published tables, and one more for a difference that they would show as 0."""
    digits = DIGITS[comparison.metric]
    return digits if abs(comparison.difference) >= 10**-digits else digits + 1


def _list(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
