"""Deviations of a study from the paper's experiment, by comparing its records with the paper's recipe."""

from dataclasses import dataclass, fields

from alkdnet.config.params import Params, Recipe, Run
from alkdnet.paper.published import RECIPE, SETS, TRAINING_IMAGES, TRAINING_SOURCES
from alkdnet.reporting.study import Study
from alkdnet.sources.catalogue import source

# Size of ALKDNet and BSRN in section 4.2, where a row says nothing else.
PAPER_SIZE = {"blocks": 8, "channels": 64}


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """One thing that is not as in the paper."""

    what: str
    paper: str
    here: str


@dataclass(frozen=True, kw_only=True)
class Outdated:
    """A setting with which a row was not trained as the parameter file states now."""

    run: str
    what: str
    trained: str
    now: str


def training_deviations(study: Study) -> list[Deviation]:
    """Return how the trainings differ, by their records; empty for a study that trains nothing."""
    if not study.trained:
        return []
    params = study.params
    sources = sorted(params.datasets[name].source for name in params.names("train"))
    images = training_data(params) if sources != sorted(TRAINING_SOURCES) else TRAINING_IMAGES
    candidates = [
        ("training images", TRAINING_IMAGES, images),
        *((_words(key), _text(getattr(RECIPE, key)), recipe_value(study, key)) for key in _RECIPE_KEYS),
        *(
            (f"{key} of ALKDNet and BSRN", str(value), _sizes(study, key))
            for key, value in PAPER_SIZE.items()
        ),
    ]
    return _different(candidates)


def evaluation_deviations(study: Study) -> list[Deviation]:
    """Return how the evaluation differs from the protocol of Table 4."""
    evaluate = study.params.evaluate
    evaluated = {study.set_label(name) for row in study.rows.values() for name in row.scores}
    candidates = [
        ("test sets of Table 4", ", ".join(SETS), ", ".join(n for n in SETS if n in evaluated) or "none"),
        ("border of the downscaling", "replicate", study.params.downscale.border),
        ("compared channel", "y", evaluate.channel),
        ("luma rounded", "no", _yes(evaluate.round_luma)),
        ("border cut off", "the scale", "the scale" if evaluate.crop is None else f"{evaluate.crop} pixels"),
        ("self-ensemble", "no", _yes(evaluate.self_ensemble)),
        ("tiles", "no", "no" if evaluate.tile is None else f"{evaluate.tile} LR pixels"),
    ]
    return _different(candidates)


def outdated(study: Study) -> list[Outdated]:
    """Return the settings in which trained rows differ from the present parameter file."""
    found = []
    for row in study.trained:
        record = row.record
        if row.recipe is None or record is None or record.training is None:
            continue
        pairs = [
            (_words(key), getattr(row.recipe, key), getattr(study.params.recipe_of(row.name), key))
            for key in _RECIPE_KEYS
        ]
        pairs += [("network", record.network, row.row.network), ("scale", record.scale, row.row.scale)]
        pairs.append(("seed", record.training.seed, study.params.trained[row.name].seed))
        keys = dict.fromkeys([*record.options, *row.row.options])
        pairs += [(key, record.options.get(key), row.row.options.get(key)) for key in keys]
        found += [
            Outdated(run=row.name, what=what, trained=_text(was), now=_text(now))
            for what, was, now in pairs
            if was != now
        ]
    return found


def recipe_value(study: Study, key: str) -> str:
    """Return the values of a setting in the trained rows: as recorded, else as the parameters state."""
    recipes = [row.recipe or study.params.recipe_of(row.name) for row in study.trained]
    return " or ".join(dict.fromkeys(_text(getattr(recipe, key)) for recipe in recipes))


def recipes_in_words(study: Study) -> dict[str, str]:
    """Return the settings of every recipe of the trained rows, by its name, without those that are off."""
    found: dict[str, str] = {}
    for row in study.trained:
        assert isinstance(row.row, Run)
        recipe = row.recipe or study.params.recipe_of(row.name)
        settings = ((key, getattr(recipe, key)) for key in _RECIPE_KEYS)
        found[row.row.recipe] = ", ".join(
            f"{_words(key)} {_text(value)}" for key, value in settings if value not in (None, (), 0)
        )
    return found


def training_data(params: Params) -> str:
    """Return the training sets, with the number of their images where that is known."""
    described = []
    for name in params.names("train"):
        images = source(params.datasets[name].source).images
        described.append(f"{name} ({'a folder of images' if images is None else f'{images} images'})")
    return " and ".join(described) or "none"


_RECIPE_KEYS = tuple(field.name for field in fields(Recipe))


def _different(candidates: list[tuple[str, str, str]]) -> list[Deviation]:
    return [Deviation(what=what, paper=paper, here=here) for what, paper, here in candidates if paper != here]


def _sizes(study: Study, option: str) -> str:
    """Return the values of an option in the trained rows of ALKDNet and BSRN, smallest first."""
    rows = [row for row in study.trained if row.row.network in ("alkdnet", "bsrn")]
    options = [row.record.options if row.record else row.row.options for row in rows]
    values = {_text(each.get(option, PAPER_SIZE[option])) for each in options}
    return ", ".join(sorted(values, key=float)) or str(PAPER_SIZE[option])


def _words(key: str) -> str:
    return key.replace("_", " ")


def _text(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if value in (None, ()):
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _yes(value: bool) -> str:
    return "yes" if value else "no"
