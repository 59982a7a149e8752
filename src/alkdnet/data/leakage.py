"""Finding test images among training images: a PSNR of images that were trained on means nothing.

Two images show the same picture if the cosine similarity of their thumbnails is high: 32x32 gray pixels,
without frame and coarse brightness, in all rotations and reflections. That survives rescaling, JPEG
compression, a changed brightness, margins and a crop by a few pixels; a small part of a picture is not found.
Whether two such images are identical is decided by their pixels.

test_images.json beside this file has the signatures of published test sets, so that their images are found
even where a pipeline does not test on them. docs/data.md says how it is made.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from alkdnet.data.augmentation import augment
from alkdnet.data.images import collect_problems, gray_thumbnails, list_images, read_rgb
from alkdnet.errors import UserError, raise_problems
from alkdnet.files import read_json, write_json

_SIZE = 32
# Of the square: a test image may not be any augmentation of a training image either.
_SYMMETRIES = 8
# Frames are plain, or have the noise of compression: both are tried on a training image, since what is taken
# for a frame with noise may be sky.
_NOISES = (4, 16)
# Different pictures reach 0.44, all but strongly cropped copies at least 0.71: see docs/data.md.
_SAME = 0.7
_KNOWN = Path(str(files("alkdnet.data") / "test_images.json"))


@dataclass(frozen=True)
class Overlap:
    """A training image that shows the same picture as a test image.

    `test`: the path of the image, or its name in a published set; `similarity`: the cosine, up to 1, or that
    size and pixels are equal.
    """

    training: Path
    test: str
    similarity: float | Literal["identical"]

    def __str__(self) -> str:
        if self.similarity == "identical":
            return f"{self.training}: is identical to test image {self.test}"
        return (
            f"{self.training}: shows the same picture as test image {self.test} "
            f"(similarity {self.similarity:.2f})"
        )


@dataclass(frozen=True, eq=False)
class Signatures:
    """What is kept of test images.

    `names` for messages; `pixels`: SHA-256 of size and RGB values; `vectors`: shape (images, 1024), unit
    vectors whose products are the cosine similarities: 1 for equal images, near 0 for different ones. An
    image of one colour has zeros, and is similar to nothing.
    """

    names: tuple[str, ...]
    pixels: tuple[str, ...]
    vectors: npt.NDArray[np.float32]


def write_leakage(path: Path, training: Sequence[Path], tests: Sequence[Path]) -> None:
    """Write a JSON file that says how many training images were checked and that none is a test image.

    `training`, `tests`: folders of images. The published test sets are checked too, so that the file does not
    depend on which test sets there are.

    Raises:
        UserError: training images are test images, or images cannot be read; all of them are named.
    """
    images = [image for folder in training for image in list_images(folder)]
    own = describe([image for folder in tests for image in list_images(folder)])
    overlaps = [str(overlap) for overlap in find_overlaps(images, [own, known()])]
    raise_problems([*overlaps, "leave these images out of the training set"] if overlaps else [])
    write_json(path, {"training_images": len(images)})


def find_overlaps(training: Sequence[Path], tests: Iterable[Signatures]) -> list[Overlap]:
    """Return an overlap for every training image that shows the same picture as a test image.

    It has the most similar test image, of equally similar ones the first.

    Raises:
        UserError: images cannot be read; all of them are named.
    """
    tests = tuple(tests)
    names = [name for images in tests for name in images.names]
    pixels = [sha256 for images in tests for sha256 in images.pixels]
    if not names or not training:
        return []
    views = _views(np.concatenate([images.vectors for images in tests]))
    similarity = np.max([vectors @ views.T for vectors in _vectors(training, _NOISES)], axis=0)
    overlaps = []
    for path, row in zip(training, similarity, strict=True):
        view = int(row.argmax())
        if row[view] < _SAME:
            continue
        # Only here: equal pixels have equal thumbnails, and decoding every image again takes long.
        sha256 = _pixels(path)
        if sha256 in pixels:
            overlaps.append(Overlap(path, names[pixels.index(sha256)], "identical"))
        else:
            overlaps.append(Overlap(path, names[view // _SYMMETRIES], float(row[view])))
    return overlaps


def describe(paths: Sequence[Path]) -> Signatures:
    """Return the signatures of images, named by their paths.

    Raises:
        UserError: images cannot be read; all of them are named.
    """
    pixels: dict[Path, str] = {}

    def digest(path: Path) -> None:
        pixels[path] = _pixels(path)

    raise_problems(collect_problems(digest, paths, description="digest the test images"))
    (vectors,) = _vectors(paths, _NOISES[:1])
    return Signatures(tuple(map(str, paths)), tuple(pixels[path] for path in paths), vectors)


def known() -> Signatures:
    """Return the signatures of the published test sets in test_images.json."""
    rows = read_json(_KNOWN)
    return Signatures(
        tuple(row["name"] for row in rows),
        tuple(row["pixels"] for row in rows),
        np.stack([_unpacked(row["signature"]) for row in rows]),
    )


def write_known(root: Path, sets: Sequence[str], target: Path = _KNOWN) -> None:
    """Write test_images.json from the images in `root/<set>`, where `alkdnet download` puts them.

    Raises:
        UserError: a set has no images, or they cannot be read; all of them are named.
    """
    if empty := [name for name in sets if not (root / name).is_dir() or not list_images(root / name)]:
        raise UserError(f"{root}: no images of {', '.join(empty)}; `alkdnet download` fetches them")
    paths = [path for name in sets for path in list_images(root / name)]
    images = describe(paths)
    rows = [
        {"name": path.relative_to(root).as_posix(), "pixels": sha256, "signature": _packed(vector)}
        for path, sha256, vector in zip(paths, images.pixels, images.vectors, strict=True)
    ]
    write_json(target, rows)


def _packed(vector: npt.NDArray[np.float32]) -> str:
    """Return a vector in 1024 signed bytes, as text; that changes its cosines by less than 0.003."""
    largest = max(float(np.abs(vector).max()), 1e-6)
    return base64.b64encode(np.rint(vector * (127 / largest)).astype(np.int8).tobytes()).decode("ascii")


def _unpacked(text: str) -> npt.NDArray[np.float32]:
    return _unit(np.frombuffer(base64.b64decode(text), dtype=np.int8).astype(np.float32))


def _pixels(path: Path) -> str:
    """Return the SHA-256 of an image's size and pixels, whatever the format of its file."""
    image_HWC = read_rgb(path, alpha="black")
    height, width = image_HWC.shape[:2]
    return hashlib.sha256(f"{width}x{height}\n".encode() + image_HWC.tobytes()).hexdigest()


