"""How far a pipeline is from the paper's experiment, found by comparing its parameters with the paper's."""

from dataclasses import dataclass

from alkdnet.config import Params
from alkdnet.data.sources import source
from alkdnet.reporting.published import RECIPE, SETS, TRAINING_SOURCES, paper_sets
from alkdnet.reporting.results import Results

# Size of ALKDNet and BSRN in section 4.2, where a row of `runs` says nothing else.
PAPER_SIZE = {"blocks": 8, "channels": 64}


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """One thing that is not as in the paper."""

    what: str
    paper: str
    here: str


def training_deviations(params: Params) -> list[Deviation]:
    """Return how the training differs; nothing for a pipeline that trains nothing."""
    if not any(run.kind == "trained" for run in params.runs.values()):
        return []
    found = []
    sources = tuple(params.datasets[name].source for name in params.names("train"))
    if sorted(sources) != sorted(TRAINING_SOURCES):
        found.append(Deviation(what="training images", paper=RECIPE.data, here=training_data(params)))
    recipe = params.train
    for what, paper, here in (
        ("iterations", f"{RECIPE.iterations:,}", f"{recipe.iterations:,}"),
        ("batch size", RECIPE.batch_size, recipe.batch_size),
        ("patch size (LR pixels)", RECIPE.patch_size, recipe.patch_size),
        ("learning rate", RECIPE.learning_rate, recipe.learning_rate),
        ("final learning rate", RECIPE.final_learning_rate, recipe.final_learning_rate),
        ("Adam's betas", f"{RECIPE.beta1}, {RECIPE.beta2}", f"{recipe.beta1}, {recipe.beta2}"),
        ("precision", RECIPE.precision, recipe.precision),
        *((f"{key} of ALKDNet and BSRN", value, sizes(params, key)) for key, value in PAPER_SIZE.items()),
    ):
        if str(paper) != str(here):
            found.append(Deviation(what=what, paper=str(paper), here=str(here)))
    return found


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


def sizes(params: Params, option: str) -> str:
    """Return the values that an option has in the trained rows of network alkdnet, smallest first."""
    values = {
        run.options.get(option, PAPER_SIZE[option])
        for run in params.runs.values()
        if run.kind == "trained" and run.network == "alkdnet"
    }
    return ", ".join(map(str, sorted(values, key=float))) or str(PAPER_SIZE[option])  # type: ignore[arg-type]


def _described(params: Params, name: str) -> str:
    dataset = params.datasets[name]
    images = source(dataset.source).images
    return f"{name} (a folder of images)" if images is None else f"{name} ({images} images)"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
