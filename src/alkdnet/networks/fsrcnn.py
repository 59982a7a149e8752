"""FSRCNN: SRCNN's successor, which works on the LR grid and enlarges by a transposed convolution.

Dong et al. 2016, "Accelerating the super-resolution convolutional neural network",
doi 10.1007/978-3-319-46475-6_25: FSRCNN(56, 12, 4).

Parameters at every scale: 12,809.
Not verified: there are no weights of the authors. Third-party weights (yjn870/FSRCNN-pytorch) give what they
give in a reference implementation, at x3 0.6 dB less than the paper.
Shape letters: B batch, H and W the LR size; Hs and Ws the HR size.
"""

from torch import Tensor, nn

from alkdnet.layers.luma import LumaNetwork

# Names in the third-party files: see weights/released.py.
RELEASED_NAMES = (
    (r"^first_part\.", "extraction."),
    (r"^mid_part\.([01])\.", r"shrinking.\1."),
    (r"^mid_part\.([2-9])\.", r"mapping.<\1-2>."),
    (r"^mid_part\.(1[01])\.", r"expanding.<\1-10>."),
    (r"^last_part\.", "reconstruction."),
)


class FSRCNN(LumaNetwork):
    """A network for luma: see `LumaNetwork`.

    Args:
        scale: s, 1 to 9: the transposed convolution is 9 x 9.
        channels: d of the paper, width of extraction and reconstruction.
        mapping_channels: s of the paper, width of the mapping layers.
        mapping_layers: m of the paper.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self, *, scale: int, channels: int = 56, mapping_channels: int = 12, mapping_layers: int = 4
    ) -> None:
        super().__init__()
        if not 1 <= scale <= 9:
            raise ValueError(f"scale must be from 1 to 9, not {scale}")
        if min(channels, mapping_channels, mapping_layers) < 1:
            raise ValueError("channels, mapping_channels and mapping_layers must be at least 1")
        self.scale = scale
        self.extraction = nn.Sequential(nn.Conv2d(1, channels, 5, padding=2), nn.PReLU(channels))
        self.shrinking = nn.Sequential(nn.Conv2d(channels, mapping_channels, 1), nn.PReLU(mapping_channels))
        self.mapping = nn.Sequential()
        for _ in range(mapping_layers):
            self.mapping.append(nn.Conv2d(mapping_channels, mapping_channels, 3, padding=1))
            self.mapping.append(nn.PReLU(mapping_channels))
        self.expanding = nn.Sequential(nn.Conv2d(mapping_channels, channels, 1), nn.PReLU(channels))
        self.reconstruction = nn.ConvTranspose2d(
            channels, 1, 9, stride=scale, padding=4, output_padding=scale - 1
        )

    def forward_luma(self, y_B1HW: Tensor) -> Tensor:
        """Return Y of the HR image."""
        features_BCHW = self.mapping(self.shrinking(self.extraction(y_B1HW)))
        out_B1HW: Tensor = self.reconstruction(self.expanding(features_BCHW))
        return out_B1HW


NETWORK = FSRCNN
