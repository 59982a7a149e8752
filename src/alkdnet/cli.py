"""The command line. What a command needs is imported inside it, so that `--help` answers at once."""

import logging
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alkdnet.errors import UserError, in_words, raise_problems

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


class Arithmetic(StrEnum):
    """The choices of `--precision`."""

    FLOAT32 = "float32"
    TF32 = "tf32"
    BFLOAT16 = "bfloat16"


@app.callback()
def alkdnet() -> None:
    """ALKDNet: data sets, and upscaling of pictures. Experiments are run with DVC: see README.md."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for name in ("httpx", "onnx_ir", "onnxscript"):
        logging.getLogger(name).setLevel(logging.WARNING)


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
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE... TARGET",
            help="8-bit images, or folders of them; then the larger image (.png, .tif, .webp, .bmp or .jpg), "
            "or a folder for all, in which finished ones are kept.",
        ),
    ],
    scale: Annotated[int, typer.Option(min=2, max=4, help="How many times as wide and as high.")] = 4,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Weights of a run (its folder or file), or published ones (.pth, .pt, .ckpt, .safetensors, "
            "...); else weights/alkdnet_x<scale>, else the authors'."
        ),
    ] = None,
    network: Annotated[
        str | None, typer.Option(help="The network of the weights; by default they tell it themselves.")
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
    """Write images SCALE times as large as the sources; transparency is kept."""
    if released and weights is not None:
        raise UserError("give --weights or --released, not both")
    if len(paths) < 2:
        raise UserError("give the image, or several, and then the file or folder to write")
    *sources, target = paths

    from alkdnet.progress import Progress
    from alkdnet.upscaling import check_memory, check_target, free_memory, is_finished, plan, upscale_file

    problems: list[str] = []
    jobs = plan(sources, target)
    left = []
    for job in jobs:
        try:
            if not is_finished(job, scale):
                check_target(job.source, job.target, scale)
                left.append(job)
        except UserError as error:
            problems.append(str(error))
    finished = len(jobs) - len(left) - len(problems)
    if not left:
        raise_problems(problems)
        typer.echo(f"{target}: all {finished} images are finished")
        return
    path = _weights(scale, weights, network, root, mirror, released=released)

    import torch

    from alkdnet.device import arithmetic, choose_device
    from alkdnet.upscaling import FiniteUpscaler, open_model

    chosen = choose_device(device.value)
    model = open_model(path, scale, network)
    upscaler = FiniteUpscaler(model, device=chosen, tile=tile)
    available = free_memory() if chosen.type == "cpu" else None
    written = 0
    with (
        arithmetic(chosen, "float32", threads=torch.get_num_threads()),
        Progress(len(left), description="upscale", unit="images") as shown,
    ):
        for job in left:
            try:
                check_memory(job.source, model, scale=scale, tile=tile, available=available)
                height, width = upscale_file(job.source, job.target, upscaler, scale=scale)
                written += 1
            except torch.OutOfMemoryError:
                problems.append(f"{job.source}: does not fit into the memory of the device; give --tile 192")
            except UserError as error:
                problems.append(str(error))
            except OSError as error:
                problems.append(f"{job.target}: {in_words(error)}")
            shown.advance(note=job.source.name)
    if not jobs[0].kept and written:
        typer.echo(f"{target}: {width}x{height}, with {path}")
    elif written:
        kept = f", {finished} were finished" if finished else ""
        typer.echo(f"{target}: {written} of {len(jobs)} images written{kept}, with {path}")
    raise_problems(problems)


@app.command()
def benchmark(
    networks: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NETWORK]...", help="Files of src/alkdnet/networks; all by default."),
    ] = None,
    size: Annotated[str, typer.Option(help="Of the large image, WIDTHxHEIGHT in pixels.")] = "1280x720",
    scale: Annotated[int, typer.Option(min=2, max=4, help="How many times as wide and as high.")] = 4,
    device: Annotated[
        Device, typer.Option(help="Where to compute; auto takes a CUDA device when there is one.")
    ] = Device.AUTO,
    precision: Annotated[
        Arithmetic, typer.Option(help="Of PyTorch; tf32 and bfloat16 are for CUDA.")
    ] = Arithmetic.FLOAT32,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads; as many as PyTorch takes by default.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="Timed passes of every form.")] = 7,
    exports: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps the exported networks for the next call: exporting takes long."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder to write page, numbers and figure to; else the page is printed."),
    ] = None,
) -> None:
    """Measure networks: parameters, Multi-Adds, activations, latency and memory of one image.

    Beside PyTorch, onnxruntime and OpenVINO run the exported network: pip install 'alkdnet[benchmark]'.
    """
    import re

    parts = re.fullmatch(r"([1-9]\d{1,4})x([1-9]\d{1,4})", size)
    if parts is None:
        raise UserError(f"--size {size}: give WIDTHxHEIGHT in pixels of two to five digits, as 1280x720")

    import torch

    from alkdnet.device import choose_device
    from alkdnet.efficiency.benchmark import Settings, chosen_networks
    from alkdnet.efficiency.benchmark import benchmark as measure
    from alkdnet.efficiency.machine import this_machine
    from alkdnet.efficiency.page import page_text, write_page
    from alkdnet.efficiency.published import published_scores

    chosen = chosen_networks(networks or [])
    settings = Settings(
        scale=scale,
        width=int(parts[1]),
        height=int(parts[2]),
        device=choose_device(device.value),
        precision=precision.value,
        threads=threads or torch.get_num_threads(),
        rounds=rounds,
        exports=exports,
    )
    published = published_scores(("field", "released"), scale)
    measurements = measure(chosen, settings)
    machine = this_machine(settings.device, threads=settings.threads)
    command = " ".join(
        [
            "alkdnet benchmark",
            *(networks or []),
            f"--size {size} --scale {scale} --device {settings.device.type} --precision {precision.value}",
            f"--threads {settings.threads} --rounds {rounds}",
            *([f"--output {output}"] if output else []),
        ]
    )
    if output is None:
        typer.echo(page_text(machine, measurements, published, command=command), nl=False)
    else:
        write_page(output, machine, measurements, published, command=command)
        typer.echo(f"{output}: {len(chosen)} networks")


@app.command()
def export(
    target: Annotated[
        Path,
        typer.Argument(
            help="The file to write: .onnx; .pt2 (torch.export); .pth or .safetensors, by the names that the "
            "network's authors use."
        ),
    ],
    weights: Annotated[
        Path | None,
        typer.Option(help="As of `upscale`; else weights/alkdnet_x<scale>, else the authors'."),
    ] = None,
    scale: Annotated[int, typer.Option(min=2, max=4, help="The scale of the weights.")] = 4,
    network: Annotated[
        str | None, typer.Option(help="The network of the weights; by default they tell it themselves.")
    ] = None,
    root: Root = _ROOT,
    mirror: Mirror = None,
) -> None:
    """Write a network with its weights for other programs: onnxruntime, chaiNNer, ComfyUI, BasicSR, C++."""
    from alkdnet.export.model import SUFFIXES, export_model
    from alkdnet.upscaling import open_model

    if target.suffix not in SUFFIXES:
        raise UserError(f"{target}: unknown ending; there are: {', '.join(SUFFIXES)}")
    path = _weights(scale, weights, network, root, mirror, released=False)
    if target.suffix in (".onnx", ".pt2"):
        typer.echo(f"{target}: being traced and compared with PyTorch, a minute or more", err=True)
    typer.echo(export_model(open_model(path, scale, network), target, weights=path))


@app.command()
def card(
    pipeline: Annotated[str, typer.Argument(help="Its name: demo, paper, ...")],
    run: Annotated[str, typer.Argument(help="A row of `runs` or `released` that is evaluated.")],
    target: Annotated[Path, typer.Argument(help="The file to write; the hub shows README.md.")],
) -> None:
    """Write the model card of a run: Markdown with the metadata of the Hugging Face hub."""
    from alkdnet.config.loading import load_pipeline
    from alkdnet.config.paths import Paths
    from alkdnet.export.card import write_card

    params = load_pipeline(pipeline)
    known = [*params.trained, *params.released]
    if run not in known:
        raise UserError(f"{pipeline} has no row {run}; it has: {', '.join(known)}")
    write_card(Paths(pipeline), run, target)
    typer.echo(f"{target}: the card of {run}")


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


def _weights(
    scale: int, weights: Path | None, network: str | None, root: Path, mirror: str | None, *, released: bool
) -> Path:
    """Return the weights that are given, or else this project's, or else the authors'."""
    if weights is not None:
        return weights
    if network in (None, "alkdnet") and not released:
        if own := _own_weights(scale):
            return own
        typer.echo(f"there are no weights/alkdnet_x{scale}.safetensors: the authors' are taken", err=True)
    return _released_weights(f"{network or 'alkdnet'}_x{scale}", root, mirror)


def _released_weights(name: str, root: Path, mirror: str | None) -> Path:
    """Return the file of weights by its name in the catalogue, after downloading it if it is not there."""
    from alkdnet.sources.catalogue import source

    chosen = source(name)
    _fetched(chosen, root, mirror)
    # Of a pair for ncnn the .param is the one that is opened.
    file = next(file.name for file in chosen.files if not file.name.endswith(".bin"))
    return root / chosen.name / file


def _own_weights(scale: int) -> Path | None:
    """Return the weights that this project trained, in the current folder or in its checkout."""
    name = Path("weights") / f"alkdnet_x{scale}.safetensors"
    found = (folder / name for folder in (Path(), Path(__file__).resolve().parents[2]))
    return next((path for path in found if path.is_file()), None)


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
