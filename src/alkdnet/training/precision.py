"""What stays in float32 when the rest of a network is trained in bfloat16."""

from functools import partial

import torch
from torch import Tensor, nn

from alkdnet.errors import UserError


def keep_tail_in_float32(model: nn.Module, device_type: str) -> None:
    """Take the model's last convolution, its attribute `tail`, out of automatic mixed precision.

    Eight mantissa bits cannot tell neighbouring pixel values apart, so the image itself is made in float32.
    Only the forward call changes; names and values of the parameters stay.

    Raises:
        UserError: the network has no such attribute.
    """
    tail = getattr(model, "tail", None)
    if not isinstance(tail, nn.Module):
        raise UserError(
            f"recipe.precision: bfloat16 needs a network whose last convolution is its attribute `tail`; "
            f"{type(model).__name__} has none: train it in float32 or tf32"
        )
    tail.forward = partial(_in_float32, type(tail).forward, tail, device_type)


def _in_float32(forward, module: nn.Module, device_type: str, x_BCHW: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
    with torch.autocast(device_type, enabled=False):
        y_BCHW: Tensor = forward(module, x_BCHW.float())
    return y_BCHW
