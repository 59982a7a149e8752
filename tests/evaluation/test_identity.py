"""What determines the scores of a row is what its stage depends on."""

import pytest

from alkdnet.evaluation.identity import DECIDING
from alkdnet.files import python_files
from tests.test_policy import DVC, ROOT


@pytest.mark.parametrize("stage", ["evaluate", "evaluate_bicubic"])
def test_the_stage_depends_on_nothing_else(stage: str) -> None:
    deps = {dep for dep in DVC[stage]["do"]["deps"] if dep.startswith("src/")}
    covered = {"src/alkdnet/networks/${item.network}.py", "src/alkdnet/networks/bicubic.py"}
    deciding = {f"src/alkdnet/{name}" for name in DECIDING}
    assert {dep for dep in deps - covered if not dep.startswith(tuple(deciding))} == set()
    if stage == "evaluate":
        assert deciding - deps == {"src/alkdnet/data/resize.py"}  # of bicubic interpolation alone


def test_every_deciding_path_holds_code() -> None:
    assert all(python_files(ROOT / "src" / "alkdnet", [name]) for name in DECIDING)
