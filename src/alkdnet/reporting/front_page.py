"""The front page: what was run, how far it is from the paper, the main numbers, and how to run it again."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from alkdnet.config.params import Params
from alkdnet.paper.published import RECIPE, paper_sets, set_label
from alkdnet.reporting.ablations import AblationResult
from alkdnet.reporting.deviations import (
    evaluation_deviations,
    recipe_values,
    stale_trainings,
    training_data,
    training_deviations,
)
from alkdnet.reporting.main_table import main_table, reproduced
from alkdnet.reporting.marks import PUBLISHED_LEGEND
from alkdnet.reporting.pages import RANK_LEGEND
from alkdnet.reporting.pictures import Picture
from alkdnet.reporting.scores import PARTIAL_LEGEND
from alkdnet.reporting.standing import standing
from alkdnet.reporting.table import Table, paragraphs, text_cell, to_markdown
from alkdnet.results.tree import Results

PAGES = (
    ("ablations.md", "Tables 1 to 3: the ablations, with intervals and what each supports"),
    ("comparison.md", "Table 4: all methods, published and measured"),
    ("runs.md", "all runs on all test sets"),
    ("figures.md", "all figures"),
    ("audit.md", "where the paper's own numbers do not fit together"),
)


def front_page(
    params: Params,
    results: Results,
    ablations: Sequence[AblationResult],
    pictures: Sequence[Picture],
    missing: Sequence[str],
) -> str:
    """Return README.md of the report."""
    lead = pictures[0] if pictures else None
    sentences = [sentence for each in ablations for sentence in each.sentences]
    pages = "".join(f"- [{file.removesuffix('.md')}]({file}): {what}\n" for file, what in PAGES)
    blocks = [
        f"# {params.report.title}",
        params.report.summary.strip(),
        standing(params, results),
        "## Results",
        f"PSNR in dB / SSIM. {RANK_LEGEND} of a scale.{_published_legend(params)} {PARTIAL_LEGEND}.",
        to_markdown(main_table(params, results)),
        *_reproduced_blocks(params, results),
        *([] if lead is None else [f"![{lead.title}](figures/{lead.file})", lead.caption]),
        *(["## What the ablations support", *_ablation_blocks(ablations)] if sentences else []),
        "## Pages",
        pages,
        "## What was run",
        _facts(params, results),
        *_deviation_blocks(params, results),
        *(["## What is missing", "".join(f"- {each}\n" for each in missing)] if missing else []),
        "## Run it again",
        _again(params),
    ]
    return paragraphs(blocks)


def _reproduced_blocks(params: Params, results: Results) -> list[str]:
    sentences = reproduced(params, results)
    if not sentences:
        return []
    return ["What the authors' weights give:", "".join(f"- {sentence}\n" for sentence in sentences)]


def _published_legend(params: Params) -> str:
    if not paper_sets(params):
        return ""
    return f" Below a number: its PSNR minus that published in Table 4: {PUBLISHED_LEGEND}."


def _ablation_blocks(ablations: Sequence[AblationResult]) -> list[str]:
    blocks = []
    for each in ablations:
        if each.sentences:
            blocks.append(f"{each.title} (Table {each.number}), PSNR against {each.baseline_label}:")
            blocks.append("".join(f"- {sentence}\n" for sentence in each.sentences))
    return blocks


def _facts(params: Params, results: Results) -> str:
    trained = [run for run in results.runs.values() if run.run.kind == "trained"]
    torch = sorted({str(run.record["torch"]) for run in trained if "torch" in run.record})
    sets = []
    for name in params.names("test"):
        counts = {run.scores[name].images for run in results.runs.values() if name in run.scores}
        sets.append(f"{set_label(params, name)} ({f'{max(counts)} images' if counts else 'not measured'})")
    done = [run for run in trained if run.standing != "waiting"]
    evaluated = [run for run in results.runs.values() if run.scores]
    lines = [
        f"Runs: {len(params.runs)}, of them trained here: {len(done)}, measured: {len(evaluated)}",
        f"Test sets: {', '.join(sets)}",
    ]
    if trained:
        iterations, batch, patch, first, last, precision = (
            " or ".join(recipe_values(params, results, key))
            for key in (
                *("iterations", "batch_size", "patch_size", "learning_rate", "final_learning_rate"),
                "precision",
            )
        )
        lines += [
            f"Training images: {training_data(params)}",
            (
                f"Recipe: {iterations} iterations of {batch} patches, {patch} LR pixels a side, learning "
                f"rate {first} to {last}, {precision}"
            ),
            *stale_trainings(params, results),
        ]
    if torch:
        lines.append(f"Trained with torch {', '.join(torch)}")
    lines.append(
        f"Hardware, as stated by hand: {params.report.hardware.strip()} (the paper: {RECIPE.hardware})"
    )
    return "".join(f"- {line}\n" for line in lines)


def _deviation_blocks(params: Params, results: Results) -> list[str]:
    deviations = [*training_deviations(params, results), *evaluation_deviations(params, results)]
    if not deviations:
        return ["Training and evaluation are as in the paper."]
    table = Table(
        caption="What is not as in the paper",
        header=("What", "The paper", "Here"),
        rows=[tuple(text_cell(text) for text in (each.what, each.paper, each.here)) for each in deviations],
        alignment="lll",
    )
    return [
        "### What is not as in the paper",
        to_markdown(table),
        "The other settings that were compared are the paper's.",
    ]


def _again(params: Params) -> str:
    folder = PurePosixPath(params.params_file).parent
    pipeline = "" if str(folder) == "." else f" {folder}/dvc.yaml"
    lines = [
        "```",
        f"dvc repro{pipeline}",
        "```",
        "",
        (
            f"All numbers follow from `{params.params_file}` and the data; this folder is written by the "
            "stage `report`. See [docs/reports.md](../../docs/reports.md) for how to read it, and how to "
            "compare runs."
        ),
    ]
    return "\n".join(lines)
