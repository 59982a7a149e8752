"""PSNR over the swept keys, a panel for each."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from alkdnet.analysis.statistics import Comparison
from alkdnet.reporting.figures.style import ACCENT, COLOURS, INK, MUTED, FigurePlan, new_figure
from alkdnet.sweeps.experiments import BASELINE, Experiment, Sweep


def sweep_plan(
    sweep: Sweep,
    shown: Sequence[Experiment],
    psnr: Mapping[str, float],
    against: Mapping[str, Comparison],
    *,
    best: str,
) -> FigurePlan:
    """Return the figure of a sweep.

    Args:
        sweep: its keys are the panels.
        shown: experiments with scores, among them the baseline if it has some.
        psnr: mean PSNR in dB, by experiment.
        against: their comparisons with the baseline.
        best: the experiment that is marked.
    """
    return FigurePlan(
        name="sweep",
        title=f"Sweep {sweep.name}",
        caption="Each dot is an experiment, orange the best, black the baseline (dashed); lines join those "
        "that differ in the key of the panel alone. Bars: the 95 % interval of the difference from the "
        "baseline.",
        draw=lambda: _draw(sweep, shown, psnr, against, best),
    )


def _draw(
    sweep: Sweep,
    shown: Sequence[Experiment],
    psnr: Mapping[str, float],
    against: Mapping[str, Comparison],
    best: str,
) -> Figure:
    keys = sweep.keys
    figure = new_figure(0.8 + 3.2 * len(keys), 3.4)
    panels = figure.subplots(1, len(keys), sharey=True, squeeze=False)[0]
    for axes, key in zip(panels, keys, strict=True):
        ticks = _ticks([each.values.get(key) for each in shown])
        lines: dict[tuple[str, ...], list[tuple[int, float]]] = {}
        for each in shown:
            x, y = ticks.index(_text(each.values.get(key))), psnr[each.name]
            others = tuple(_text(each.values.get(other)) for other in (*keys, *sweep.common) if other != key)
            lines.setdefault(others, []).append((x, y))
            colour = {BASELINE: INK, best: ACCENT}.get(each.name, COLOURS[1])
            axes.plot(x, y, "o", color=colour, markersize=8 if each.name == best else 5, zorder=3)
            found = against.get(each.name)
            if found is not None and found.low is not None and found.high is not None:
                axes.vlines(
                    x,
                    y - found.difference + found.low,
                    y - found.difference + found.high,
                    color=colour,
                    zorder=2,
                )
        for points in lines.values():
            axes.plot(*zip(*sorted(points), strict=True), color=MUTED, linewidth=0.8, zorder=1)
        if BASELINE in psnr:
            axes.axhline(psnr[BASELINE], color=MUTED, linewidth=0.8, linestyle="--", zorder=1)
        axes.set_xticks(range(len(ticks)), ticks)
        axes.margins(x=0.15)
        axes.set_xlabel(key)
    panels[0].set_ylabel("PSNR, dB")
    return figure


def _ticks(values: Sequence[object]) -> list[str]:
    """Return the distinct values as text: missing ones first, numbers by size, then others by name."""

    def order(value: object) -> tuple[int, float, str]:
        if isinstance(value, int | float):
            return 1, float(value), ""
        return 0 if value is None else 2, 0.0, _text(value)

    return list(dict.fromkeys(_text(value) for value in sorted(values, key=order)))


def _text(value: object) -> str:
    return "–" if value is None else str(value)
