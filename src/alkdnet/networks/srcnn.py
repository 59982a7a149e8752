"""SRCNN: the first convolutional network for super-resolution, on the luma of the bicubic image.

Dong et al. 2014 and 2016, "Image super-resolution using deep convolutional networks",
doi 10.1109/TPAMI.2015.2439281. Every convolution repeats the border, as the authors' test code does.

Parameters at every scale: 57,281 (9-5-5), 8,129 (9-1-5).
Verified with the authors' weights of 9-5-5: luma of Set5 and Set14 at x2, x3 and x4.
Shape letters: B batch, H and W the LR size; Hs and Ws the HR size.
"""

from collections.abc import Mapping
from math import isqrt
from typing import Literal

from torch import Tensor, nn

from alkdnet.layers.luma import LumaNetwork, bicubic

# Names in the authors' files: see weights/released.py.
RELEASED_NAMES = (
    (r"^weights_(conv\d)$", r"\1.weight"),
    (r"^biases_(conv\d)$", r"\1.bias"),
    (r"^conv1\.", "extraction."),
    (r"^conv2\.", "mapping."),
    (r"^conv3\.", "reconstruction."),
)


def arrange_released(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the authors' arrays, [in x] pixels [x out], as kernels, out x in x rows x columns.

    Their pixels count down the columns, as everything in MATLAB does.
    """
    arranged = {}
    for name, tensor in tensors.items():
        if name.startswith("biases_"):
            arranged[name] = tensor.flatten()
        elif name.startswith("weights_"):
            inputs_pixels_outputs = {"weights_conv1": tensor[None], "weights_conv3": tensor[..., None]}
            kernels = inputs_pixels_outputs.get(name, tensor).permute(2, 0, 1)
            side = isqrt(kernels.shape[2])
            arranged[name] = kernels.reshape(*kernels.shape[:2], side, side).transpose(2, 3)
        else:
            arranged[name] = tensor
    return arranged


class SRCNN(LumaNetwork):
    """A network for luma: see `LumaNetwork`.

    Args:
        scale: s, 1 or more.
        kernels: sizes of the three convolutions. The published PSNRs and Multi-Adds are of 9-5-5, the
            published parameter count of 9-1-5.

    Raises:
        ValueError: the scale is less than 1.
    """

    def __init__(self, *, scale: int, kernels: Literal["9-5-5", "9-1-5"] = "9-5-5") -> None:
        super().__init__()
        if scale < 1:
            raise ValueError(f"scale must be at least 1, not {scale}")
        self.scale = scale
        self.extraction = _convolution(1, 64, 9)
        self.mapping = _convolution(64, 32, 5 if kernels == "9-5-5" else 1)
        self.reconstruction = _convolution(32, 1, 5)

    def forward_luma(self, y_B1HW: Tensor) -> Tensor:
        """Return Y of the HR image."""
        features_BCHW = self.extraction(bicubic(y_B1HW, self.scale)).relu()
        out_B1HW: Tensor = self.reconstruction(self.mapping(features_BCHW).relu())
        return out_B1HW


def _convolution(in_channels: int, out_channels: int, kernel_size: int) -> nn.Conv2d:
    return nn.Conv2d(
        in_channels, out_channels, kernel_size, padding=kernel_size // 2, padding_mode="replicate"
    )


NETWORK = SRCNN
