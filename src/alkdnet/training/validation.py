"""PSNR on a few images while the training goes on."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor, nn

from alkdnet.data.validation_images import Pairs
from alkdnet.device import arithmetic
from alkdnet.evaluation.metrics import psnr
from alkdnet.evaluation.protocol import Protocol


class Validator:
    """Follows the mean PSNR over pairs (LR, HR) by the paper's protocol.

    Args:
        pairs: the images.
        scale: super-resolution factor.
        device: where the network is.
    """

    def __init__(self, pairs: Pairs, *, scale: int, device: torch.device) -> None:
        self._hr = [hr_HWC for _, hr_HWC in pairs]
        self._lr = [torch.from_numpy(lr_HWC).to(device).permute(2, 0, 1)[None] for lr_HWC, _ in pairs]
        self._scale = scale
        self._device = device
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="validation")

    def start(self, model: nn.Module) -> Future[float]:
        """Upscale the images, in float32 proper, and return the PSNR in dB to come.

        On a GPU this only queues the work, between the steps before and after it; a thread waits for the
        images and compares them.
        """
        model.eval()
        with torch.inference_mode(), arithmetic(self._device, "float32", threads=torch.get_num_threads()):
            upscaled = [
                model(lr_BCHW.float() / 255).clamp(0, 1).mul(255).round().to(torch.uint8)
                for lr_BCHW in self._lr
            ]
        model.train()
        return self._thread.submit(self._mean_psnr, upscaled)

    def _mean_psnr(self, upscaled: Sequence[Tensor]) -> float:
        values = [
            psnr(sr_BCHW[0].permute(1, 2, 0).cpu().numpy(), hr_HWC, scale=self._scale, protocol=Protocol())
            for sr_BCHW, hr_HWC in zip(upscaled, self._hr, strict=True)
        ]
        return float(np.mean(values))
