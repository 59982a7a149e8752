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
    for name in ("x/a", "y/a"):
        write_validation(tmp_path / f"{name}.safetensors", pairs)
    first, second = ((tmp_path / name / "a.safetensors").read_bytes() for name in "xy")
    assert first == second
    for found, expected in zip(read_validation(tmp_path / "x", ["a"]), pairs, strict=True):
        for image, original in zip(found, expected, strict=True):
            np.testing.assert_array_equal(image, original)


def test_sets_come_in_the_order_of_their_names_and_other_files_do_not_count(tmp_path: Path) -> None:
    for seed, name in enumerate("abc"):
        write_validation(tmp_path / f"{name}.safetensors", [pair(seed)])
    (tmp_path / "checked").write_text("")
    assert [lr_HWC.shape[0] for lr_HWC, _ in read_validation(tmp_path, ["b", "a"])] == [4, 5]
    assert read_validation(tmp_path, []) == []


def test_a_set_without_a_file_is_reported(tmp_path: Path) -> None:
    write_validation(tmp_path / "a.safetensors", [pair(0)])
    with pytest.raises(UserError, match=r"b\.safetensors: there is no such file; run the stage `validation`"):
        read_validation(tmp_path, ["a", "b"])


def test_a_view_of_a_larger_image_is_written_as_it_is_seen(tmp_path: Path) -> None:
    lr_HWC, hr_HWC = pair(0)
    write_validation(tmp_path / "a.safetensors", [(lr_HWC[1:, ::-1], hr_HWC[:6, :8])])
    ((lr_found, hr_found),) = read_validation(tmp_path, ["a"])
    np.testing.assert_array_equal(lr_found, lr_HWC[1:, ::-1])
    np.testing.assert_array_equal(hr_found, hr_HWC[:6, :8])


@pytest.mark.parametrize("content", [b"", b"no tensors"])
def test_a_damaged_file_is_reported(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.safetensors: damaged \(.*run the stage `validation` again"):
        read_validation(tmp_path, ["a"])
