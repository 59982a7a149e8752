"""Which GPUs of a host the trainings get that run side by side."""

from collections.abc import Sequence

from alkdnet.errors import UserError


def device_groups(devices: Sequence[str], *, processes: int) -> list[str]:
    """Return the GPUs of each training at a time, as CUDA_VISIBLE_DEVICES names them; empty without GPUs.

    Args:
        devices: all GPUs.
        processes: of one training, each of which takes one.

    Raises:
        UserError: there are GPUs, but too few for one training.
    """
    groups = [devices[at : at + processes] for at in range(0, len(devices) - processes + 1, processes)]
    if devices and not groups:
        raise UserError(f"execution.processes: {processes}, but there are {len(devices)} GPUs")
    return [",".join(group) for group in groups]
