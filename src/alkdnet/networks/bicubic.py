"""Bicubic interpolation, the baseline of every table, as a network without parameters.

The values are those of MATLAB's `imresize(uint8, s, "bicubic")`, bit for bit.
"""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from alkdnet.data.resize import upscale
from alkdnet.layers.luma import LumaNetwork, bicubic


class Bicubic(LumaNetwork):
    """RGB in [0, 1], (B, 3, H, W) -> (B, 3, Hs, Ws), the 256 levels of uint8 in float; it has no gradient.

    Args:
        scale: s, 1 or more.
        border: MATLAB's edition: "replicate" before about 2015, "symmetric" since.

    Raises:
        ValueError: the scale is less than 1.
    """

    def __init__(self, *, scale: int, border: Literal["replicate", "symmetric"] = "replicate") -> None:
        super().__init__()
        if scale < 1:
            raise ValueError(f"scale must be at least 1, not {scale}")
        self.scale = scale
        self.border = border

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Round the input to uint8 and return its interpolation."""
        images_BHWC = (
            (x_BCHW.detach().float().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        )
        upscaled_BHWC = np.stack([upscale(image, self.scale, border=self.border) for image in images_BHWC])
        y_BCHW = torch.from_numpy(upscaled_BHWC).permute(0, 3, 1, 2)
        return y_BCHW.to(x_BCHW.device, x_BCHW.dtype) / 255

    def forward_luma(self, y_B1HW: Tensor) -> Tensor:
        """Return the interpolation of Y, not rounded and not clipped; its border is symmetric."""
        return bicubic(y_B1HW, self.scale)


NETWORK = Bicubic
