"""The sums of all programs of a launch, added up in one fixed order: the same bits every time.

Atomic additions, the usual way, have a different order each time. PyTorch's own reduction of so many short
rows takes two to seven times as long.

Shape letters: P programs, L values.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from alkdnet.kernels.cuda.launching import Tiling

# Columns of a program, and rows that it adds at once.
COLUMNS, ROWS = 16, 128


@triton.jit(do_not_specialize=["programs"])
def _add_up(sums, out, programs, length, L: tl.constexpr, N: tl.constexpr):
    l_L = tl.program_id(0) * L + tl.arange(0, L)
    total_NL = tl.zeros([N, L], tl.float32)
    for first in range(0, programs, N):
        n_N1 = (first + tl.arange(0, N))[:, None]
        mask_NL = (n_N1 < programs) & (l_L < length)[None, :]
        total_NL += tl.load(sums + n_N1.to(tl.int64) * length + l_L[None, :], mask=mask_NL, other=0.0)
    tl.store(out + l_L, tl.sum(total_NL, 0), mask=l_L < length)


def program_sums(plan: Tiling, length: int, device: torch.device) -> Tensor:
    """Return a place for `length` sums of every program."""
    return torch.empty(plan.grid[0] * plan.grid[1], length, dtype=torch.float32, device=device)


def add_up(sums_PL: Tensor, out_L: Tensor | None = None) -> Tensor:
    """Return the totals over the programs, in `out_L` if it is given."""
    programs, length = sums_PL.shape
    if out_L is None:
        out_L = sums_PL.new_empty(length)
    with torch.cuda.device_of(sums_PL):
        _add_up[(-(-length // COLUMNS),)](
            sums_PL, out_L, programs, length, L=COLUMNS, N=ROWS, num_warps=8
        )  # fmt: skip
    return out_L
