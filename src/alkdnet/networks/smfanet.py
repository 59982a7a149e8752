"""SMFANet: self-modulation feature aggregation network.

Zheng et al. 2024, "SMFANet: a lightweight self-modulation feature aggregation network for efficient image
super-resolution", ECCV 2024, paper 6713; as in the authors' released network.

Parameters at x2 / x3 / x4: 185,628 / 190,503 / 197,328.
Verified with the authors' weights, trained on DIV2K and Flickr2K: Set5 at x2 and x4.
Shape letters: B batch, C channels, H and W the LR size, s the scale; Hs and Ws the HR size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alkdnet.layers.padding import pad_to_minimum

# The non-local branch sees the features at 1/8 of their size.
REDUCTION = 8
# Names in the authors' files: see weights/released.py.
RELEASED_NAMES = (
    (r"^to_feat\.", "shallow."),
    (r"^to_img\.0\.", "tail."),
    (r"^feats\.", "blocks."),
    (r"\.smfa\.alpha$", ".aggregation.maximum_scale"),
    (r"\.smfa\.belt$", ".aggregation.variance_scale"),
    (r"\.smfa\.linear_0\.", ".aggregation.expand."),
    (r"\.smfa\.linear_1\.", ".aggregation.modulate."),
    (r"\.smfa\.linear_2\.", ".aggregation.project."),
    (r"\.smfa\.dw_conv\.", ".aggregation.depthwise."),
    (r"\.smfa\.lde\.conv_0\.", ".aggregation.local."),
    (r"\.smfa\.lde\.conv_1\.", ".aggregation.local.3."),
    (r"\.pcfn\.conv_0\.", ".feed_forward.expand."),
    (r"\.pcfn\.conv_1\.", ".feed_forward.partial."),
    (r"\.pcfn\.conv_2\.", ".feed_forward.reduce."),
)


class SMFANet(nn.Module):
    """Float RGB in [0, 1], (B, 3, H, W) -> (B, 3, Hs, Ws), not clipped.

    Args:
        scale: s, 1 or more.
        blocks: number of feature modulation blocks.
        channels: C of the features, even.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, *, scale: int, blocks: int = 8, channels: int = 36) -> None:
        super().__init__()
        if scale < 1 or blocks < 1:
            raise ValueError(f"scale and blocks must be at least 1, not {scale} and {blocks}")
        if channels < 2 or channels % 2:
            raise ValueError(f"channels must be a multiple of 2, not {channels}")
        self.scale = scale
        self.shallow = nn.Conv2d(3, channels, 3, padding=1)
        self.blocks = nn.Sequential(*(FeatureModulation(channels) for _ in range(blocks)))
        self.fusion = nn.Identity()
        self.tail = nn.Conv2d(channels, 3 * scale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)
        self.minimum_size = REDUCTION

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the HR image. Inputs too small for the pooling are padded and cropped back."""
        height, width = x_BCHW.shape[2] * self.scale, x_BCHW.shape[3] * self.scale
        shallow_BCHW = self.shallow(pad_to_minimum(x_BCHW, self.minimum_size))
        features_BCHW = self.fusion(self.blocks(shallow_BCHW)) + shallow_BCHW
        y_BCHW: Tensor = self.shuffle(self.tail(features_BCHW))
        return y_BCHW[:, :, :height, :width]


class FeatureModulation(nn.Module):
    """FMB: SMFA and PCFN, each on features of unit length at every pixel and with its input added.

    Args:
        channels: C of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.aggregation = SMFA(channels)
        self.feed_forward = PCFN(channels)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the modulated features."""
        x_BCHW = self.aggregation(F.normalize(x_BCHW, dim=1)) + x_BCHW
        out_BCHW: Tensor = self.feed_forward(F.normalize(x_BCHW, dim=1)) + x_BCHW
        return out_BCHW


class SMFA(nn.Module):
    """Self-modulation feature aggregation: a non-local branch (EASA) and one of local details (LDE), added.

    The non-local branch multiplies its features by a mask, which comes from their maxima over 8 x 8 pixels
    and their variance over the whole image.

    Args:
        channels: C of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(channels, 2 * channels, 1)
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.maximum_scale = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.variance_scale = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.modulate = nn.Conv2d(channels, channels, 1)
        self.local = nn.Sequential(
            nn.Conv2d(channels, 2 * channels, 3, padding=1, groups=channels),
            nn.Conv2d(2 * channels, 2 * channels, 1),
            nn.GELU(),
            nn.Conv2d(2 * channels, channels, 1),
        )
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the aggregated features; H and W must be at least 8."""
        height, width = x_BCHW.shape[2:]
        local_BCHW, global_BCHW = self.expand(x_BCHW).chunk(2, dim=1)
        small_BCHW = self.depthwise(
            F.adaptive_max_pool2d(global_BCHW, (height // REDUCTION, width // REDUCTION))
        )
        variance_BC11 = torch.var(global_BCHW, dim=(2, 3), keepdim=True)
        mask_BCHW = F.gelu(
            self.modulate(small_BCHW * self.maximum_scale + variance_BC11 * self.variance_scale)
        )
        modulated_BCHW = global_BCHW * F.interpolate(mask_BCHW, size=(height, width), mode="nearest")
        out_BCHW: Tensor = self.project(modulated_BCHW + self.local(local_BCHW))
        return out_BCHW


class PCFN(nn.Module):
    """Partial-convolution feed-forward network: of 2 C channels inside, a 3 x 3 convolution sees C/2.

    Args:
        channels: C of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden, convolved = 2 * channels, channels // 2
        self.split = [convolved, hidden - convolved]
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.partial = nn.Conv2d(convolved, convolved, 3, padding=1)
        self.reduce = nn.Conv2d(hidden, channels, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return features of C channels."""
        convolved_BCHW, rest_BCHW = torch.split(F.gelu(self.expand(x_BCHW)), self.split, dim=1)
        convolved_BCHW = F.gelu(self.partial(convolved_BCHW))
        out_BCHW: Tensor = self.reduce(torch.cat((convolved_BCHW, rest_BCHW), dim=1))
        return out_BCHW


NETWORK = SMFANet
