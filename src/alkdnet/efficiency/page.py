"""The page, the table and the figure of a measurement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from alkdnet.files import atomic_directory
from alkdnet.markdown import escape, render, table
from alkdnet.networks import network_class
from alkdnet.reporting.figures.style import ACCENT, INK, MUTED, RULE, FigurePlan, new_figure, write_figure
from alkdnet.reporting.table import number
from alkdnet.results.efficiency import TITLES, Machine, Measurement, write_efficiency

FIGURE = "psnr_latency"
# Largest load by other processes of a reliable measurement.
QUIET = 0.05
# Of a name in the figure, as a share of its height.
_NAME_HEIGHT = 0.045

# Measurements by network and backend.
_ByNetwork = Mapping[str, Mapping[str, Measurement]]


@dataclass(frozen=True, kw_only=True)
class ReferenceScore:
    """A network with its authors' weights in the pipelines: label, and PSNR (dB) on BSD100."""

    label: str
    psnr: float


def write_page(
    folder: Path,
    machine: Machine,
    measurements: Sequence[Measurement],
    reference: Mapping[str, ReferenceScore],
    *,
    command: str,
) -> None:
    """Replace a folder by the page, its numbers and its figure.

    Args:
        folder: to write.
        machine: what was measured on.
        measurements: of one scale and size.
        reference: networks that have a PSNR, by name.
        command: that repeats the measurement.
    """
    plan = _plan(measurements, reference)
    with atomic_directory(folder.resolve()) as temporary:
        write_efficiency(temporary, machine, measurements)
        if plan:
            write_figure(temporary, plan)
        page = page_text(machine, measurements, reference, command=command, figure=plan)
        (temporary / "README.md").write_text(page, encoding="utf-8")


def page_text(
    machine: Machine,
    measurements: Sequence[Measurement],
    reference: Mapping[str, ReferenceScore],
    *,
    command: str,
    figure: FigurePlan | None = None,
) -> str:
    """Return the page as Markdown."""
    by_network = _by_network(measurements)
    present = {each.backend for each in measurements if each.median_ms is not None}
    backends = [backend for backend in TITLES if backend in present]
    disturbed = max((each.disturbed for each in measurements if each.disturbed is not None), default=0.0)
    first = measurements[0]
    return render(
        "alkdnet.efficiency",
        "efficiency.md.j2",
        machine=machine,
        first=first,
        output=f"{first.width * first.scale}×{first.height * first.scale}",
        command=command,
        figure=figure,
        disturbed=disturbed,
        quiet=disturbed <= QUIET,
        upscale=TITLES["upscale"],
        latency=_latency_table(by_network, backends, reference),
        memory=_memory_table(by_network, backends, reference),
        counts=_counts_table(by_network, reference),
        remarks=[
            (_label(each.network, reference), each.backend, each.remark)
            for each in measurements
            if each.remark
        ],
    )


def _latency_table(
    by_network: _ByNetwork, backends: Sequence[str], reference: Mapping[str, ReferenceScore]
) -> str:
    rows = [
        [
            _label(name, reference),
            number(reference[name].psnr, 2) if name in reference else "–",
            *(_latency(found.get(backend)) for backend in backends),
        ]
        for name, found in _timed(by_network).items()
    ]
    return table(["Network", "PSNR on BSD100", *(TITLES[backend] for backend in backends)], rows)


def _memory_table(
    by_network: _ByNetwork, backends: Sequence[str], reference: Mapping[str, ReferenceScore]
) -> str:
    """Return memory, and the difference from the first backend, PyTorch."""
    heads, others = [TITLES[backend] for backend in backends], backends[1:]
    rows = [
        [
            _label(name, reference),
            *(_number(found.get(backend), "memory_mib", ".0f") for backend in backends),
            *(_number(found.get(backend), "difference", ".1e") for backend in others),
        ]
        for name, found in _timed(by_network).items()
    ]
    header = ["Network", *(f"{head}, MiB" for head in heads), *(f"{head}, difference" for head in heads[1:])]
    return table(header, rows)


