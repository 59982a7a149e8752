"""The choices on which a published PSNR or SSIM depends, as one object."""

from dataclasses import dataclass
from typing import Literal, Self

from alkdnet.config.params import Evaluate


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a super-resolved image is compared with its original.

    The defaults give ALKDNet's PSNR in Table 4 to the last digit (docs/protocol.md has the measurements).

    Attributes:
        channel: `y`: luma of BT.601 in studio range (16 to 235); `rgb`: the three colours together.
        round_luma: round the luma to integers before the comparison, as code does that keeps it in uint8.
        crop: pixels cut from every side of both images; None: as many as the scale.
        self_ensemble: the network's output is its mean over the eight flips and rotations of the input.
    """

    channel: Literal["y", "rgb"] = "y"
    round_luma: bool = False
    crop: int | None = None
    self_ensemble: bool = False

    @classmethod
    def of(cls, settings: Evaluate) -> Self:
        """Return the protocol of a parameter file."""
        return cls(
            channel=settings.channel,
            round_luma=settings.round_luma,
            crop=settings.crop,
            self_ensemble=settings.self_ensemble,
        )

    def border(self, scale: int) -> int:
        """Return how many pixels are cut from every side at this scale."""
        return scale if self.crop is None else self.crop
