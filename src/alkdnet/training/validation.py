"""PSNR on a few images while the training goes on."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from alkdnet.evaluation.metrics import psnr
from alkdnet.evaluation.protocol import Protocol
from alkdnet.models.device import arithmetic

ImageHWC = NDArray[np.uint8]


def validation_psnr(
    model: nn.Module, pairs: Sequence[tuple[ImageHWC, ImageHWC]], *, scale: int, device: torch.device
) -> float:
    """Return the mean PSNR in dB over the pairs (LR, HR), by the paper's protocol: in float32 proper."""
    protocol = Protocol()
    values = []
    with torch.inference_mode(), arithmetic(device, "float32", threads=torch.get_num_threads()):
        for lr_HWC, hr_HWC in pairs:
            x_BCHW = torch.from_numpy(lr_HWC).to(device).permute(2, 0, 1)[None].float() / 255
            y_BCHW = model(x_BCHW).clamp(0, 1).mul(255).round().to(torch.uint8)
            sr_HWC = y_BCHW[0].permute(1, 2, 0).cpu().numpy()
            values.append(psnr(sr_HWC, hr_HWC, scale=scale, protocol=protocol))
    return float(np.mean(values))
