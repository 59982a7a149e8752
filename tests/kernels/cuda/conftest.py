"""Triton's interpreter, which runs the kernels on a CPU, without two of its defects (triton 3.6)."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _mended_interpreter() -> None:
    """Let `range` take a kernel's argument with NumPy 2.4, and `tl.dot` numbers in bfloat16, not bits."""
    try:
        import triton.language as tl
        from triton.runtime import interpreter
    except ImportError:
        return
    patch_tensor, create_dot = interpreter._patch_lang_tensor, interpreter.InterpreterBuilder.create_dot

    def patch(tensor, scope) -> None:  # type: ignore[no-untyped-def]
        patch_tensor(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())

    def dot(self, a, b, *others):  # type: ignore[no-untyped-def]
        a, b = (self.cast_impl(each, tl.float32) if each.dtype == tl.bfloat16 else each for each in (a, b))
        return create_dot(self, a, b, *others)

    interpreter._patch_lang_tensor = patch
    interpreter.InterpreterBuilder.create_dot = dot


@pytest.fixture
def tensor_cores() -> Iterator[None]:
    """Let tensor cores compute products of float32: proper ones are not the kernels'."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision(before)
