"""Batches: the sampling distribution, and that every way to crop them gives the same bytes."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch

from alkdnet.data.augmentation import augment
from alkdnet.data.images import write_png
from alkdnet.data.lr import downscale_folder
from alkdnet.data.packing import TrainingSet, pack
from alkdnet.data.packs import PackedImages
from alkdnet.data.sampler import Draw, PatchSampler, augment_batch, crop_patches, draw, gather, steps
from alkdnet.errors import UserError

CPU = torch.device("cpu")
SCALE, PATCH = 3, 5


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> PackedImages:
    """Three noise images whose sizes are no multiples of the scale, the second as low as a patch."""
    folder = tmp_path_factory.mktemp("packs")
    random = np.random.default_rng(0)
    for name, size in (("a", (40, 34)), ("b", (16, 50)), ("c", (29, 61))):
        write_png(folder / f"hr/{name}.png", random.integers(0, 256, (*size, 3), dtype=np.uint8))
    downscale_folder(folder / "hr", folder / "lr", [SCALE])
    pack([TrainingSet("noise", folder / "hr", folder / "lr")], folder / "patches", {SCALE: 1})
    return PackedImages.open(folder / "patches", SCALE)


def plainly(packed: PackedImages, drawn: Draw, scale: int) -> npt.NDArray[np.uint8]:
    """The definition: slice, augment."""
    images = (packed.lr if scale == 1 else packed.hr).images()
    size = PATCH * scale
    patches = []
    for i, row, column, bits in zip(
        drawn.image, drawn.row * scale, drawn.column * scale, drawn.augmentation, strict=True
    ):
        patches.append(augment(images[i][row : row + size, column : column + size], int(bits)))
    return np.stack(patches)


def test_the_augmentations_are_the_symmetries_of_the_square() -> None:
    patch = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    by_flip_and_rotation = {
        np.rot90(flipped, turns).tobytes() for flipped in (patch, patch[:, ::-1]) for turns in range(4)
    }
    assert {augment(patch, bits).tobytes() for bits in range(8)} == by_flip_and_rotation
    assert len(by_flip_and_rotation) == 8


@pytest.mark.parametrize("scale", [1, SCALE])
def test_all_ways_to_crop_agree(packed: PackedImages, scale: int) -> None:
    drawn = draw(packed, seed=3, iteration=7, patch_size=PATCH, count=100)
    assert set(drawn.augmentation.tolist()) == set(range(8))
    expected = plainly(packed, drawn, scale)
    one = packed.lr if scale == 1 else packed.hr
    np.testing.assert_array_equal(crop_patches(one.images(), drawn, patch_size=PATCH, scale=scale), expected)
    walk = torch.from_numpy(steps(one, drawn, patch_size=PATCH, scale=scale))
    gathered = gather(torch.tensor(one.flat), walk, size=PATCH * scale)
    np.testing.assert_array_equal(gathered.numpy(), expected)
    plain = crop_patches(
        one.images(), replace(drawn, augmentation=drawn.augmentation * 0), patch_size=PATCH, scale=scale
    )
    np.testing.assert_array_equal(
        augment_batch(torch.from_numpy(plain), drawn.augmentation).numpy(), expected
    )


def test_a_batch_is_a_function_of_seed_and_iteration(packed: PackedImages) -> None:
    def sampler(seed: int) -> PatchSampler:
        return PatchSampler(packed, seed=seed, batch_size=4, patch_size=PATCH, device=CPU)

    first = sampler(1)
    in_order = [first.batch(i) for i in range(3)]
    alone_lr, alone_hr = sampler(1).batch(2)
    assert torch.equal(in_order[2][0], alone_lr)
    assert torch.equal(in_order[2][1], alone_hr)
    assert not torch.equal(in_order[1][0], alone_lr)
    assert not torch.equal(sampler(2).batch(2)[0], alone_lr)


@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize("processes", [1, 2, 4])
def test_processes_share_the_batch(packed: PackedImages, processes: int, resident: bool) -> None:
    whole = PatchSampler(packed, seed=5, batch_size=8, patch_size=PATCH, device=CPU).batch(11)
    shares = [
        PatchSampler(
            packed,
            seed=5,
            batch_size=8,
            patch_size=PATCH,
            device=CPU,
            resident=resident,
            rank=rank,
            world_size=processes,
        ).batch(11)
        for rank in range(processes)
    ]
    for side in (0, 1):
        assert torch.equal(torch.cat([share[side] for share in shares]), whole[side])


def test_tensors_are_channels_last_and_in_the_unit_range(packed: PackedImages) -> None:
    lr, hr = PatchSampler(packed, seed=0, batch_size=16, patch_size=PATCH, device=CPU).batch(0)
    assert lr.shape == (16, 3, PATCH, PATCH)
    assert hr.shape == (16, 3, PATCH * SCALE, PATCH * SCALE)
    assert lr.is_contiguous(memory_format=torch.channels_last)
    drawn = draw(packed, seed=0, iteration=0, patch_size=PATCH, count=16)
    expected = plainly(packed, drawn, 1).astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(lr.permute(0, 2, 3, 1).numpy(), expected)


def test_samples_are_uniform_over_images_then_positions_then_augmentations(packed: PackedImages) -> None:
    count = 24_000
    drawn = draw(packed, seed=0, iteration=0, patch_size=PATCH, count=count)

    def uniform(values: npt.NDArray[np.int64], among: int) -> None:
        counts = np.bincount(values, minlength=among)
        assert len(counts) == among
        # Chi-squared with among - 1 degrees of freedom; 5 standard deviations, and the draw is fixed.
        expected = len(values) / among
        chi = ((counts - expected) ** 2 / expected).sum()
        assert chi <= among - 1 + 5 * np.sqrt(2 * (among - 1))

    uniform(drawn.image, 3)
    uniform(drawn.augmentation, 8)
    for i, (height, width) in enumerate(zip(packed.lr.heights, packed.lr.widths, strict=True)):
        of_image = drawn.image == i
        uniform(drawn.row[of_image], height - PATCH + 1)
        uniform(drawn.column[of_image], width - PATCH + 1)


def test_the_stream_is_pinned(packed: PackedImages) -> None:
    # From Philox 4x64-10 as published (Salmon et al. 2011), in Python's integers: key (0, 0), counters
    # (1, 0, 1, 0), (2, 0, 1, 0), (3, 0, 1, 0). A change would silently change every training.
    drawn = draw(packed, seed=0, iteration=1, patch_size=PATCH, count=3)
    actual = (drawn.image, drawn.row, drawn.column, drawn.augmentation)
    assert [values.tolist() for values in actual] == [[1, 2, 0], [0, 2, 0], [1, 13, 2], [2, 5, 2]]


def test_samples_do_not_depend_on_the_size_of_the_batch(packed: PackedImages) -> None:
    large = draw(packed, seed=9, iteration=4, patch_size=PATCH, count=32)
    part = draw(packed, seed=9, iteration=4, patch_size=PATCH, first=10, count=6)
    np.testing.assert_array_equal(large.image[10:16], part.image)
    np.testing.assert_array_equal(large.column[10:16], part.column)


def test_images_smaller_than_a_patch_are_rejected(packed: PackedImages) -> None:
    with pytest.raises(UserError, match=r"1 LR images of x3 .* 6x6 pixels: noise/b \(16x5\); leave"):
        PatchSampler(packed, seed=0, batch_size=4, patch_size=6, device=CPU)


def test_a_batch_that_cannot_be_divided_is_rejected(packed: PackedImages) -> None:
    with pytest.raises(UserError, match="a batch of 8 patches cannot be shared evenly by 3 processes"):
        PatchSampler(packed, seed=0, batch_size=8, patch_size=PATCH, device=CPU, world_size=3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.filterwarnings("default")  # the host's PyTorch is its own, and so are its deprecations
@pytest.mark.parametrize("resident", [False, True])
def test_a_gpu_gets_the_same_batches(packed: PackedImages, resident: bool) -> None:
    on_cpu = PatchSampler(packed, seed=5, batch_size=8, patch_size=PATCH, device=CPU)
    on_gpu = PatchSampler(
        packed, seed=5, batch_size=8, patch_size=PATCH, device=torch.device("cuda"), resident=resident
    )
    for iteration in (0, 1, 2, 9, 10):
        for expected, actual in zip(on_cpu.batch(iteration), on_gpu.batch(iteration), strict=True):
            assert torch.equal(expected, actual.cpu())
