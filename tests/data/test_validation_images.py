"""Validation images as plain arrays."""

from pathlib import Path

import numpy as np
import pytest

from alkdnet.data.validation_images import read_validation, write_validation
from alkdnet.errors import UserError


def pair(seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    sizes = ((4 + seed, 5, 3), (8 + 2 * seed, 10, 3))
    lr_HWC, hr_HWC = (random.integers(0, 256, size, dtype=np.uint8) for size in sizes)
    return lr_HWC, hr_HWC


def test_pairs_come_back_in_their_order_and_give_the_same_bytes(tmp_path: Path) -> None:
    pairs = [pair(seed) for seed in range(12)]
    for name in ("a", "b"):
        write_validation(tmp_path / name, pairs)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    for found, expected in zip(read_validation(tmp_path / "a"), pairs, strict=True):
        for image, original in zip(found, expected, strict=True):
            np.testing.assert_array_equal(image, original)


def test_a_view_of_a_larger_image_is_written_as_it_is_seen(tmp_path: Path) -> None:
    lr_HWC, hr_HWC = pair(0)
    write_validation(tmp_path / "a", [(lr_HWC[1:, ::-1], hr_HWC[:6, :8])])
    ((lr_found, hr_found),) = read_validation(tmp_path / "a")
    np.testing.assert_array_equal(lr_found, lr_HWC[1:, ::-1])
    np.testing.assert_array_equal(hr_found, hr_HWC[:6, :8])


@pytest.mark.parametrize("content", [None, b"", b"no tensors"])
def test_a_missing_or_damaged_file_is_reported(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a").write_bytes(content)
    with pytest.raises(UserError, match=r"a: no validation images \(.*; the stage `validation` makes them"):
        read_validation(tmp_path / "a")
