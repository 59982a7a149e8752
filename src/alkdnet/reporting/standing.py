"""The box at the head of a report: what its numbers are, and are not."""

from collections.abc import Sequence

from alkdnet.config.params import Params
from alkdnet.reporting.deviations import Deviation, stale_trainings, training_deviations
from alkdnet.results.tree import Results


def standing(params: Params, results: Results) -> str:
    """Return the box that says what these numbers are, and are not."""
    kinds = [run.kind for run in params.runs.values()]
    lines = []
    if "trained" in kinds:
        deviations = training_deviations(params, results)
        if deviations:
            lines.append(
                "**The trained rows are not a reproduction of the paper's numbers.** "
                + _short(params, deviations)
            )
        else:
            lines.append("Trained by the paper's recipe, on its images, for its number of iterations.")
        trained = [run for run in results.runs.values() if run.run.kind == "trained"]
        waiting = [run.name for run in trained if run.standing == "waiting"]
        if waiting:
            lines.append(f"{len(waiting)} of {kinds.count('trained')} runs are not trained yet.")
        if stale := stale_trainings(params, results):
            lines.append(
                f"**{len(stale)} of {kinds.count('trained')} runs were not trained as the parameter file "
                "states now:** see below."
            )
    if "released" in kinds:
        lines.append(
            "Rows marked *authors' weights* were not trained here: they are the weights that the "
            "networks' authors released, evaluated by this project."
        )
    unmeasured = [run for run in results.runs.values() if run.run.kind == "released" and not run.scores]
    if unmeasured:
        lines.append(
            f"{len(unmeasured)} of {kinds.count('released')} released networks are not measured here: see "
            "[what is missing](#what-is-missing)."
        )
    if len(lines) > 1:
        lines = [f"{line}\n>" for line in lines[:-1]] + lines[-1:]
    return "\n".join(f"> {line}" for line in lines)


def _short(params: Params, deviations: Sequence[Deviation]) -> str:
    """Return the two deviations that weigh most, and how many others there are."""
    named = {each.what: each for each in deviations}
    parts = []
    if (iterations := named.pop("iterations", None)) is not None:
        parts.append(f"for {iterations.here} iterations instead of {iterations.paper}")
    if (images := named.pop("training images", None)) is not None:
        parts.append(f"on {images.here} instead of {images.paper}")
    others = "Differences in " + ", ".join(named) + " come on top; see below." if named else ""
    return " ".join(part for part in (f"Trained {' '.join(parts)}." if parts else "", others) if part)
