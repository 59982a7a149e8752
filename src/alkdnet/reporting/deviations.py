"""How far a pipeline is from the paper's experiment, found by comparing its parameters with the paper's."""

from dataclasses import dataclass

from alkdnet.config.params import Params
from alkdnet.paper.published import RECIPE, SETS, TRAINING_SOURCES, paper_sets
from alkdnet.results.tree import Results
from alkdnet.sources.catalogue import source

# Size of ALKDNet and BSRN in section 4.2, where a row of `runs` says nothing else.
PAPER_SIZE = {"blocks": 8, "channels": 64}
# What of the recipe decides the numbers, by its name in the parameters, with its name in the report.
COMPARED = {
    "iterations": "iterations",
    "batch_size": "batch size",
    "patch_size": "patch size (LR pixels)",
    "learning_rate": "learning rate",
    "final_learning_rate": "final learning rate",
    "beta1": "Adam's beta 1",
    "beta2": "Adam's beta 2",
    "precision": "precision",
}


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """One thing that is not as in the paper."""

    what: str
    paper: str
    here: str


def recipe_values(params: Params, results: Results, key: str) -> list[str]:
    """Return the values of a setting that the trained rows have, first those of the first row.

    What was trained is asked for its record; what was not will be trained as the parameters say.
    """
    runs = [run for run in results.runs.values() if run.run.kind == "trained"]
    return list(dict.fromkeys(_text(run.recipe().get(key, getattr(params.train, key))) for run in runs))


def training_deviations(params: Params, results: Results) -> list[Deviation]:
    """Return how the training differs, by its record; nothing for a pipeline that trains nothing."""
    if not any(run.kind == "trained" for run in params.runs.values()):
        return []
    found = []
    sources = tuple(params.datasets[name].source for name in params.names("train"))
    if sorted(sources) != sorted(TRAINING_SOURCES):
        found.append(Deviation(what="training images", paper=RECIPE.data, here=training_data(params)))
    for what, paper, here in (
        *(
            (what, _text(getattr(RECIPE, key)), ", ".join(recipe_values(params, results, key)))
            for key, what in COMPARED.items()
        ),
        *(
            (f"{key} of ALKDNet and BSRN", str(value), sizes(params, results, key))
            for key, value in PAPER_SIZE.items()
        ),
    ):
        if paper != here:
            found.append(Deviation(what=what, paper=paper, here=here))
    return found


def stale_trainings(params: Params, results: Results) -> list[str]:
    """Say which rows were not trained as the parameter file states now, and in what, a sentence each."""
    sentences = []
    for run in results.runs.values():
        recipe = run.recipe()
        pairs = [(what, recipe.get(key), getattr(params.train, key)) for key, what in COMPARED.items()]
        if recipe:
            record, row = run.record, run.run
            pairs += [("scale", record.get("scale"), row.scale), ("seed", record.get("seed"), row.seed)]
            pairs.append(("network", record.get("network"), row.network))
            options = record.get("options") or {}
            pairs += [(key, options.get(key), row.options.get(key)) for key in {**options, **row.options}]
        differences = [
            f"{what} {_text(there)} instead of {_text(now)}"
            for what, there, now in pairs
            if recipe and there != now
        ]
        if differences:
            sentences.append(
                f"`{run.name}` was not trained as the parameter file states now: {', '.join(differences)}. "
                "Its row shows what was trained; `dvc repro` trains it anew."
            )
    return sentences


def evaluation_deviations(params: Params, results: Results) -> list[Deviation]:
    """Return how the evaluation differs from the protocol of Table 4."""
    evaluate = params.evaluate
    measured = {name for run in results.runs.values() for name in run.scores}
    present = {column for name, column in paper_sets(params).items() if name in measured}
    candidates = (
        ("test sets of Table 4", ", ".join(SETS), ", ".join(n for n in SETS if n in present) or "none"),
        ("border of the downscaling", "replicate", params.downscale.border),
        ("compared channel", "y", evaluate.channel),
        ("luma rounded", "no", _yes(evaluate.round_luma)),
        ("border cut off", "the scale", "the scale" if evaluate.crop is None else f"{evaluate.crop} pixels"),
        ("self-ensemble", "no", _yes(evaluate.self_ensemble)),
        ("tiles", "no", "no" if evaluate.tile is None else f"{evaluate.tile} LR pixels"),
    )
    return [Deviation(what=what, paper=paper, here=here) for what, paper, here in candidates if paper != here]


def training_data(params: Params) -> str:
    """Return the training sets in words, with the number of their images where that is known."""
    return " and ".join(_described(params, name) for name in params.names("train")) or "none"


def sizes(params: Params, results: Results, option: str) -> str:
    """Return the values that an option has in the trained rows of network alkdnet, smallest first."""
    rows = [
        run.record.get("options") or run.run.options if run.recipe() else run.run.options
        for run in results.runs.values()
        if run.run.kind == "trained" and run.run.network == "alkdnet"
    ]
    values = {str(row.get(option, PAPER_SIZE[option])) for row in rows}
    return ", ".join(sorted(values, key=float)) or str(PAPER_SIZE[option])


def _described(params: Params, name: str) -> str:
    dataset = params.datasets[name]
    images = source(dataset.source).images
    return f"{name} (a folder of images)" if images is None else f"{name} ({images} images)"


def _text(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _yes(value: bool) -> str:
    return "yes" if value else "no"
