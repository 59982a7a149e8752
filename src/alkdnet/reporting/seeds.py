"""The spread of a training over its seeds, which the intervals over images do not cover."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from alkdnet.analysis.statistics import METRICS, half_width, pooled_seeds, seed_spread
from alkdnet.reporting.cells import origin
from alkdnet.reporting.comparisons import seed_group, seed_margins
from alkdnet.reporting.study import Study
from alkdnet.reporting.table import Cell, Table, number, signed, text_row

_DIFFERENCE = ["psnr_difference", "psnr_difference_low", "psnr_difference_high"]
COLUMNS = [
    *("run", "set", "runs"),
    *(f"{metric}_{kind}" for metric in METRICS for kind in ("mean", "std", "range")),
    *("psnr_margin", *_DIFFERENCE),
]


def seeds_frame(study: Study) -> pd.DataFrame:
    """Return the spread of every training with several seeds, one row for each training and test set.

    Columns: run, the columns of `seed_spread`, psnr_margin (dB: how far two single trainings may lie apart),
    and against the mean over the seeds of the ablations' baseline, where that has several too:
    psnr_difference, psnr_difference_low, psnr_difference_high (95 % interval by the seeds).
    """
    rows = []
    for name in study.params.report.seeds:
        group = seed_group(study, name)
        margins = seed_margins(study, [name])
        for row in seed_spread(study.images(study.of(group)), group).to_dict("records"):
            rows.append({"run": name, **row, "psnr_margin": margins.get(row["set"])})
    frame = pd.DataFrame(rows, columns=COLUMNS)
    for index, row in enumerate(frame.to_dict("records")):
        if (difference := _against_baseline(study, frame, row)) is not None:
            frame.loc[index, _DIFFERENCE] = difference
    return frame


def seeds_table(study: Study) -> Table | None:
    """Return `seeds_frame` as a table; None if no training with several seeds was evaluated."""
    frame = seeds_frame(study)
    rows = [_texts(study, row) for row in frame.to_dict("records") if row["runs"] > 1]
    baseline = study.params.report.table1.baseline
    label = study.rows[baseline].label if baseline in study.rows else baseline
    header = (
        *("Training", "Weights", "Test set", "Seeds", "Mean ± standard deviation", "Range", "Seed margin"),
        f"Mean minus that of {label}",
    )
    caption = "PSNR (dB) of the same training with several seeds"
    return Table(caption=caption, header=header, rows=rows, alignment="lllrrrrr") if rows else None


def _texts(study: Study, row: Mapping[Hashable, Any]) -> tuple[Cell, ...]:
    difference, low, high = (row[name] for name in _DIFFERENCE)
    against = "–"
    if not pd.isna(difference):
        against = f"{signed(difference, 3)} [{number(low, 3)}, {number(high, 3)}]"
    return text_row(
        study.rows[row["run"]].label,
        origin(study, study.rows[row["run"]]),
        study.set_label(row["set"]),
        str(row["runs"]),
        f"{number(row['psnr_mean'], 3)} ± {number(row['psnr_std'], 3)}",
        number(row["psnr_range"], 3),
        number(row["psnr_margin"], 3),
        against,
    )


def _against_baseline(
    study: Study, frame: pd.DataFrame, row: Mapping[Hashable, Any]
) -> tuple[float, float, float] | None:
    """Return the difference of the means over seeds to the baseline's, and its interval."""
    name, baseline = row["run"], study.params.report.table1.baseline
    other = frame[(frame["run"] == baseline) & (frame["set"] == row["set"])]
    if name == baseline or other.empty or study.rows[name].row.scale != study.rows[baseline].row.scale:
        return None
    groups = [seed_group(study, each) for each in (name, baseline)]
    images = study.images(study.of(each for group in groups for each in group))
    spread = pooled_seeds(images, groups).get(row["set"])
    first, second = row["runs"], int(other["runs"].iloc[0])
    if spread is None or min(first, second) < 2:
        return None
    difference = row["psnr_mean"] - float(other["psnr_mean"].iloc[0])
    margin = half_width(*spread, first, second)
    return difference, difference - margin, difference + margin
