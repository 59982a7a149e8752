"""ALKDNet beside the networks that Table 4 leaves out: accuracy, cost and time in one table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from alkdnet.analysis.statistics import Comparison
from alkdnet.paper.published import OURS, SETS, field, table4
from alkdnet.reporting.cells import PSNR_DIGITS, SSIM_DIGITS, costs, origin, score_cells, shown_sets
from alkdnet.reporting.comparisons import interval
from alkdnet.reporting.study import Study, StudyRow
from alkdnet.reporting.table import Cell, Mark, Part, Table, number, signed, text_row
from alkdnet.results.efficiency import TITLES, Machine

VERDICTS = {
    "gain": Mark("gain", "teal"),
    "loss": Mark("loss", "red"),
    "not distinguishable": Mark("not distinguishable", "gray"),
    "too few images": Mark("too few images", "gray"),
}


def has_others(study: Study, scale: int) -> bool:
    """Return whether the study has a method at this scale that Table 4 leaves out."""
    return any(method not in set(table4()["method"]) for method, _ in study.methods(scale))


def field_table(study: Study, scale: int, against: Sequence[Comparison]) -> Table:
    """Return all methods of one scale with costs, times and scores, and what others published at this scale.

    Under a PSNR stands its difference to ALKDNet's with the 95 % interval and the verdict.

    Args:
        study: the study.
        scale: the scale.
        against: the comparisons of its methods with ALKDNet.
    """
    measured = study.methods(scale)
    rows = [row for _, row in measured]
    sets = shown_sets(study, rows)
    psnr = {(each.variant, each.set): each for each in against if each.metric == "psnr"}
    columns = [
        [
            _compared(cell, psnr.get((row.name, name)))
            for row, cell in zip(rows, score_cells(rows, name), strict=True)
        ]
        for name in sets
    ]
    times = _times(study, rows)
    lines: list[tuple[Cell, ...]] = [
        (
            *text_row(
                method,
                origin(study, row),
                *costs(row),
                _activations(row),
                *(found.get(row.name, "–") for found in times.values()),
            ),
            *(column[index] for column in columns),
        )
        for index, (method, row) in enumerate(measured)
    ]
    lines += _published(study, scale, sets, len(times))
    header = (
        "Method",
        "Numbers",
        "Parameters",
        "Multi-Adds",
        "Activations",
        *times,
        *map(study.set_label, sets),
    )
    return Table(
        caption=f"The field at ×{scale}: PSNR (dB) / SSIM, with the difference in PSNR to {OURS}",
        header=header,
        rows=lines,
        alignment="ll" + "r" * (len(header) - 2),
    )


def machines(study: Study) -> list[tuple[Machine, float]]:
    """Return the machines that times are from, with the largest share that other processes took there."""
    return [
        (machine, max((each.disturbed or 0.0 for each in found), default=0.0))
        for machine, found in study.efficiency
    ]


def _compared(cell: Cell, comparison: Comparison | None) -> Cell:
    if comparison is None:
        return cell
    difference = signed(comparison.difference, 3)
    if comparison.low is not None:
        difference += f" {interval(comparison)}"
    return replace(cell, difference=difference, mark=VERDICTS[comparison.verdict])


def _activations(row: StudyRow) -> str:
    return f"{number(row.cost.activations / 1e6, 0)} M" if row.cost and row.cost.parameters else "–"


def _times(study: Study, rows: Sequence[StudyRow]) -> dict[str, dict[str, str]]:
    """Return by heading and row the milliseconds of a pass in float32, of rows without options."""
    output = study.params.complexity
    found: dict[str, dict[str, str]] = {}
    # Without family and instruction sets, where that is enough to tell the machines apart.
    short = [machine.processor.split(",")[0] for machine, _ in study.efficiency]
    for (machine, measurements), name in zip(study.efficiency, short, strict=True):
        several = f", {name if short.count(name) == 1 else machine.processor}" if len(short) > 1 else ""
        for backend, title in TITLES.items():
            times = {
                row.name: number(each.median_ms, 0)
                for row in rows
                for each in measurements
                if (each.network, each.scale, each.backend) == (row.row.network, row.row.scale, backend)
                if each.precision == "float32" and each.median_ms is not None and not row.row.options
                if abs(each.width * each.scale - output.width) < each.scale
                if abs(each.height * each.scale - output.height) < each.scale
            }
            if times:
                found[f"{title}, ms{several}"] = times
    return found


def _published(study: Study, scale: int, sets: Sequence[str], times: int) -> Iterator[tuple[Cell, ...]]:
    """Yield rows of methods that are only published."""
    known = {method for method, _ in study.methods(scale)}
    for record in field().to_dict("records"):
        if record["scale"] != scale or record["method"] in known:
            continue
        texts = (
            str(record["method"]),
            f"published: {record['source']}",
            f"{record['parameters_k']} K",
            *("–" for _ in range(2 + times)),
        )
        yield (*text_row(*texts), *(_published_cell(record, study.columns.get(name)) for name in sets))


def _published_cell(record: Mapping, column: str | None) -> Cell:
    if column not in SETS:
        return text_row("–")[0]
    psnr, ssim = (record[f"{column.lower()}_{measure}"] for measure in ("psnr", "ssim"))
    return Cell(parts=(Part(text=number(psnr, PSNR_DIGITS)), Part(text=number(ssim, SSIM_DIGITS))))
