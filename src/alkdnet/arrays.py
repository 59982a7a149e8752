"""The types of arrays that several packages exchange; importable without an image library."""

import numpy as np
from numpy.typing import NDArray

ImageHWC = NDArray[np.uint8]
"""An 8-bit RGB image, shape (height, width, 3)."""
