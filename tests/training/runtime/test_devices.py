import pytest

from alkdnet.errors import UserError
from alkdnet.training.runtime.devices import device_groups


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
    assert device_groups(devices, processes=processes) == groups


def test_a_training_with_more_processes_than_gpus_is_rejected() -> None:
    with pytest.raises(UserError, match=r"execution\.processes: 2, but there are 1 GPUs"):
        device_groups(["0"], processes=2)
