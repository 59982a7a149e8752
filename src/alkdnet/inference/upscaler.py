"""From an image to its super-resolution: what every inference goes through.

Shape letters: B batch, H and W the LR size, s the scale.
"""

import copy
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from alkdnet.device import keep_freed_memory
from alkdnet.inference.ensemble import SelfEnsemble
from alkdnet.inference.tiling import Tiled, attentions_of
from alkdnet.kernels.cpu.alkdnet import FastALKDNet
from alkdnet.kernels.cuda.exchange import exchange_kernels, works_for_inference
from alkdnet.layers.luma import LumaNetwork
from alkdnet.networks.alkdnet import ALKDNet
from alkdnet.networks.bsrn import BSRN


class Upscaler:
    """A network ready for inference, by the fastest way there is for it; several threads may call it at once.

    An ALKDNet or BSRN on a CPU runs through `FastALKDNet`, everything else through the network itself
    in channels-last memory, tiles too; on CUDA with the kernels of kernels/cuda. On a CPU the process keeps
    freed memory from then on (`keep_freed_memory`).

    Args:
        model: the network, in float32. It is copied: later changes have no effect, and it is not changed.
        device: where to compute.
        self_ensemble: average over the eight symmetries of the square; takes eight times as long.
        tile: side of tiles in LR pixels, for images too large for the memory; None: whole images. Tiles
            change the result a little and take twice as long and more (docs/inference.md).
        dtype: of weights and features; None: the model's. float16 and bfloat16 are for a GPU, and change the
            result.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        device: torch.device | str = "cpu",
        self_ensemble: bool = False,
        tile: int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self._device, self._dtype = torch.device(device), dtype
        model = copy.deepcopy(model).eval().requires_grad_(False).to(self._device, dtype)
        if self._device.type == "cuda" and works_for_inference(self._device):
            exchange_kernels(model)
        if self._device.type == "cpu":
            keep_freed_memory()
        self._luma = model.forward_luma if isinstance(model, LumaNetwork) else None
        if tile is None:
            self._forward = _fastest(model, self._device)
        else:
            self._forward = Tiled(_channels_last(model), tile=tile, attentions=attentions_of(model))
        if self_ensemble:
            self._forward = SelfEnsemble(self._forward)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the network's output (B, 3, Hs, Ws) for float32 RGB in [0, 1]; not clipped, no gradients."""
        with torch.inference_mode():
            y_BCHW = self._forward(x_BCHW.to(self._device, self._dtype))
        return y_BCHW if self._dtype is None else y_BCHW.float()

    def __call__(
        self, lr_HWC: npt.NDArray[np.uint8], *, on_tile: Callable[[float], None] = lambda _: None
    ) -> npt.NDArray[np.uint8]:
        """Return the image s times as large: the output clipped to [0, 1], times 255, rounded half to even.

        `on_tile` is called after every tile with its share of the image's work.

        Raises:
            ValueError: the image is not uint8 with three channels.
        """
        if lr_HWC.dtype != np.uint8 or lr_HWC.ndim != 3 or lr_HWC.shape[2] != 3:
            raise ValueError(f"the image must be uint8 of shape (H, W, 3), not {lr_HWC.dtype} {lr_HWC.shape}")
        height, width, _ = lr_HWC.shape
        x_BCHW = torch.from_numpy(np.ascontiguousarray(lr_HWC)).permute(2, 0, 1)[None].float().div_(255)
        sr_HWC: npt.NDArray[np.uint8] | None = None
        top = 0
        with torch.inference_mode():
            for band_BCHW in self._bands(x_BCHW, on_tile):
                if sr_HWC is None:
                    s = band_BCHW.shape[3] // width
                    sr_HWC = np.empty((height * s, width * s, 3), np.uint8)
                sr_HWC[top : top + band_BCHW.shape[2]] = self.quantised(band_BCHW[0])
                top += band_BCHW.shape[2]
        assert sr_HWC is not None
        return sr_HWC

    def quantised(self, y_CHW: Tensor) -> npt.NDArray[np.uint8]:
        """Return output of the network as 8-bit pixels HWC."""
        pixels_CHW = y_CHW.clamp(0, 1).mul_(255).round_().to(torch.uint8)
        pixels_HWC: npt.NDArray[np.uint8] = pixels_CHW.permute(1, 2, 0).contiguous().cpu().numpy()
        return pixels_HWC

    def _bands(self, x_BCHW: Tensor, on_tile: Callable[[float], None]) -> Iterator[Tensor]:
        """Yield the output from top to bottom: in tiles a part at a time, as the whole takes much memory."""
        if isinstance(self._forward, Tiled):
            yield from self._forward.bands(x_BCHW.to(self._device, self._dtype), on_tile)
        else:
            yield self.forward(x_BCHW)

    @property
    def luma(self) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]] | None:
        """Return what maps Y of an LR image, HW in [0, 1], to that of the HR image, not clipped.

        It takes whole images, once. None: the network does not work on luma alone.
        """
        return self._upscale_luma if self._luma else None

    def _upscale_luma(self, y_HW: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        assert self._luma is not None
        with torch.inference_mode():
            y_B1HW = torch.from_numpy(y_HW)[None, None].to(self._device, self._dtype)
            upscaled_HW: npt.NDArray[np.float32] = self._luma(y_B1HW)[0, 0].float().cpu().numpy()
        return upscaled_HW


def _fastest(model: nn.Module, device: torch.device) -> Callable[[Tensor], Tensor]:
    single = all(parameter.dtype == torch.float32 for parameter in model.parameters())
    if isinstance(model, ALKDNet | BSRN) and device.type == "cpu" and single:
        return FastALKDNet(model)
    return _channels_last(model)


def _channels_last(model: nn.Module) -> Callable[[Tensor], Tensor]:
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return lambda x_BCHW: model(x_BCHW.contiguous(memory_format=torch.channels_last))
