"""DRRN: a recursive block whose residual unit is used 25 times with the same weights.

Tai et al. 2017, "Image super-resolution via deep recursive residual network", doi 10.1109/CVPR.2017.298:
B1U25. The authors' Caffe network has a batch normalisation of its own before every ReLU; it is left out here,
as in the published parameter count and in later ports. The authors train one network for all scales.

Parameters at every scale: 297,601; of form "port" 297,216.
Not verified: the authors' weights cannot be obtained. Those of the port (jt827859032/DRRN-pytorch) give what
they give in a reference implementation at x2, x3 and x4, on Set5 0.12 to 0.01 dB less than the paper.
Shape letters: B batch, C channels, H and W the LR size; Hs and Ws the HR size.
"""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from alkdnet.layers.luma import LumaNetwork, bicubic

# Names in the file of the port: see weights/released.py.
RELEASED_NAMES = (
    (r"^arg:learned_0$", "shallow.weight"),
    (r"^arg:learned_1$", "unit_first.weight"),
    (r"^arg:learned_2$", "unit_second.weight"),
    (r"^arg:learned_3$", "reconstruction.weight"),
)


class DRRN(LumaNetwork):
    """A network for luma: see `LumaNetwork`.

    Args:
        scale: s, 1 or more.
        units: U, how often the residual unit is applied.
        channels: C of the features.
        form: "paper", or "port": without biases, and what every unit adds is ReLU of the shallow features,
            for the port's ReLU changes them in place.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self, *, scale: int, units: int = 25, channels: int = 128, form: Literal["paper", "port"] = "paper"
    ) -> None:
        super().__init__()
        if min(scale, units, channels) < 1:
            raise ValueError(f"scale {scale}, units {units} and channels {channels} must be at least 1")
        self.scale = scale
        self.units = units
        self.form = form
        bias = form == "paper"
        self.shallow = nn.Conv2d(1, channels, 3, padding=1, bias=bias)
        self.unit_first = nn.Conv2d(channels, channels, 3, padding=1, bias=bias)
        self.unit_second = nn.Conv2d(channels, channels, 3, padding=1, bias=bias)
        self.reconstruction = nn.Conv2d(channels, 1, 3, padding=1, bias=bias)

    def forward_luma(self, y_B1HW: Tensor) -> Tensor:
        """Return Y of the HR image."""
        bicubic_B1HW = bicubic(y_B1HW, self.scale)
        shallow_BCHW = self.shallow(bicubic_B1HW)
        if self.form == "port":
            shallow_BCHW = F.relu(shallow_BCHW)
        features_BCHW = F.relu(shallow_BCHW)
        for _ in range(self.units):
            # In place: new memory for every layer takes a ninth of the time on a CPU.
            inner_BCHW = self.unit_first(features_BCHW).relu_()
            features_BCHW = self.unit_second(inner_BCHW).add_(shallow_BCHW).relu_()
        out_B1HW: Tensor = bicubic_B1HW + self.reconstruction(features_BCHW)
        return out_B1HW


NETWORK = DRRN
