"""What comparisons support, in a sentence."""

from collections.abc import Mapping, Sequence
from typing import get_args

from alkdnet.evaluation.statistics import Comparison, Metric, Verdict

# As many as the published tables have.
DIGITS: Mapping[Metric, int] = {"psnr": 2, "ssim": 4}
UNITS: Mapping[Metric, str] = {"psnr": " dB", "ssim": ""}


def sentence(
    comparisons: Sequence[Comparison], *, label: str, seed_range: Mapping[str, float] | None = None
) -> str:
    """Say what the comparisons of one variant, in one metric, support.

    For example: "k = 9 gains 0.07 dB on Urban100 [0.05, 0.09]; on Set5 (5 images) nothing can be said."

    Args:
        comparisons: of one variant and one metric, one for each set.
        label: the variant's name.
        seed_range: by set, the range of the mean over runs that differ in their seed only (`seed_spread`); a
            gain or loss that is no larger is said to be so.

    Raises:
        ValueError: the comparisons are of several variants or metrics.
    """
    if len({(comparison.variant, comparison.metric) for comparison in comparisons}) > 1:
        raise ValueError("a sentence speaks about one variant and one metric")
    by_verdict = {verdict: [c for c in comparisons if c.verdict == verdict] for verdict in get_args(Verdict)}
    ranges = seed_range or {}
    changes = [
        f"{verb} {_list([_amount(c, ranges.get(c.set)) for c in by_verdict[verdict]])}"
        for verdict, verb in (("gain", "gains"), ("loss", "loses"))
        if by_verdict[verdict]
    ]
    clauses = [" and ".join(changes)] if changes else []
    if undecided := [_undecided(c) for c in by_verdict["not distinguishable"]]:
        clauses.append(f"on {_list(undecided)} it cannot be told from the baseline")
    if few := [_size(c) for c in by_verdict["too few images"]]:
        clauses.append(f"on {_list(few)} nothing can be said")
    if not clauses:
        return f"{label}: no set to compare on."
    return f"{label}{' ' if changes else ': '}{'; '.join(clauses)}."


def _amount(comparison: Comparison, seed_range: float | None) -> str:
    digits, unit = _digits(comparison), UNITS[comparison.metric]
    text = f"{abs(comparison.difference):.{digits}f}{unit} on {comparison.set} {_interval(comparison)}"
    if seed_range is not None and abs(comparison.difference) <= seed_range:
        text += f" (no more than seeds differ: {seed_range:.{digits}f}{unit})"
    return text


def _undecided(comparison: Comparison) -> str:
    digits, unit = _digits(comparison), UNITS[comparison.metric]
    return f"{comparison.set} ({comparison.difference:+.{digits}f}{unit} {_interval(comparison)})"


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
    return f"[{low:.{digits}f}, {high:.{digits}f}]"


def _digits(comparison: Comparison) -> int:
    """Return the digits of the published tables, and one more for a difference that they would show as 0."""
    digits = DIGITS[comparison.metric]
    return digits if abs(comparison.difference) >= 10**-digits else digits + 1


def _list(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
