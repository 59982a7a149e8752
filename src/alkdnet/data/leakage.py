"""Finding test images among training images: whoever trains on them reports a PSNR that means nothing.

Two images are held for the same picture when their thumbnails agree: gray, 32x32 pixels, without frame and
coarse brightness, turned and mirrored in all ways, by the cosine of the angle between them. That survives
rescaling, JPEG compression, a changed brightness, margins and a crop of a few pixels; it does not find a
small part of a picture. Of two such images the pixels tell whether they are one and the same.

test_images.json beside this file knows published test sets in that way, so that their images are found also
where a pipeline does not test on them. docs/data.md says how it is made.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt

from alkdnet.data.augmentation import augment
from alkdnet.data.images import collect_problems, gray_thumbnails, list_images, read_rgb
from alkdnet.errors import UserError
from alkdnet.files import read_json, write_json

_SIZE = 32
# Of the square: what `augment` makes of a training image, a test image may not be either.
_SYMMETRIES = 8
# Frames are plain, or compressed ones with noise: both are tried on a training image, since what is taken for
# a frame of the noisy kind may be sky.
_NOISES = (4, 16)
# Strangers reach 0.44, copies as described above go down to 0.76: see docs/data.md.
_SAME = 0.7
_KNOWN = Path(str(files("alkdnet.data") / "test_images.json"))


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """What is remembered of test images.

    `names` for messages; `pixels`: SHA-256 of size and RGB values; `signatures`: shape (images, 1024), unit
    vectors whose products are the cosines between images: 1 for equal ones, near 0 for strangers. An image of
    one colour has zeros, and resembles nothing.
    """

    names: tuple[str, ...]
    pixels: tuple[str, ...]
    signatures: npt.NDArray[np.float32]


def refuse_overlaps(training: Sequence[Path], test: Sequence[Path]) -> None:
    """Check that no image in the folders `training` is in the folders `test` or in a published test set.

    Raises:
        UserError: some are, or images cannot be read; all of them are named.
    """
    own = describe([path for folder in test for path in list_images(folder)])
    overlaps = find_overlaps([path for folder in training for path in list_images(folder)], [own, known()])
    if overlaps:
        raise UserError("\n".join([*overlaps, "leave these out of the training set"]))


def find_overlaps(training: Sequence[Path], tests: Iterable[Fingerprints]) -> list[str]:
    """Return a line for every training image that is, or shows the same picture as, a test image.

    It names the most similar test image, of equally similar ones the first.

    Raises:
        UserError: images cannot be read; all of them are named.
    """
    tests = tuple(tests)
    names = [name for images in tests for name in images.names]
    pixels = [digest for images in tests for digest in images.pixels]
    if not names or not training:
        return []
    views = _views(np.concatenate([images.signatures for images in tests]))
    similarity = np.max([signatures @ views.T for signatures in _signatures(training, _NOISES)], axis=0)
    lines = []
    for path, row in zip(training, similarity, strict=True):
        view = int(row.argmax())
        if row[view] < _SAME:
            continue
        nearest, augmentation = divmod(view, _SYMMETRIES)
        # Only here: equal pixels have equal thumbnails, and to decode every image once more takes long.
        digest = _digest(path)
        if digest in pixels:
            lines.append(f"{path}: is test image {names[pixels.index(digest)]}, pixel for pixel")
        else:
            shown = f"similarity {row[view]:.2f}{', turned or mirrored' if augmentation else ''}"
            lines.append(f"{path}: shows the same picture as test image {names[nearest]} ({shown})")
    return lines


def describe(paths: Sequence[Path]) -> Fingerprints:
    """Return what is to be remembered of images, named by their paths.

    Raises:
        UserError: images cannot be read; all of them are named.
    """
    digests: dict[Path, str] = {}

    def digest(path: Path) -> None:
        digests[path] = _digest(path)

    _raise_all(collect_problems(digest, paths, description="digest the test images"))
    (signatures,) = _signatures(paths, _NOISES[:1])
    return Fingerprints(tuple(map(str, paths)), tuple(digests[path] for path in paths), signatures)


def known() -> Fingerprints:
    """Return the images of the published test sets that test_images.json holds: Set5, Set14 and BSD100."""
    rows = read_json(_KNOWN)
    return Fingerprints(
        tuple(row["name"] for row in rows),
        tuple(row["pixels"] for row in rows),
        np.stack([_unpacked(row["signature"]) for row in rows]),
    )


def write_known(root: Path, sets: Sequence[str], target: Path = _KNOWN) -> None:
    """Write test_images.json from the images in `root/<set>`, where `alkdnet download` puts them.

    Raises:
        UserError: images cannot be read; all of them are named.
    """
    paths = [path for name in sets for path in list_images(root / name)]
    images = describe(paths)
    rows = [
        {"name": path.relative_to(root).as_posix(), "pixels": digest, "signature": _packed(signature)}
        for path, digest, signature in zip(paths, images.pixels, images.signatures, strict=True)
    ]
    write_json(target, rows)


def _packed(signature: npt.NDArray[np.float32]) -> str:
    """Return a signature in 1024 signed bytes, as text; that moves its cosines by less than 0.003."""
    largest = max(float(np.abs(signature).max()), 1e-6)
    return base64.b64encode(np.rint(signature * (127 / largest)).astype(np.int8).tobytes()).decode("ascii")


def _unpacked(text: str) -> npt.NDArray[np.float32]:
    return _unit(np.frombuffer(base64.b64decode(text), dtype=np.int8).astype(np.float32))


def _digest(path: Path) -> str:
    """Return the SHA-256 of an image's size and pixels, whatever the format of its file."""
    image_HWC = read_rgb(path, alpha="black")
    height, width = image_HWC.shape[:2]
    return hashlib.sha256(f"{width}x{height}\n".encode() + image_HWC.tobytes()).hexdigest()


def _signatures(paths: Sequence[Path], noises: Sequence[int]) -> npt.NDArray[np.float32]:
    """Return the `signatures` of images, less frames of each noise: shape (noises, images, 1024)."""
    signatures = np.zeros((len(noises), len(paths), _SIZE * _SIZE), dtype=np.float32)
    position = {path: i for i, path in enumerate(paths)}

    def sign(path: Path) -> None:
        for i, thumbnail in enumerate(gray_thumbnails(path, _SIZE, noises)):
            detail = _without_coarse(thumbnail.astype(np.float32))
            signatures[i, position[path]] = _unit(detail.reshape(-1))

    _raise_all(collect_problems(sign, paths, description="look for test images"))
    return signatures


def _views(signatures: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the signatures of all symmetries of each image, shape (images * 8, 1024)."""
    views = [
        augment(signature.reshape(_SIZE, _SIZE), augmentation)
        for signature in signatures
        for augmentation in range(_SYMMETRIES)
    ]
    return np.stack(views).reshape(len(views), -1)


def _unit(vector: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return vector / np.float32(max(float(np.linalg.norm(vector)), 1e-6))


def _without_coarse(thumbnail: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Subtract the mean of the 9x9 pixels around each pixel: skies and horizons make strangers alike."""
    padded = np.pad(thumbnail, 4, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (9, 9))
    coarse: npt.NDArray[np.float32] = windows.mean(axis=(2, 3), dtype=np.float32)
    return thumbnail - coarse


def _raise_all(problems: Sequence[str]) -> None:
    if problems:
        raise UserError("\n".join(problems))