def _counts_table(by_network: _ByNetwork, reference: Mapping[str, ReferenceScore]) -> str:
    rows = []
    for name, found in by_network.items():
        counted = next(iter(found.values()))
        multi_adds = (counted.multi_adds, counted.multi_adds_convolutions, counted.multi_adds_torch)
        rows.append(
            [
                _label(name, reference),
                f"{counted.parameters:,}",
                *(f"{each / 1e9:.3f} G" for each in multi_adds),
                f"{counted.activations / 1e6:.1f} M",
            ]
        )
    header = [
        "Network",
        "Parameters",
        "Multi-Adds, the paper's rule",
        "convolutions only",
        "PyTorch's counter",
    ]
    return table([*header, "Activations"], rows)


def _timed(by_network: _ByNetwork) -> _ByNetwork:
    """Return the networks that any backend was timed on."""
    return {
        name: found
        for name, found in by_network.items()
        if any(row.median_ms is not None for row in found.values())
    }


def _by_network(measurements: Sequence[Measurement]) -> _ByNetwork:
    found: dict[str, dict[str, Measurement]] = {}
    for each in measurements:
        found.setdefault(each.network, {})[each.backend] = each
    return found


def _label(name: str, reference: Mapping[str, ReferenceScore]) -> str:
    return escape(reference[name].label if name in reference else network_class(name).__name__)


def _latency(row: Measurement | None) -> str:
    if row is None or row.median_ms is None:
        return "–"
    return f"{row.median_ms:.0f} ({row.low_ms:.0f} to {row.high_ms:.0f})"


def _number(row: Measurement | None, name: str, spec: str) -> str:
    value = getattr(row, name, None)
    return "–" if value is None else format(value, spec)


def _plan(measurements: Sequence[Measurement], reference: Mapping[str, ReferenceScore]) -> FigurePlan | None:
    """Return the figure of PSNR against latency; None if fewer than two networks have both."""
    points = [
        (reference[name], plain.median_ms, min(times))
        for name, rows in _by_network(measurements).items()
        if name in reference and (plain := rows.get("plain")) and plain.median_ms is not None
        if (times := [r.median_ms for r in rows.values() if r.median_ms and r.precision == plain.precision])
    ]
    if len(points) < 2:
        return None
    return FigurePlan(
        name=FIGURE,
        title="PSNR against latency",
        caption="",
        draw=lambda: _figure(points),
    )


def _figure(points: Sequence[tuple[ReferenceScore, float, float]]) -> Figure:
    figure = new_figure(7.0, 4.4)
    axes = figure.subplots()
    scores = [each.psnr for each, _, _ in points]
    low, high = min(scores), max(scores)
    margin = 0.06 * (high - low) or 0.1
    axes.set_ylim(low - margin, high + margin)
    name_y = 1.0  # as a share of the height: names stand in a column on the right, without overlap
    for each, plain, fastest in sorted(points, key=lambda point: -point[0].psnr):
        colour = ACCENT if each.label == "ALKDNet" else INK
        axes.plot([fastest, plain], [each.psnr] * 2, color=MUTED, linewidth=0.8, zorder=1)
        axes.plot([plain], [each.psnr], "o", color=colour, markerfacecolor="white", markersize=5)
        axes.plot([fastest], [each.psnr], "o", color=colour, markersize=6)
        height = (each.psnr - low + margin) / (high - low + 2 * margin)
        name_y = min(name_y - _NAME_HEIGHT, height)
        axes.annotate(
            each.label,
            (max(plain, fastest), each.psnr),
            xytext=(1.02, name_y),
            textcoords="axes fraction",
            va="center",
            fontsize=8,
            color=colour,
            arrowprops={"arrowstyle": "-", "color": RULE, "linewidth": 0.8, "shrinkB": 4, "relpos": (0, 0.5)},
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.2f}"))
    axes.set_xlabel("Median latency of a pass in ms: fastest backend (filled), PyTorch (open)")
    axes.set_ylabel("PSNR on BSD100 in dB")
    return figure
