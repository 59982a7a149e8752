"""The pages besides the front page and the audit: all tables, and all figures."""

from collections.abc import Sequence

from alkdnet.config.params import Params
from alkdnet.paper.published import OURS, paper_sets
from alkdnet.reporting.ablations import AblationResult
from alkdnet.reporting.comparison_table import AgainstOurs, against_ours_table, comparison_table
from alkdnet.reporting.comparisons import sentences
from alkdnet.reporting.marks import PUBLISHED_LEGEND, VERDICT_LEGEND
from alkdnet.reporting.pictures import Picture
from alkdnet.reporting.scores import COSTS_LEGEND, PARTIAL_LEGEND, costs_table, runs_table
from alkdnet.reporting.seeds import SEEDS_TEXT, seeds_table
from alkdnet.reporting.table import paragraphs, to_markdown
from alkdnet.results.tree import Results

RANK_LEGEND = "**best**, <ins>second</ins> of a column"


def scales_of(params: Params) -> list[int]:
    """Return the scales of the pipeline's runs, smallest first."""
    return sorted({run.scale for run in params.runs.values()})


def ablations_page(params: Params, results: Results, ablations: Sequence[AblationResult]) -> str:
    """Return Tables 1 to 3, what each supports in sentences, and how far the seeds move the means."""
    blocks = [
        "# Ablations (Tables 1 to 3)",
        (
            f"PSNR in dB / SSIM. {RANK_LEGEND}. Below a number: its PSNR difference to the baseline. "
            f"{VERDICT_LEGEND}. The p-values of a table are corrected for their number by Holm's method. The "
            "mean difference is over the test sets, each with the same weight, as in the paper. Intervals "
            "and marks speak about images, for these very weights: what another seed would change they do "
            "not know. *Agrees* judges the sets that the statement is about."
        ),
    ]
    for each in ablations:
        blocks += [
            f"## Table {each.number}. {each.title}",
            to_markdown(each.table),
            *([f"Not in `runs`: {', '.join(each.missing)}."] if each.missing else []),
            "".join(f"- {sentence}\n" for sentence in each.sentences),
            (
                f"Numbers: [table{each.number}.csv](tables/table{each.number}.csv), "
                f"[all comparisons](tables/table{each.number}_comparisons.csv), "
                f"[LaTeX](tables/table{each.number}.tex)"
            ),
        ]
    if not ablations:
        blocks.append("This pipeline has no run of Tables 1 to 3.")
    if (seeds := seeds_table(params, results)) is not None:
        blocks += [
            "## How far a mean moves with the seed of the training",
            SEEDS_TEXT,
            to_markdown(seeds),
            "Numbers, also of SSIM: [seeds.csv](tables/seeds.csv)",
        ]
    elif ablations:
        blocks.append(
            "No run of this pipeline was trained and evaluated with several seeds, so how far the means move "
            "with the seed is not known."
        )
    return paragraphs(blocks)


def comparison_page(params: Params, results: Results, against: Sequence[AgainstOurs]) -> str:
    """Return Table 4 at all scales, and what of its differences can be told from chance."""
    column_of = paper_sets(params)
    blocks = [
        "# Comparison with other methods (Table 4)",
        (
            f"PSNR in dB / SSIM. {RANK_LEGEND}, among the published numbers and apart among the measured "
            f"ones. Below a measured number: measured − published. By the PSNR: {PUBLISHED_LEGEND}. "
            f"{PARTIAL_LEGEND}. Costs are published as printed ([the audit](audit.md) says where they do not "
            "fit), and measured by one rule for all."
        ),
    ]
    if not column_of:
        blocks.append(
            "**This pipeline has none of the five test sets, so nothing is measured beside the published "
            "numbers.** Its own measurements are in the [table of all runs](runs.md)."
        )
    for scale in (2, 3, 4):
        blocks += [
            f"## ×{scale}",
            to_markdown(comparison_table(params, results, scale)),
            f"[LaTeX](tables/table4_x{scale}.tex)",
        ]
    blocks.append("Numbers: [table4.csv](tables/table4.csv)")
    if against:
        blocks += [
            f"## Which differences to {OURS} can be told from chance",
            f"PSNR of the other method minus {OURS}'s, over the same images. {VERDICT_LEGEND}.",
        ]
    for each in against:
        blocks += [
            f"### ×{each.scale}",
            to_markdown(against_ours_table(params, each)),
            "".join(
                f"- {sentence}\n"
                for sentence in sentences(params, results, each.comparisons, baseline=each.ours.name)
            ),
        ]
    if against:
        blocks.append("Numbers: [against_alkdnet.csv](tables/against_alkdnet.csv)")
    return paragraphs(blocks)


def runs_page(params: Params, results: Results) -> str:
    """Return the tables of all runs, one for each scale."""
    blocks = [
        "# All runs",
        (
            f"PSNR in dB / SSIM. {RANK_LEGEND}. {PARTIAL_LEGEND}. Multi-Adds for an output of "
            f"{params.complexity.width}×{params.complexity.height} pixels, by the paper's rule."
        ),
    ]
    for scale in scales_of(params):
        blocks += [f"## ×{scale}", to_markdown(runs_table(params, results, scale))]
    costs = costs_table(params, results)
    if costs.rows:
        size = f"{params.complexity.width}×{params.complexity.height}"
        text = f"For an output of {size} pixels. {COSTS_LEGEND}. [The audit](audit.md) compares with Table 4."
        blocks += ["## What the networks cost", text, to_markdown(costs)]
    return paragraphs([*blocks, "Numbers: [runs.csv](tables/runs.csv)"])


def figures_page(pictures: Sequence[Picture], missing: Sequence[str]) -> str:
    """Return all figures with their captions, and which are not there."""
    blocks = ["# Figures"]
    for picture in pictures:
        blocks += [f"## {picture.title}", f"![{picture.title}](figures/{picture.file})", picture.caption]
    if missing:
        blocks += ["## Not drawn", "".join(f"- {sentence}\n" for sentence in missing)]
    return paragraphs(blocks)
