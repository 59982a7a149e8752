"""The page of a sweep: a table over the swept keys, the best experiment with its interval, and a figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from alkdnet import markdown
from alkdnet.analysis.statistics import Comparison, compare_pairs
from alkdnet.errors import UserError
from alkdnet.files import atomic_directory
from alkdnet.reporting.cells import PSNR_DIGITS, SSIM_DIGITS, ranks
from alkdnet.reporting.comparisons import interval
from alkdnet.reporting.figures.style import write_figure
from alkdnet.reporting.table import Cell, Part, Table, number, signed, text_row
from alkdnet.sweeps.experiments import BASELINE, Experiment, Sweep
from alkdnet.sweeps.figure import sweep_plan

TABLE = "sweep.csv"
PAGE = "README.md"
_DIGITS = PSNR_DIGITS + 1


def write_report(
    folder: Path, sweep: Sweep, images: Mapping[str, pd.DataFrame], *, row: str, test_set: str
) -> str:
    """Write README.md, sweep.csv and the figure sweep.png (and .svg); return the sentence about the best.

    Args:
        folder: to write to.
        sweep: the sweep.
        images: `Scores.images` of the row where it was evaluated, by experiment or `BASELINE`.
        row: the evaluated row.
        test_set: the set that decides.

    Raises:
        UserError: no experiment was evaluated on the set, or all have the scores of the baseline.
    """
    scores = _of_set(images, test_set)
    shown = [each for each in (sweep.baseline, *sweep.experiments) if each.name in set(scores["run"])]
    measured = [each.name for each in shown if each is not sweep.baseline]
    _require_scores(sweep, scores, measured, row=row, test_set=test_set)
    means = scores.groupby("run")[["psnr", "ssim"]].mean()
    order = means.loc[measured, "psnr"].sort_values(ascending=False, kind="stable")
    pairs = [(name, BASELINE) for name in measured if BASELINE in means.index]
    comparisons = [
        each
        for each in compare_pairs(scores, [*pairs, *([tuple(order.index[:2])] if len(order) > 1 else [])])
        if each.metric == "psnr"
    ]
    against = {each.variant: each for each in comparisons if each.baseline == BASELINE}
    best = next(each for each in shown if each.name == order.index[0])
    sentence = _sentence(
        sweep, best, float(order.iloc[0]), [c for c in comparisons if c.variant == best.name]
    )
    missing = [f"{each.name} ({each.state})" for each in sweep.experiments if each.name not in measured]
    with atomic_directory(folder) as temporary:
        _frame(sweep, shown, means, against).to_csv(temporary / TABLE, index=False, lineterminator="\n")
        plan = sweep_plan(
            sweep,
            shown,
            {str(name): float(value) for name, value in means["psnr"].items()},
            against,
            best=best.name,
        )
        write_figure(temporary, plan)
        page = markdown.render(
            "alkdnet.sweeps",
            "sweep.md.j2",
            sweep=sweep,
            row=row,
            test_set=test_set,
            images=scores["image"].nunique(),
            common=[
                f"{key} {_value(best, key)} (baseline: {_value(sweep.baseline, key)})" for key in sweep.common
            ],
            sentence=sentence,
            table=_table(sweep, shown, means, against),
            missing=missing,
            plan=plan,
        )
        (temporary / PAGE).write_text(page, encoding="utf-8")
    return sentence


def _require_scores(
    sweep: Sweep, scores: pd.DataFrame, measured: Sequence[str], *, row: str, test_set: str
) -> None:
    """Raise UserError if no experiment was evaluated, or all have the same scores."""
    if not measured:
        states = ", ".join(f"{each.name} ({each.state})" for each in sweep.experiments)
        raise UserError(f"no experiment has scores of {row} on {test_set}: {states}")
    if scores["run"].nunique() > 1 and scores.groupby("image")["psnr"].nunique().max() == 1:
        raise UserError(
            f"{row} has the same scores everywhere: the experiments evaluate another row, or none"
        )


def _of_set(images: Mapping[str, pd.DataFrame], test_set: str) -> pd.DataFrame:
    frames = [each[each["set"] == test_set].assign(run=name) for name, each in images.items()]
    return pd.concat(frames) if frames else pd.DataFrame(columns=["run", "set", "image", "psnr", "ssim"])


def _sentence(sweep: Sweep, best: Experiment, psnr: float, comparisons: Sequence[Comparison]) -> str:
    values = ", ".join(f"{key} {_value(best, key)}" for key in sweep.keys)
    parts = [f"{number(psnr, _DIGITS)} dB", *map(_difference, comparisons)]
    return f"Best of the sweep: {best.name} ({values}) with {'; '.join(parts)}."


def _difference(each: Comparison) -> str:
    other = "the baseline" if each.baseline == BASELINE else f"the second best, {each.baseline}"
    size = f"{signed(each.difference, _DIGITS)} dB"
    return f"{size}{f' {interval(each)}' if each.low is not None else ''} against {other} ({each.verdict})"


def _frame(
    sweep: Sweep, shown: Sequence[Experiment], means: pd.DataFrame, against: Mapping[str, Comparison]
) -> pd.DataFrame:
    rows = []
    for each in shown:
        found = against.get(each.name)
        rows.append(
            {
                "experiment": each.name,
                **{key: each.values.get(key) for key in sweep.keys},
                "psnr": means.loc[each.name, "psnr"],
                "ssim": means.loc[each.name, "ssim"],
                "difference": found and found.difference,
                "low": found and found.low,
                "high": found and found.high,
                "adjusted_p": found and found.adjusted_p,
                "verdict": found and found.verdict,
            }
        )
    return pd.DataFrame(rows)


def _table(
    sweep: Sweep, shown: Sequence[Experiment], means: pd.DataFrame, against: Mapping[str, Comparison]
) -> Table:
    columns = [
        [
            Cell(parts=(Part(text=number(value, digits), rank=rank),))
            for value, rank in zip(values, ranks(values), strict=True)
        ]
        for metric, digits in (("psnr", _DIGITS), ("ssim", SSIM_DIGITS))
        if (values := [round(value, digits) for value in means.loc[[each.name for each in shown], metric]])
    ]
    rows = [
        (
            *text_row(each.name, *(_value(each, key) for key in sweep.keys)),
            psnr,
            ssim,
            *text_row(*_verdict(against.get(each.name))),
        )
        for each, psnr, ssim in zip(shown, *columns, strict=True)
    ]
    return Table(
        caption=f"Sweep {sweep.name}",
        header=(
            *("Experiment", *sweep.keys, "PSNR, dB", "SSIM"),
            *("Minus baseline, dB", "95 % interval", "p (Holm)", "Verdict"),
        ),
        rows=rows,
        alignment=f"l{'r' * (len(sweep.keys) + 5)}l",
    )


def _verdict(found: Comparison | None) -> tuple[str, str, str, str]:
    if found is None:
        return "–", "–", "–", "–"
    if found.low is None:
        return signed(found.difference, _DIGITS), "–", "–", found.verdict
    return signed(found.difference, _DIGITS), interval(found), number(found.adjusted_p, 3), found.verdict


def _value(experiment: Experiment, key: str) -> str:
    return str(experiment.values.get(key, "–"))
