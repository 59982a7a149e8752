"""The command line. What a command needs is imported inside it, so that `--help` answers at once."""

import logging
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alkdnet.errors import UserError, in_words

if TYPE_CHECKING:
    from alkdnet.sources.catalogue import Source

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _mirror(value: str | None) -> str | None:
    """Return the mirror: an empty value counts as none, `~` is the home directory."""
    if not value:
        return None
    return value if "://" in value else str(Path(value).expanduser())


Root = Annotated[Path, typer.Option(help="Folder of the downloaded sets, one folder each.")]
Mirror = Annotated[
    str | None,
    typer.Option(
        envvar="ALKDNET_MIRROR",
        callback=_mirror,
        help="Folder or base URL that has https://host/path at <mirror>/host/path; no other server is used.",
    ),
]
_ROOT = Path("data")


class Device(StrEnum):
    """The choices of `--device`."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


@app.callback()
def alkdnet() -> None:
    """ALKDNet: data sets, and upscaling of pictures. Experiments are run with DVC: see README.md."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)


@app.command()
def download(
    sets: Annotated[list[str], typer.Argument(help="Names as `alkdnet data` lists them.", metavar="SET...")],
    root: Root = _ROOT,
    mirror: Mirror = None,
) -> None:
    """Download data sets or released weights into ROOT/SET; an interrupted download is continued."""
    from alkdnet.sources.catalogue import source

    # All names first: a misspelt last one should not be reported after hours.
    problems = []
    wanted = [source(name) for name in sets]
    if any(chosen.kind == "folder" for chosen in wanted):
        raise UserError("folder: that is a folder of your own, there is nothing to download")
    for chosen in wanted:
        try:
            typer.echo(_fetched(chosen, root, mirror))
        except UserError as error:
            problems.append(str(error))
        except OSError as error:
            problems.append(f"{chosen.name}: {in_words(error)}")
        except KeyboardInterrupt:
            typer.echo(
                f"{chosen.name}: interrupted; the same command continues from what has arrived", err=True
            )
            raise typer.Exit(130) from None
    if problems:
        raise UserError("\n".join(problems))


@app.command()
def data(root: Root = _ROOT) -> None:
    """List the data sets and weights: use, state, files, size, licence.

    The state is judged by names and sizes; `alkdnet download` verifies checksums.
    """
    from alkdnet.data.disk import size
    from alkdnet.sources.catalogue import SOURCES
    from alkdnet.sources.inventory import state

    rows = [("set", "use", "state", "files", "size", "licence")]
    for entry in SOURCES.values():
        rows.append(
            (
                entry.name,
                ", ".join(entry.uses),
                state(entry, root / entry.name, root / ".downloads"),
                str(entry.images or "-"),
                size(entry.bytes) if entry.files else "-",
                entry.licence,
            )
        )
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        typer.echo("  ".join(cells).rstrip())
    typer.echo("The state is judged by names and sizes; `alkdnet download SET` verifies checksums.", err=True)


@app.command()
def upscale(
    source: Annotated[Path, typer.Argument(help="Any 8-bit image.")],
    target: Annotated[Path, typer.Argument(help="The larger image: .png, .tif, .webp, .bmp or .jpg.")],
    scale: Annotated[int, typer.Option(min=2, max=4, help="How many times as wide and as high.")] = 4,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="File of weights of a run, or a .pth of ALKDNet's authors; else weights/alkdnet_x<scale>."
        ),
    ] = None,
    released: Annotated[
        bool, typer.Option("--released", help="Take the authors' weights, downloaded to ROOT at need.")
    ] = False,
    tile: Annotated[
        int | None,
        typer.Option(
            min=96, help="Side of tiles in pixels, for images that do not fit into memory; take 192 or more."
        ),
    ] = None,
    device: Annotated[
        Device, typer.Option(help="Where to compute; auto takes a CUDA device when there is one.")
    ] = Device.AUTO,
    root: Root = _ROOT,
    mirror: Mirror = None,
) -> None:
    """Write an image SCALE times as large as SOURCE; transparency is kept."""
    if released and weights is not None:
        raise UserError("give --weights or --released, not both")
    path = _released_weights(scale, root, mirror) if released else weights or _own_weights(scale)

    import torch

    from alkdnet.device import arithmetic, choose_device
    from alkdnet.inference.upscaler import Upscaler
    from alkdnet.upscaling import open_model, upscale_file

    chosen = choose_device(device.value)
    network = Upscaler(open_model(path, scale), device=chosen, tile=tile)
    with arithmetic(chosen, "float32", threads=torch.get_num_threads()):
        height, width = upscale_file(source, target, network, scale=scale)
    typer.echo(f"{target}: {width}x{height}, with {path}")


@app.command()
def verify(
    pipeline: Annotated[str, typer.Argument(help="Its name: demo, paper, ...")] = "demo",
    psnr: Annotated[float, typer.Option(min=0, help="Largest difference of a PSNR in dB.")] = 0.02,
    ssim: Annotated[float, typer.Option(min=0, help="Largest difference of an SSIM.")] = 0.0005,
) -> None:
    """Compare the results of PIPELINE in this folder with those of the last commit; exit 1 if they differ."""
    from alkdnet.config.paths import Paths
    from alkdnet.results.verify import verify as compare

    found = compare(Paths(pipeline), psnr=psnr, ssim=ssim)
    typer.echo(str(found))
    if found.problems:
        raise typer.Exit(1)


def _fetched(chosen: "Source", root: Path, mirror: str | None) -> str:
    """Fill the set's folder in ROOT unless it is complete, by checksums, and return the message."""
    from alkdnet.sources.checksums import RecordedChecksums
    from alkdnet.sources.fetching import fetch
    from alkdnet.sources.folders import gated_images, not_available
    from alkdnet.sources.inventory import is_complete

    destination, cache = root / chosen.name, root / ".downloads"
    digests = cache / "digests.json"
    if is_complete(chosen, destination, RecordedChecksums(digests)):
        return f"{chosen.name}: complete in {destination}"
    if chosen.kind == "gated":
        # Here the folder to fill is the destination itself: what the user has put there stays.
        gated_images(chosen, destination)
        return f"{not_available(chosen)}The folder to fill: {destination.absolute()}"
    fetch(chosen, destination, cache=cache, mirror=mirror, digests=digests)
    return f"{chosen.name}: {chosen.images} file{'' if chosen.images == 1 else 's'} in {destination}"


def _released_weights(scale: int, root: Path, mirror: str | None) -> Path:
    """Return the authors' file of ALKDNet's weights, after downloading it if it is not there."""
    from alkdnet.sources.catalogue import source

    chosen = source(f"alkdnet_x{scale}")
    _fetched(chosen, root, mirror)
    return root / chosen.name / chosen.files[0].name


def _own_weights(scale: int) -> Path:
    """Return the weights that this project trained, in the current folder or in its checkout."""
    name = Path("weights") / f"alkdnet_x{scale}.safetensors"
    for folder in (Path(), Path(__file__).resolve().parents[2]):
        if (folder / name).is_file():
            return folder / name
    raise UserError(
        f"there is no {name}; take the authors' weights with --released, or those of a run of yours with "
        "--weights <pipeline>/models/<run>/weights.safetensors"
    )


def main() -> None:
    """Run the command line; what the user can fix is printed without a traceback."""
    try:
        app()
    except UserError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {in_words(error)}")


if __name__ == "__main__":
    main()
