"""Comparisons of rows with a baseline, as a table of verdicts, and the effect of seeds."""

from collections.abc import Sequence

from alkdnet.analysis.statistics import Comparison, compare_pairs, seed_margin
from alkdnet.paper.published import OURS, SCALES
from alkdnet.reporting.study import Study, StudyRow
from alkdnet.reporting.table import Table, number, signed, text_row

VERDICTS_LEGEND = (
    "Difference: the mean over the images of the set of PSNR minus that of the other row, in dB, with its "
    "95 % bootstrap interval; p: Wilcoxon's signed-rank test, corrected by Holm's method for all comparisons "
    "of the table. `gain` and `loss`: the interval excludes zero and p is below 0.05; fewer than six images "
    "are too few"
)
SEED_LEGEND = (
    "Seed margin: how far two trainings may lie apart by their seeds alone (dB, 95 %), where several seeds "
    "were trained; a difference within it may be one of the weights only"
)


def compare(study: Study, pairs: Sequence[tuple[StudyRow, StudyRow]]) -> list[Comparison]:
    """Compare the pairs (variant, baseline) of which both were evaluated, as one family."""
    images = study.images({row.name: row for pair in pairs for row in pair}.values())
    known = set(images["run"])
    names = [(variant.name, baseline.name) for variant, baseline in pairs]
    names = [pair for pair in names if known.issuperset(pair)]
    return compare_pairs(images, names) if names else []


def against_ours(study: Study) -> dict[int, list[Comparison]]:
    """Return by scale the comparisons of the other methods of Table 4 with ALKDNet, a family each."""
    found = {}
    for scale in SCALES:
        measured = study.methods(scale)
        ours = [row for method, row in measured if method == OURS]
        pairs = [(row, ours[0]) for method, row in measured if ours and method != OURS]
        if comparisons := compare(study, pairs):
            found[scale] = comparisons
    return found


def verdicts_table(study: Study, comparisons: Sequence[Comparison], *, caption: str) -> Table:
    """Return the PSNR comparisons, a line each: difference, interval, p and verdict."""
    shown = [each for each in comparisons if each.metric == "psnr"]
    lines = [_verdict(study, each) for each in shown]
    header: tuple[str, ...] = (
        "Row",
        "Against",
        "Set",
        "Images",
        "Difference, dB",
        "95 % interval",
        "p (Holm)",
        "Verdict",
    )
    margins = [seed_margins(study, [each.variant, each.baseline]).get(each.set) for each in shown]
    if any(margin is not None for margin in margins):
        header = (*header, "Seed margin")
        lines = [
            (*line, _margin(each, margin)) for line, each, margin in zip(lines, shown, margins, strict=True)
        ]
    return Table(
        caption=caption,
        header=header,
        rows=[text_row(*line) for line in lines],
        alignment="lllrrrrll"[: len(header)],
    )


def seed_group(study: Study, name: str) -> list[str]:
    """Return the rows that are one training with several seeds, the named one first; empty if it has one."""
    group = study.of([name, *study.params.report.seeds.get(name, ())])
    return [row.name for row in group] if len(group) > 1 else []


def seed_margins(study: Study, names: Sequence[str]) -> dict[str, float]:
    """Return by set how far two trainings may lie apart in mean PSNR (dB) by their seeds alone.

    Estimated from those of the named rows that were trained with several seeds; empty if none was.
    """
    groups = [group for name in names if (group := seed_group(study, name))]
    rows = study.of(dict.fromkeys(name for group in groups for name in group))
    return seed_margin(study.images(rows), groups)


def _verdict(study: Study, each: Comparison) -> tuple[str, ...]:
    decided = each.low is not None and each.high is not None
    p_value = "< 0.001" if each.adjusted_p < 0.001 else number(each.adjusted_p, 3)
    return (
        study.rows[each.variant].label,
        study.rows[each.baseline].label,
        study.set_label(each.set),
        str(each.images),
        signed(each.difference, 3),
        interval(each) if decided else "–",
        p_value if decided else "–",
        each.verdict,
    )


def interval(each: Comparison) -> str:
    """Return the 95 % interval of a comparison that has one."""
    return f"[{_bound(each.low)}, {_bound(each.high)}]"


def _bound(value: float | None) -> str:
    """Return the end of an interval: 3 decimals, and more where they would show 0: zero decides."""
    return number(value, next((n for n in (3, 4, 5, 6) if value is None or round(value, n)), 3))


def _margin(each: Comparison, margin: float | None) -> str:
    if margin is None:
        return "–"
    return f"{number(margin, 3)}, {'exceeded' if abs(each.difference) > margin else 'not exceeded'}"
