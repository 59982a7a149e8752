"""VDSR: twenty convolutions that learn the difference from the bicubic image.

Kim et al. 2016, "Accurate image super-resolution using very deep convolutional networks",
doi 10.1109/CVPR.2016.182. The authors train one network for all scales.

Parameters at every scale: 665,921.
Verified with the authors' weights: luma of Set5 at x2, x3 and x4.
Shape letters: B batch, H and W the LR size; Hs and Ws the HR size.
"""

from collections.abc import Mapping
from itertools import pairwise

from torch import Tensor, nn

from alkdnet.layers.luma import LumaNetwork, bicubic

# Names in the authors' file: see weights/released.py.
RELEASED_NAMES = ((r"^model\.(weight|bias)\.(\d+)$", r"layers.\2.\1"),)


def arrange_released(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return MATLAB's kernels, rows x columns x in x out, as PyTorch has them; biases as vectors."""
    return {
        # MATLAB drops a last axis of length 1.
        name: tensor.reshape(*tensor.shape[:3], -1).permute(3, 2, 0, 1)
        if name.startswith("model.weight")
        else tensor.flatten()
        for name, tensor in tensors.items()
    }


class VDSR(LumaNetwork):
    """A network for luma: see `LumaNetwork`.

    Args:
        scale: s, 1 or more.
        layers: number of convolutions, at least 2.
        channels: C of the features.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, *, scale: int, layers: int = 20, channels: int = 64) -> None:
        super().__init__()
        if scale < 1 or layers < 2 or channels < 1:
            raise ValueError(
                f"scale {scale}, layers {layers}, channels {channels} must be at least 1, 2 and 1"
            )
        self.scale = scale
        widths = [1, *[channels] * (layers - 1), 1]
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))

    def forward_luma(self, y_B1HW: Tensor) -> Tensor:
        """Return Y of the HR image."""
        bicubic_B1HW = bicubic(y_B1HW, self.scale)
        *hidden, last = self.layers
        features_BCHW = bicubic_B1HW
        for layer in hidden:
            features_BCHW = layer(features_BCHW).relu_()
        out_B1HW: Tensor = bicubic_B1HW + last(features_BCHW)
        return out_B1HW


NETWORK = VDSR
