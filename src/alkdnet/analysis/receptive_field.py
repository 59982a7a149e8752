"""The effective receptive field of a network."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from alkdnet.errors import UserError


def effective_receptive_field(model: nn.Module, images_BCHW: Tensor) -> Tensor:
    """Return how much every LR pixel matters to the centre of the output, shape HW, float64, with sum 1.

    The gradient of the sum of the s x s HR pixels that lie on the central LR pixel, by the LR image: absolute
    values summed over the colours, averaged over the images, divided by their sum (after Luo et al. 2016).

    Args:
        model: any network that is differentiable by its input.
        images_BCHW: LR images in [0, 1], H and W odd so that there is a central pixel; they pass one by one.

    Raises:
        ValueError: H or W is even, or there is no image.
        UserError: the output has no gradient by the input.
    """
    batch, _, height, width = images_BCHW.shape
    if batch == 0 or height % 2 == 0 or width % 2 == 0:
        raise ValueError(
            f"expected images of odd height and width, not a batch of {tuple(images_BCHW.shape)}"
        )
    field_HW = torch.zeros(height, width, dtype=torch.float64)
    for image_CHW in images_BCHW:
        x_BCHW = image_CHW[None].clone().requires_grad_()
        y_BCHW = model(x_BCHW)
        if not y_BCHW.requires_grad:
            raise UserError(f"{type(model).__name__} has no gradient, so no effective receptive field")
        scale = y_BCHW.shape[2] // height
        top, left = height // 2 * scale, width // 2 * scale
        centre = y_BCHW[:, :, top : top + scale, left : left + scale].sum()
        (gradient_BCHW,) = torch.autograd.grad(centre, x_BCHW)
        field_HW += gradient_BCHW[0].abs().sum(0).double().cpu()
    return field_HW / field_HW.sum()


def receptive_radii(field_HW: Tensor, shares: Sequence[float] = (0.5, 0.9, 0.99)) -> dict[float, int]:
    """Return, for every share, the smallest r so that the central square of 2 r + 1 pixels a side holds it.

    Args:
        field_HW: an effective receptive field, H and W odd, with sum 1.
        shares: of the whole, each above 0 and at most 1.
    """
    height, width = field_HW.shape
    rows_H1 = (torch.arange(height) - height // 2).abs()[:, None]
    columns_1W = (torch.arange(width) - width // 2).abs()[None, :]
    rings = torch.bincount(torch.maximum(rows_H1, columns_1W).flatten(), weights=field_HW.double().flatten())
    held = rings.cumsum(0)
    # The last ring holds everything, whatever the sum's last bit says.
    return {share: min(int((held < share).sum()), len(rings) - 1) for share in shares}