def _vectors(paths: Sequence[Path], noises: Sequence[int]) -> npt.NDArray[np.float32]:
    """Return the `vectors` of images without frames of each noise: shape (noises, images, 1024)."""
    vectors = np.zeros((len(noises), len(paths), _SIZE * _SIZE), dtype=np.float32)
    position = {path: i for i, path in enumerate(paths)}

    def sign(path: Path) -> None:
        for i, thumbnail in enumerate(gray_thumbnails(path, _SIZE, noises)):
            detail = _without_coarse(thumbnail.astype(np.float32))
            vectors[i, position[path]] = _unit(detail.reshape(-1))

    raise_problems(collect_problems(sign, paths, description="look for test images"))
    return vectors


def _views(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the vectors of all symmetries of each image, shape (images * 8, 1024)."""
    views = [
        augment(vector.reshape(_SIZE, _SIZE), augmentation)
        for vector in vectors
        for augmentation in range(_SYMMETRIES)
    ]
    return np.stack(views).reshape(len(views), -1)


def _unit(vector: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return vector / np.float32(max(float(np.linalg.norm(vector)), 1e-6))


def _without_coarse(thumbnail: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Subtract the mean of the 9x9 pixels around each pixel: with skies and horizons any two are similar."""
    padded = np.pad(thumbnail, 4, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (9, 9))
    coarse: npt.NDArray[np.float32] = windows.mean(axis=(2, 3), dtype=np.float32)
    return thumbnail - coarse
