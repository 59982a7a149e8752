"""ALKDNet and BSRN written the plain way, after the facts alone: the reference for speed and for equality.

It shares no code with `alkdnet.networks` and bears the names of the authors' released files, so that
their weights load into it untranslated: what it computes from them is what an importer has to reproduce.
NCHW memory throughout; a normalisation is permute, `nn.LayerNorm`, permute back.
"""

import torch
from torch import Tensor, nn

from alkdnet.networks.alkdnet import ALKDNet
from alkdnet.networks.bsrn import BSRN
from alkdnet.weights.released import released_names


class PlainBSConv(nn.Module):
    """Pointwise, then depthwise 3 x 3."""

    def __init__(self, c_in: int, c_out: int, *, stride: int = 1, padding: int = 1) -> None:
        super().__init__()
        self.pw = nn.Conv2d(c_in, c_out, (1, 1), bias=False)
        self.dw = nn.Conv2d(c_out, c_out, (3, 3), (stride, stride), (padding, padding), groups=c_out)

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolved features."""
        y: Tensor = self.dw(self.pw(x))
        return y


class PlainNorm(nn.LayerNorm):
    """Layer normalisation over the channels of an NCHW tensor, to an NCHW tensor."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised features."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).contiguous()


class PlainALKConv(nn.Module):
    """Pointwise, three depthwise branches with GELU, their sum normalised."""

    def __init__(self, c_in: int, c_out: int, k: int) -> None:
        super().__init__()
        self.pw = nn.Conv2d(c_in, c_out, 1, bias=False)
        self.LoRA1 = nn.Conv2d(c_out, c_out, (k, 1), padding=(k // 2, 0), groups=c_out)
        self.LoRA2 = nn.Conv2d(c_out, c_out, (1, k), padding=(0, k // 2), groups=c_out)
        self.small_conv = nn.Conv2d(c_out, c_out, 3, padding=1, groups=c_out)
        self.norm = PlainNorm(c_out, eps=1e-6)
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolved features."""
        x = self.pw(x)
        x = self.act(self.LoRA1(x)) + self.act(self.LoRA2(x)) + self.act(self.small_conv(x))
        y: Tensor = self.norm(x)
        return y


class PlainESA(nn.Module):
    """Enhanced spatial attention."""

    def __init__(self, c: int, padding: int) -> None:
        super().__init__()
        f = c // 4
        self.conv1 = nn.Conv2d(c, f, 1)
        self.conv_f = nn.Conv2d(f, f, 1)
        self.conv_max = PlainBSConv(f, f)
        self.conv2 = PlainBSConv(f, f, stride=2, padding=padding)
        self.conv3 = PlainBSConv(f, f)
        self.conv3_ = PlainBSConv(f, f)
        self.conv4 = nn.Conv2d(f, c, 1)
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        """Return the input times its mask."""
        c1_ = self.conv1(x)
        v_max = nn.functional.max_pool2d(self.conv2(c1_), kernel_size=7, stride=3)
        c3 = self.act(self.conv3(self.act(self.conv_max(v_max))))
        c3 = nn.functional.interpolate(self.conv3_(c3), x.shape[-2:], mode="bilinear", align_corners=False)
        return x * torch.sigmoid(self.conv4(c3 + self.conv_f(c1_)))


class PlainCCA(nn.Module):
    """Contrast-aware channel attention."""

    def __init__(self, c: int) -> None:
        super().__init__()
        hidden = max(1, c // 16)
        self.conv_du = nn.Sequential(
            nn.Conv2d(c, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, c, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the input times its weight per channel."""
        mean = x.mean((2, 3), keepdim=True)
        contrast = ((x - mean) ** 2).mean((2, 3), keepdim=True).sqrt()
        y: Tensor = x * self.conv_du(contrast + mean)
        return y


class PlainBlock(nn.Module):
    """Distillation block."""

    def __init__(self, c: int, k: int, *, large: bool, norm: bool, esa_padding: int) -> None:
        super().__init__()

        def conv(c_in: int, c_out: int) -> nn.Module:
            return PlainALKConv(c_in, c_out, k) if large else PlainBSConv(c_in, c_out)

        self.c1_d, self.c1_r = nn.Conv2d(c, c // 2, 1), conv(c, c)
        self.c2_d, self.c2_r = nn.Conv2d(c, c // 2, 1), conv(c, c)
        self.c3_d, self.c3_r = nn.Conv2d(c, c // 2, 1), conv(c, c)
        self.c4 = conv(c, c // 2)
        self.c5 = nn.Conv2d(2 * c, c, 1)
        self.esa = PlainESA(c, esa_padding)
        self.cca = PlainCCA(c)
        if norm:
            self.pixel_norm = PlainNorm(c, eps=1e-5)
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        """Return the refined features."""
        d1, r1 = self.act(self.c1_d(x)), self.act(self.c1_r(x) + x)
        d2, r2 = self.act(self.c2_d(r1)), self.act(self.c2_r(r1) + r1)
        d3, r3 = self.act(self.c3_d(r2)), self.act(self.c3_r(r2) + r2)
        d4 = self.act(self.c4(r3))
        out: Tensor = self.cca(self.esa(self.c5(torch.cat([d1, d2, d3, d4], 1))))
        return (self.pixel_norm(out) if hasattr(self, "pixel_norm") else out) + x


class PlainALKDNet(nn.Module):
    """The whole network; inputs must be large enough for ESA (13 pixels, 15 with esa_padding 0)."""

    def __init__(
        self,
        *,
        scale: int,
        blocks: int = 8,
        channels: int = 64,
        kernel_size: int = 9,
        convolution: str = "alkconv",
        fusion: str = "alkconv",
        residual: str = "both",
        block_norm: bool = True,
        esa_padding: int = 1,
        input_copies: int = 4,
    ) -> None:
        super().__init__()
        c = channels
        self.scale, self.n, self.m, self.residual = scale, blocks, input_copies, residual
        self.fea_conv = PlainBSConv(3 * input_copies, c)
        for i in range(blocks):
            block = PlainBlock(
                c, kernel_size, large=convolution == "alkconv", norm=block_norm, esa_padding=esa_padding
            )
            self.add_module(f"B{i + 1}", block)
        self.c1 = nn.Conv2d(c * blocks, c, 1)
        self.c2 = PlainALKConv(c, c, 3) if fusion == "alkconv" else PlainBSConv(c, c)
        self.c_up = nn.Conv2d(c, 3 * scale * scale, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the HR image."""
        fea = self.fea_conv(torch.cat([x] * self.m, 1))
        out, outs = fea, []
        for i in range(self.n):
            out = self.get_submodule(f"B{i + 1}")(out)
            outs.append(out)
        out = self.c2(nn.functional.gelu(self.c1(torch.cat(outs, 1))))
        if self.residual != "abrl":
            out = out + fea
        out = self.c_up(out)
        if self.residual != "fsrl":
            anchor = torch.stack([x] * self.scale**2, 2)  # (B, 3, s^2, H, W)
            out = out + anchor.flatten(1, 2)
        return nn.functional.pixel_shuffle(out, self.scale)


def copy_weights(model: ALKDNet | BSRN, plain: PlainALKDNet) -> None:
    """Fill the plain network with the weights of the library's."""
    ours = released_names(plain.state_dict(), model)
    weights = model.state_dict()
    plain.load_state_dict({theirs: weights[our] for theirs, our in ours.items()})
