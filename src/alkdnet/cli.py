"""The command line. What a command needs is imported inside it, so that `--help` answers at once."""

import logging
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from alkdnet.errors import UserError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Root = Annotated[Path, typer.Option(help="Folder of the downloaded sets, one folder each.")]
Mirror = Annotated[
    str | None,
    typer.Option(
        envvar="ALKDNET_MIRROR",
        help="Folder or base URL that has https://host/path at <mirror>/host/path; used alone.",
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
    """Fetch data sets or released weights into ROOT/SET; an interrupted download is continued."""
    from alkdnet.data.inventory import is_complete
    from alkdnet.data.sources import source

    # All names first: a misspelt last one should not come to light after hours.
    problems = []
    wanted = [source(name) for name in sets]
    if any(chosen.kind == "folder" for chosen in wanted):
        raise UserError("folder: that is a folder of your own, there is nothing to download")
    for chosen in wanted:
        if is_complete(chosen, root / chosen.name):
            typer.echo(f"{chosen.name}: complete in {root / chosen.name}")
            continue
        try:
            typer.echo(_fetch(chosen.name, root, mirror))
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))


@app.command()
def data(root: Root = _ROOT) -> None:
    """List the data sets and weights: use, state, files, size of the download, licence."""
    from alkdnet.data.inventory import size, state
    from alkdnet.data.sources import SOURCES

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

    from alkdnet.models.device import arithmetic, choose_device
    from alkdnet.models.inference import Upscaler
    from alkdnet.upscaling import open_model, upscale_file

    chosen = choose_device(device.value)
    network = Upscaler(open_model(path, scale), device=chosen, tile=tile)
    with arithmetic(chosen, "float32", threads=torch.get_num_threads()):
        height, width = upscale_file(source, target, network, scale=scale)
    typer.echo(f"{target}: {width}x{height}, with {path}")


def _fetch(name: str, root: Path, mirror: str | None) -> str:
    """Fill ROOT/NAME and return what to tell."""
    from alkdnet.data.download import fetch
    from alkdnet.data.images import list_images
    from alkdnet.data.local import not_available
    from alkdnet.data.sources import source

    chosen, cache, destination = source(name), root / ".downloads", root / name
    if chosen.kind == "gated":
        # Here the folder to fill is the destination itself: what the user has put there stays.
        if there := list_images(destination) if destination.is_dir() else []:
            raise UserError(
                f"{destination}: {len(there)} of the {chosen.images} images of {name} are there; "
                "complete the folder"
            )
        return f"{not_available(chosen)}The folder can be {destination}."
    fetch(chosen, destination, cache=cache, mirror=mirror, digests=cache / "digests.json")
    return f"{name}: {chosen.images} file{'' if chosen.images == 1 else 's'} in {destination}"


def _released_weights(scale: int, root: Path, mirror: str | None) -> Path:
    """Return the authors' file of ALKDNet's weights, after downloading it if it is not there."""
    from alkdnet.data.inventory import is_complete
    from alkdnet.data.sources import source

    chosen = source(f"alkdnet_x{scale}")
    if not is_complete(chosen, root / chosen.name):
        typer.echo(_fetch(chosen.name, root, mirror), err=True)
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
    """Run the command line; a mistake of the user's is printed without a traceback."""
    try:
        app()
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
