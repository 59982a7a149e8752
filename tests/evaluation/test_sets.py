from pathlib import Path

import pytest
from alkdnet.evaluation.sets import benchmark_set

from alkdnet.config.loading import load_params
from alkdnet.config.paths import Paths
from alkdnet.errors import UserError
from alkdnet.evaluation.benchmark import read_pair
from alkdnet.files import write_json


def test_a_set_is_as_its_descriptor_says(repository: Path, tmp_path: Path) -> None:
    params, paths = load_params(repository / "params.yaml"), Paths(tmp_path, "demo")
    write_json(paths.descriptor("embedded_test"), {"name": "embedded_test", "images": 5, "files": []})
    found = benchmark_set(params, paths, "embedded_test", 3)
    assert (found.expected, found.lr_folder) == (5, tmp_path / "lr/test/embedded_test/x3")


def test_a_set_that_was_taken_out_of_the_parameters_is_told_as_missing(
    repository: Path, tmp_path: Path
) -> None:
    """A detail of a figure may still name it."""
    params, paths = load_params(repository / "params.yaml"), Paths(tmp_path, "demo")
    with pytest.raises(UserError, match="urban100: the folder of its images is missing"):
        read_pair(benchmark_set(params, paths, "urban100", 2), "img024", 2)
