r"""Assemble the folder that travels to a borrowed GPU for benchmarks/gpu.py, and reject what would not fit.

    PYTHONPATH=src python -m benchmarks.gpu_pack --photos photos --tests data --out .gpu \
        [--resume earlier]

    photos/         the first photographs in the order of their names, as they are, byte for byte
    tests/<set>/    the HR images of the test sets as lossless WebP: two thirds of their size, the same pixels
    earlier/        from the --out of an earlier visit: checkpoints, results, and the records of finished runs

All visits, and the pipeline study/ here, must train on the same photographs: the digest of their pixels is
part of a checkpoint's identity. So their number is a constant; it leaves room for the test sets, the
repository and one checkpoint. `--out` must be ignored by git (`echo /.gpu/ >>.git/info/exclude`) and is to be
named among what is carried; `--photos` of study/ is then its folder `photos`.
"""

import argparse
import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from alkdnet.data.images import list_images, read_rgb
from alkdnet.errors import UserError
from alkdnet.files import atomic_directory

# What may travel: the repository's files and the folder made here, together.
LIMIT_BYTES = 64 * 2**20
PHOTOGRAPHS = 225
TESTS = ("set5", "set14", "bsd100")


def pack_photographs(source: Path, target: Path, count: int) -> None:
    """Copy the first `count` photographs of a folder.

    Raises:
        UserError: there are fewer.
    """
    photographs = list_images(source)
    if len(photographs) < count:
        raise UserError(f"{source}: {len(photographs)} photographs; the study trains on {count}")
    target.mkdir()
    for path in photographs[:count]:
        shutil.copyfile(path, target / path.name)


def pack_tests(source: Path, target: Path) -> None:
    """Write the HR images of a set as lossless WebP.

    Raises:
        UserError: there are no images, or one cannot be read.
    """
    if not source.is_dir() or not (paths := list_images(source)):
        raise UserError(f"{source}: no test images; `alkdnet download` fetches them")
    target.mkdir(parents=True)
    for path in paths:
        image_HWC = read_rgb(path)
        buffer = io.BytesIO()
        Image.fromarray(image_HWC).save(buffer, "WEBP", lossless=True, quality=50, method=4)
        copy = target / f"{path.stem}.webp"
        copy.write_bytes(buffer.getvalue())
        if not np.array_equal(read_rgb(copy), image_HWC):
            raise UserError(f"{path}: this Pillow's lossless WebP is not lossless")


def pack_earlier(source: Path, target: Path) -> None:
    """Copy of an earlier visit's archives what the next one needs: all but the weights."""
    target.mkdir()
    with tarfile.open(target / "runs-0.tar", "w") as kept:
        for archive in sorted(source.glob("*.tar")):
            with tarfile.open(archive) as tar:
                for member in tar.getmembers():
                    if Path(member.name).suffix in (".ckpt", ".json", ".csv"):
                        kept.addfile(member, tar.extractfile(member))


def repository_bytes(root: Path, left_out: Path) -> int:
    """Return the size of the files that git tracks or would, without those of a folder.

    Raises:
        UserError: the folder lies in the repository and git does not ignore it.
    """
    listed = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    files = [root / name for name in listed if name and (root / name).is_file()]
    if left_out.is_relative_to(root):
        ignored = subprocess.run(["git", "check-ignore", "-q", str(left_out / "x")], cwd=root).returncode == 0
        if not ignored:
            name = left_out.relative_to(root)
            raise UserError(f"{name}: git does not ignore it; echo '/{name}/' >>.git/info/exclude")
    return sum(path.stat().st_size for path in files)


def folder_bytes(folder: Path) -> int:
    """Return the size of all files under a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def assemble(arguments: argparse.Namespace, root: Path) -> str:
    """Make the folder; return what is in it, in words.

    Raises:
        UserError: something is missing, or it is more than may travel: then nothing is left of it.
    """
    target = arguments.out.resolve()
    code = repository_bytes(root, target)
    with atomic_directory(target) as folder:
        pack_photographs(arguments.photos, folder / "photos", arguments.count)
        for name in TESTS:
            pack_tests(arguments.tests / name, folder / "tests" / name)
        if arguments.resume is not None:
            pack_earlier(arguments.resume, folder / "earlier")
        sizes = {path.name: folder_bytes(path) for path in sorted(folder.iterdir())}
        sizes["repository"] = code
        words = ", ".join(f"{name} {size / 2**20:.1f}" for name, size in sizes.items())
        total = sum(sizes.values())
        if total > LIMIT_BYTES:
            limit = f"{LIMIT_BYTES / 2**20:.0f}"
            raise UserError(f"{total / 2**20:.1f} MiB are more than the {limit} that may travel: {words}")
    return (
        f"{arguments.out}: {arguments.count} photographs; MiB: {words}; "
        f"together {total / 2**20:.1f} of {LIMIT_BYTES / 2**20:.0f}"
    )


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, stdout=subprocess.PIPE, text=True, check=True).stdout


def main() -> None:
    """Read the command line and assemble the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--tests", type=Path, required=True, help="folder with set5/, set14/ and bsd100/")
    parser.add_argument("--out", type=Path, required=True, help="the folder to make; one there is replaced")
    parser.add_argument("--resume", type=Path, help="the --out of an earlier visit")
    parser.add_argument(
        "--count", type=int, default=PHOTOGRAPHS, help="of photographs; the study's by default"
    )
    try:
        print(assemble(parser.parse_args(), Path(_git(Path.cwd(), "rev-parse", "--show-toplevel").strip())))
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
