"""How far a training moves with its seed: beside the ablations, whose intervals know nothing of it."""

import pandas as pd

from alkdnet.analysis.statistics import half_width, pooled_seeds, seed_spread
from alkdnet.config.params import Params
from alkdnet.paper.published import set_label
from alkdnet.reporting.comparisons import images_of, seed_group, seed_margins
from alkdnet.reporting.scores import origin
from alkdnet.reporting.table import Table, number, records, signed, text_row
from alkdnet.results.tree import Results

SEEDS_TEXT = (
    "The intervals above are those of the images, for one training of each variant. Trained again with other "
    "seeds, a mean moves: by its standard deviation over the seeds, and two single trainings of one network "
    "come out further apart than the last column but one in 1 of 20 cases (Student's t, two-sided). A gain "
    "or loss that is no larger is marked so in the sentences. The last column compares the means over all "
    "seeds, with the 95 % interval that the seeds leave."
)


def seeds_frame(params: Params, results: Results) -> pd.DataFrame:
    """Return how far every training with several seeds moved, one row for each training and test set.

    Columns: run, the columns of `seed_spread`, psnr_margin (dB: how far two single trainings may lie apart),
    and against the mean over the seeds of the ablations' baseline, where that has several too:
    psnr_difference, psnr_difference_low, psnr_difference_high (95 % interval by the seeds).
    """
    rows = []
    for name in params.report.seeds:
        group = seed_group(params, results, name)
        margins = seed_margins(params, results, [name])
        for row in records(seed_spread(images_of(results.of(group)), group)):
            rows.append({"run": name, **row, "psnr_margin": margins.get(str(row["set"]))})
    frame = pd.DataFrame(rows, columns=_COLUMNS)
    for index, row in enumerate(records(frame)):
        if (difference := _against_baseline(params, results, frame, row)) is not None:
            frame.loc[index, _COLUMNS[-3:]] = difference
    return frame


def seeds_table(params: Params, results: Results) -> Table | None:
    """Return `seeds_frame` as a table; None if no training with several seeds was evaluated."""
    frame = seeds_frame(params, results)
    frame = frame[frame["runs"] > 1] if len(frame) else frame
    if frame.empty:
        return None
    rows = []
    for row in records(frame):
        interval = f"[{number(row[_LOW], 3)}, {number(row[_HIGH], 3)}]"
        rows.append(
            text_row(
                results.runs[row["run"]].label,
                origin(results.runs[row["run"]]),
                set_label(params, row["set"]),
                str(row["runs"]),
                f"{number(row['psnr_mean'], 3)} ± {number(row['psnr_std'], 3)}",
                number(row["psnr_range"], 3),
                number(row["psnr_margin"], 3),
                "–" if pd.isna(row[_DIFFERENCE]) else f"{signed(row[_DIFFERENCE], 3)} {interval}",
            )
        )
    label = (
        results.runs[baseline].label if (baseline := params.report.table1.baseline) in results.runs else ""
    )
    return Table(
        caption="PSNR (dB) of the same training with several seeds",
        header=(
            *("Training", "Weights", "Test set", "Seeds", "Mean ± standard deviation", "Range"),
            *("Two trainings may differ by", f"Mean minus that of {label or baseline}"),
        ),
        rows=rows,
        alignment="lllrrrrr",
    )


_DIFFERENCE, _LOW, _HIGH = "psnr_difference", "psnr_difference_low", "psnr_difference_high"
_COLUMNS = [
    *("run", "set", "runs"),
    *(f"{metric}_{kind}" for metric in ("psnr", "ssim") for kind in ("mean", "std", "range")),
    *("psnr_margin", _DIFFERENCE, _LOW, _HIGH),
]


def _against_baseline(
    params: Params, results: Results, frame: pd.DataFrame, row: dict[str, object]
) -> tuple[float, float, float] | None:
    """Return the difference of the means over seeds to the baseline's, and its interval."""
    name, baseline = str(row["run"]), params.report.table1.baseline
    other = frame[(frame["run"] == baseline) & (frame["set"] == row["set"])]
    same_scale = baseline in results.runs and results.runs[name].run.scale == results.runs[baseline].run.scale
    if name == baseline or other.empty or not same_scale:
        return None
    groups = [seed_group(params, results, each) for each in (name, baseline)]
    images = images_of(results.of(run for group in groups for run in group))
    spread = pooled_seeds(images, groups).get(str(row["set"]))
    first, second = int(str(row["runs"])), int(other["runs"].iloc[0])
    if spread is None or min(first, second) < 2:
        return None
    difference = float(str(row["psnr_mean"])) - float(other["psnr_mean"].iloc[0])
    margin = half_width(*spread, first, second)
    return difference, difference - margin, difference + margin
