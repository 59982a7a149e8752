import dataclasses
from pathlib import Path

import pytest

from alkdnet.config.loading import load_pipeline
from alkdnet.config.params import Execution
from alkdnet.errors import UserError
from alkdnet.training.runtime.devices import device_groups

ROOT = Path(__file__).resolve().parents[3]


def _execution(processes: int, device: str = "cuda") -> Execution:
    return dataclasses.replace(load_pipeline("paper", ROOT).execution, processes=processes, device=device)


@pytest.mark.parametrize(
    ("devices", "processes", "groups"),
    [
        ([], 2, []),
        (["0", "1", "2"], 1, ["0", "1", "2"]),
        # The last one has no partner, and would end every training that it got.
        (["0", "1", "2"], 2, ["0,1"]),
    ],
)
def test_a_training_gets_a_gpu_for_each_of_its_processes(
    devices: list[str], processes: int, groups: list[str]
) -> None:
    assert device_groups(devices, _execution(processes)) == groups
    assert device_groups(devices, _execution(processes, device="cpu")) == []


def test_a_training_with_more_processes_than_gpus_is_rejected() -> None:
    with pytest.raises(UserError, match=r"execution\.processes: 2, but there are 1 GPUs"):
        device_groups(["0"], _execution(2))
