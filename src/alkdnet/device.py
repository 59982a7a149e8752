"""Where and with which arithmetic a network computes."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from alkdnet.errors import UserError

Precision = Literal["float32", "tf32", "bfloat16"]

# glibc's parameters of mallopt: M_TRIM_THRESHOLD and M_MMAP_THRESHOLD (malloc.h).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def choose_device(wanted: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """Return the device to use; `auto` takes CUDA where there is one.

    Raises:
        UserError: CUDA is wanted and there is none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("device: cuda is wanted, but PyTorch finds no CUDA device here; use auto or cpu")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


@contextmanager
def arithmetic(device: torch.device, precision: Precision, *, threads: int) -> Iterator[None]:
    """Fix the precision of float32 products on CUDA and the number of CPU threads while the block runs.

    cuDNN takes none of its algorithms that add in another order every time.

    Raises:
        UserError: a reduced precision is wanted on the CPU.
    """
    if device.type == "cpu" and precision != "float32":
        raise UserError(f"precision: {precision} needs a CUDA device; to train on the CPU, set float32")
    cudnn = torch.backends.cudnn
    matmul, convolution, deterministic, before = (
        torch.get_float32_matmul_precision(),
        cudnn.allow_tf32,
        cudnn.deterministic,
        torch.get_num_threads(),
    )
    # PyTorch lets convolutions use TF32 unless told otherwise.
    cudnn.allow_tf32 = precision == "tf32"
    cudnn.deterministic = True
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        cudnn.allow_tf32 = convolution
        cudnn.deterministic = deterministic
        torch.set_float32_matmul_precision(matmul)
        torch.set_num_threads(before)


def keep_freed_memory() -> None:
    """Let the C library keep the memory of freed tensors for the next ones, for the rest of the process.

    By default glibc gives large tensors back to the system and gets them again page by page, each page
    cleared by the kernel: 6 % of a training step on a CPU, a tenth of a forward pass and more. Other C
    libraries are left as they are.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(_MMAP_THRESHOLD, 2**30)
