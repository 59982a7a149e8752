"""The test sets of a pipeline, as its parameters and paths describe them."""

from alkdnet.config.params import Params
from alkdnet.config.paths import Paths
from alkdnet.evaluation.benchmark import BenchmarkSet
from alkdnet.files import read_json


def benchmark_set(params: Params, paths: Paths, name: str, scale: int) -> BenchmarkSet:
    """Return the set `name` with its LR images of one scale; one that is not in the parameters has none."""
    known = params.datasets.get(name)
    return BenchmarkSet(
        name=name,
        hr_folder=paths.raw("test", name),
        lr_folder=paths.lr("test", name, scale),
        expected=read_json(paths.descriptor(name))["images"] if known else None,
        alpha=known.alpha if known else "refuse",
    )
