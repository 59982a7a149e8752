"""The cost of a network by counting: parameters, Multi-Adds and activations at a given input size.

Published Multi-Adds follow several rules. Three are counted here, all for one image, all without biases:

- `multi_adds`: the rule of the paper's own figures, that of thop 0.1.1. Convolutions with every kernel
  position counted, also those that meet padding; a transposed convolution as k^2 Cin for every output
  element; 4 for every element of a layer normalisation; an average pooling to one value per channel as its
  input plus its output elements; 1 for every element of a PReLU. Everything else is free.
- `multi_adds_convolutions`: convolutions only; a transposed convolution as the k^2 Cout products that every
  input element really takes.
- `multi_adds_by_torch`: what torch.utils.flop_counter counts, halved.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from alkdnet.layers.attention import CCA
from alkdnet.results.costs import Cost


def lr_size(scale: int, *, hr_height: int = 720, hr_width: int = 1280) -> tuple[int, int]:
    """Return (H, W) of an HR image's LR image: of 1280 x 720 it is 360 x 640, 240 x 427, 180 x 320, ..."""
    return round(hr_height / scale), round(hr_width / scale)


def count(model: nn.Module, *, lr_height: int, lr_width: int) -> Cost:
    """Count a network's cost for one RGB image of the given LR size.

    The network runs on the meta device: shapes only, no arithmetic and no memory for features.
    """
    parameters = sum(parameter.numel() for parameter in model.parameters())
    counter = _Counter()
    if parameters:  # a network without parameters interpolates outside torch, and is free by both rules
        shadow = copy.deepcopy(model).to("meta").eval()
        with torch.inference_mode(), counter.watching(shadow):
            shadow(torch.empty(1, 3, lr_height, lr_width, device="meta"))
    return Cost(
        parameters=parameters,
        multi_adds=counter.convolutions_thop + counter.others,
        multi_adds_convolutions=counter.convolutions,
        activations=counter.activations,
    )


def multi_adds_by_torch(model: nn.Module, *, lr_height: int, lr_width: int) -> int:
    """Return the Multi-Adds by PyTorch's own counter: of all convolutions and matrix products."""
    shadow = copy.deepcopy(model).to("meta").eval().requires_grad_(False)
    counter = FlopCounterMode(display=False)
    with counter:
        shadow(torch.empty(1, 3, lr_height, lr_width, device="meta"))
    return counter.get_total_flops() // 2


class _Counter:
    """Adds up what passes through the modules of a network; a module that runs twice counts twice."""

    def __init__(self) -> None:
        self.convolutions = self.convolutions_thop = self.others = self.activations = 0

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        handles = [module.register_forward_hook(self._see) for module in model.modules()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _see(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        match module:
            case nn.Conv2d():
                products = output.numel() * module.weight[0].numel()
                self.convolutions += products
                self.convolutions_thop += products
                self.activations += output.numel()
            case nn.ConvTranspose2d():
                self.convolutions += inputs[0].numel() * module.weight[0].numel()
                self.convolutions_thop += output.numel() * module.weight[:, 0].numel() // module.groups
                self.activations += output.numel()
            case nn.LayerNorm():
                self.others += 4 * output.numel()
            case nn.PReLU():
                self.others += output.numel()
            case nn.AdaptiveAvgPool2d():
                self.others += inputs[0].numel() + output.numel()
            case CCA():  # thop sees the pooling of its mean and nothing of its standard deviation
                self.others += inputs[0].numel() + inputs[0].shape[:2].numel()
