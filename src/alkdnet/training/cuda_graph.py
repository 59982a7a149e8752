"""A training step as one CUDA graph: thousands of kernels by one launch."""

import contextlib
import logging
from collections.abc import Callable

import torch
from torch import Tensor

from alkdnet.errors import in_one_line

logger = logging.getLogger(__name__)

# Calls before the recording: libraries load, kernels are compiled, the optimizer makes its state.
WARM_UP = 3


class GraphedFunction:
    """Calls a function, and after the first three calls replays what it does on the GPU.

    The first calls are ordinary ones, so that nothing is computed for a warm-up alone, and recording computes
    nothing at all. When it fails, a warning says why, and all calls stay ordinary.

    Args:
        function: takes tensors of the same shapes in every call. What it changes must be tensors, which are
            changed in place, and it must not look at a value.
    """

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self._function = function
        self._calls = 0
        self._recording: Recording | None = None
        self._side = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Return the function's result, which the next call may overwrite."""
        self._calls += 1
        if self._calls <= WARM_UP:
            return self._on_side_stream(*inputs)
        if self._calls == WARM_UP + 1:
            self._recording = self._record(*inputs)
        return self._function(*inputs) if self._recording is None else self._recording.replay(*inputs)

    def _on_side_stream(self, *inputs: Tensor) -> Tensor:
        """Call the function on a stream of its own, as PyTorch asks for before a recording."""
        current = torch.cuda.current_stream()
        self._side.wait_stream(current)
        with torch.cuda.stream(self._side):
            output = self._function(*inputs)
        current.wait_stream(self._side)
        return output

    def _record(self, *inputs: Tensor) -> "Recording | None":
        try:
            return Recording(self._function, *inputs)
        except RuntimeError as error:  # whatever CUDA refuses, memory included
            # An error within the recording makes its end fail too, and that error hides the first one.
            reason = in_one_line(error.__context__ or error)
            logger.warning("the training goes on without a CUDA graph of its step, slower: %s", reason)
            return None


class Recording:
    """What a function does on the GPU, with its inputs and its result at fixed addresses.

    Args:
        function: is called once; its kernels are recorded and do not run.
        inputs: tensors with the shapes and strides of all later ones.

    Raises:
        RuntimeError: the function does something that cannot be recorded, or there is not enough memory.
    """

    def __init__(self, function: Callable[..., Tensor], *inputs: Tensor) -> None:
        self._inputs = [tensor.clone() for tensor in inputs]
        self._graph = torch.cuda.CUDAGraph()
        pool = torch.cuda.graph_pool_handle()
        try:
            # The outer context restores the current stream, which the inner one does not do if its end fails.
            with (
                torch.cuda.stream(torch.cuda.current_stream()),
                # Meanwhile the sampler's and the validation's threads use CUDA, which "global" would forbid.
                torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"),
            ):
                self._output = function(*self._inputs)
        except RuntimeError:
            _release(pool)
            raise

    def replay(self, *inputs: Tensor) -> Tensor:
        """Return the function's result; the inputs are copied to their places, and nothing waits."""
        for place, tensor in zip(self._inputs, inputs, strict=True):
            place.copy_(tensor, non_blocking=True)
        self._graph.replay()
        return self._output


def _release(pool: tuple[int, int]) -> None:
    """Return the memory of a recording that failed, which PyTorch before 2.12 believes to go on for ever.

    As long as it does, it frees no memory for a larger tensor and begins no other recording: both end in an
    internal error.

    Source: https://github.com/pytorch/pytorch/pull/180395.
    """
    device = torch.cuda.current_device()
    # It has ended and the memory is back, or these functions have other names.
    with contextlib.suppress(RuntimeError, AttributeError):
        torch._C._cuda_endAllocateToPool(device, pool)
        torch._C._cuda_releasePool(device, pool)
