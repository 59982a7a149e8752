"""The table of all runs: what each is, what it costs, and its PSNR and SSIM on every test set."""

from collections.abc import Sequence

import pandas as pd

from alkdnet.config.params import Params
from alkdnet.paper.published import RECIPE, set_label, table4
from alkdnet.reporting.marks import Rank, ranks
from alkdnet.reporting.table import Cell, Part, Table, number, records, text_cell, text_row
from alkdnet.results.tree import Results, RunResults

PSNR_DIGITS, SSIM_DIGITS = 2, 4
COSTS = ("parameters", "multi_adds", "multi_adds_convolutions", "activations")
COSTS_LEGEND = (
    "Multi-Adds by the rule of the paper's own figures (thop 0.1.1: convolutions, 4 for every normalised "
    "element, pooling), which is the one in all other tables, and by convolutions only. Activations: the "
    "elements of the outputs of all convolutions"
)
PARTIAL = "†"
PARTIAL_LEGEND = f"`{PARTIAL}` mean over a part of the set only"


def origin(run: RunResults) -> str:
    """Say where the weights of a run come from, so that no row is taken for what it is not."""
    if run.run.kind == "released":
        return "authors' weights"
    if run.run.kind == "interpolation":
        return "interpolation"
    if run.standing == "waiting":
        return "not trained yet"
    iterations = run.iterations() or run.stated_iterations or 0
    of = "" if iterations == RECIPE.iterations else f" of {RECIPE.iterations:,}"
    return f"{iterations:,}{of} iterations{'' if run.record else ', as stated'}"


def runs_frame(params: Params, results: Results) -> pd.DataFrame:
    """Return all runs, one a row.

    Columns: run, label, kind, scale, seed, iterations, parameters, multi_adds, multi_adds_convolutions,
    activations, then for each test set <set>_images, <set>_psnr (dB) and <set>_ssim; NaN where there is
    nothing.
    """
    rows = []
    for run in results.runs.values():
        row: dict[str, object] = {
            "run": run.name,
            "label": run.label,
            "kind": run.run.kind,
            "scale": run.run.scale,
            "seed": run.run.seed if run.run.kind == "trained" else None,
            "iterations": run.iterations(),
            **{name: None if run.cost is None else getattr(run.cost, name) for name in COSTS},
        }
        for name in params.names("test"):
            score = run.scores.get(name)
            row[f"{name}_images"] = None if score is None else score.images
            row[f"{name}_psnr"] = None if score is None else score.psnr
            row[f"{name}_ssim"] = None if score is None else score.ssim
        rows.append(row)
    frame = pd.DataFrame(rows)
    counts = [
        "seed",
        "iterations",
        *COSTS,
        *(f"{name}_images" for name in params.names("test")),
    ]
    return frame.astype(dict.fromkeys(counts, "Int64"))


def runs_table(params: Params, results: Results, scale: int) -> Table:
    """Return the runs of one scale, best and second marked by column among them."""
    runs = [run for run in results.runs.values() if run.run.scale == scale]
    sets = params.names("test")
    columns = [score_cells(runs, name) for name in sets]
    return Table(
        caption=f"All runs at ×{scale}: PSNR (dB) / SSIM",
        header=("Run", "Weights", "Parameters", "Multi-Adds", *(set_label(params, name) for name in sets)),
        rows=[
            (
                *(text_cell(text) for text in (run.label, origin(run), *cost_texts(run))),
                *(column[index] for column in columns),
            )
            for index, run in enumerate(runs)
        ],
        alignment="ll" + "r" * (2 + len(sets)),
    )


def cost_texts(run: RunResults) -> tuple[str, str]:
    """Return parameters in thousands and Multi-Adds in 10^9 as they are printed."""
    if run.cost is None or run.cost.parameters == 0:
        return "–", "–"
    return number(run.cost.parameters / 1e3, 1) + " K", number(run.cost.multi_adds / 1e9, 2) + " G"


def costs_table(params: Params, results: Results) -> Table:
    """Return what every counted network costs, by both rules, beside what Table 4 prints for its method."""
    printed = {
        (row["method"], row["scale"]): (f"{row['parameters_k']:.0f} K", f"{row['multi_adds_printed']} G")
        for row in records(table4().drop_duplicates(["method", "scale"]))
    }
    method_of = {run: method for method, runs in params.report.table4.items() for run in runs}
    rows = []
    for run in results.runs.values():
        if run.cost is None or run.cost.parameters == 0:
            continue
        published = printed.get((method_of.get(run.name), run.run.scale), ("–", "–"))
        rows.append(
            text_row(
                f"×{run.run.scale}",
                run.label,
                f"{run.cost.parameters:,}",
                number(run.cost.multi_adds / 1e9, 3) + " G",
                number(run.cost.multi_adds_convolutions / 1e9, 3) + " G",
                number(run.cost.activations / 1e6, 1) + " M",
                *published,
            )
        )
    return Table(
        caption="What the networks cost",
        header=(
            *("Scale", "Run", "Parameters", "Multi-Adds, the paper's rule", "Multi-Adds, convolutions only"),
            *("Activations", "Parameters in Table 4", "Multi-Adds in Table 4"),
        ),
        rows=rows,
        alignment="ll" + "r" * 6,
    )


def score_cells(runs: Sequence[RunResults], name: str) -> list[Cell]:
    """Return the column of one test set; its ranks are among complete means of these runs, as printed."""
    return [
        text_cell(_absence(run, name)) if psnr is None or ssim is None else Cell(parts=(psnr, ssim))
        for run, psnr, ssim in zip(runs, _parts(runs, name, "psnr"), _parts(runs, name, "ssim"), strict=True)
    ]


def _parts(runs: Sequence[RunResults], name: str, measure: str) -> list[Part | None]:
    digits = PSNR_DIGITS if measure == "psnr" else SSIM_DIGITS
    scores = [run.scores.get(name) for run in runs]
    values: list[float | None] = [
        round(getattr(score, measure), digits) if score is not None else None for score in scores
    ]
    ranked = ranks(
        [value if score and score.complete else None for value, score in zip(values, scores, strict=True)]
    )
    return [
        None if score is None else _part(value, digits, rank, complete=score.complete)
        for value, score, rank in zip(values, scores, ranked, strict=True)
    ]


def _part(value: float | None, digits: int, rank: Rank, *, complete: bool) -> Part:
    return Part(text=number(value, digits) + ("" if complete else PARTIAL), rank=rank)


def _absence(run: RunResults, name: str) -> str:
    return "not available" if name in run.missing_sets else "not measured"
