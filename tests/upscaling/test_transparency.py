import numpy as np

from alkdnet.upscaling.transparency import fill_transparent


def test_the_colour_of_the_visible_edge_is_below_transparent_pixels() -> None:
    image_HWC = np.zeros((1, 6, 3), np.uint8)
    alpha_HW = np.array([[0, 0, 255, 9, 0, 0]], np.uint8)
    image_HWC[0, 2], image_HWC[0, 3] = (200, 10, 10), (10, 200, 10)
    filled_HWC = fill_transparent(image_HWC, alpha_HW)
    assert filled_HWC[0, :, 0].tolist() == [200, 200, 200, 10, 10, 10]
    assert image_HWC[0, 0, 0] == 0


def test_without_visible_or_transparent_pixels_nothing_changes() -> None:
    image_HWC = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    for alpha in (0, 255):
        filled_HWC = fill_transparent(image_HWC, np.full((2, 2), alpha, np.uint8))
        np.testing.assert_array_equal(filled_HWC, image_HWC)
