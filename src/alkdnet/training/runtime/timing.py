"""Time and memory of a training, which no output holds."""

from dataclasses import dataclass
from typing import Literal

from alkdnet.process import peak_memory_mib


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One training.

    Attributes:
        weights_sha256: of the weights that it ended with.
        started_ms: when it began (its last part, if it was resumed), in milliseconds since 1970.
        seconds: that it ran, over all of its parts.
        iterations_per_second: between the first and the last row of its history; None: one row.
        device: a GPU's name, or CPU; empty: it was not recorded.
        peak_memory_mib: of the process, in the last part; None: the system does not say.
        peak_gpu_memory_mib: of the process's tensors on the GPU, in the last part; None: it ran on a CPU.
    """

    weights_sha256: str
    started_ms: int
    seconds: float
    iterations_per_second: float | None
    device: str = ""
    peak_memory_mib: float | None = None
    peak_gpu_memory_mib: float | None = None

    def end_ms(self, start_ms: int) -> int:
        """Return when a run that started at `start_ms` would have ended without pauses."""
        return start_ms + round(self.seconds * 1000)


def measure_timing(
    wanted: Literal["auto", "cpu", "cuda"],
    *,
    weights_sha256: str,
    started_ms: int,
    seconds: float,
    iterations_per_second: float | None,
) -> Timing:
    """Return the timing of the training that ends in this process now, with its device and memory.

    Raises:
        UserError: there is no such device.
    """
    import torch  # what reads timings needs none

    from alkdnet.device import choose_device

    device = choose_device(wanted)
    on_gpu = device.type == "cuda"
    return Timing(
        weights_sha256=weights_sha256,
        started_ms=started_ms,
        seconds=seconds,
        iterations_per_second=iterations_per_second,
        device=torch.cuda.get_device_name(device) if on_gpu else "CPU",
        peak_memory_mib=peak_memory_mib(),
        peak_gpu_memory_mib=torch.cuda.max_memory_allocated(device) / 2**20 if on_gpu else None,
    )
