"""Colours of transparent pixels, which must not show in the large image."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from alkdnet.arrays import ImageHWC


def fill_transparent(rgb_HWC: ImageHWC, alpha_HW: npt.NDArray[np.uint8]) -> ImageHWC:
    """Return the image with the colour of the nearest visible pixel below every fully transparent one.

    Cut-outs are often black there: a network, which mixes neighbours, would draw a dark fringe along the
    edge. Without any visible pixel the image stays as it is.
    """
    hidden_HW = alpha_HW == 0
    if not hidden_HW.any() or hidden_HW.all():
        return rgb_HWC
    nearest = ndimage.distance_transform_edt(hidden_HW, return_distances=False, return_indices=True)
    filled_HWC: ImageHWC = np.ascontiguousarray(rgb_HWC[nearest[0], nearest[1]])
    return filled_HWC
