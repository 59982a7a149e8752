"""The command line. What a command needs is imported inside it, so that `--help` answers at once."""

import logging
import os
import signal
import sys
from collections import Counter
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alkdnet.errors import UserError, exit_in_words, in_words, one_line, raise_problems

if TYPE_CHECKING:
    from alkdnet.sources.catalogue import Source
    from alkdnet.upscaling.models import Model
    from alkdnet.upscaling.weights import WeightsChoice

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _mirror(value: str | None) -> str | None:
    from alkdnet.sources.mirror import mirror_location

    return mirror_location(value, Path())


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


WeightsRoot = Annotated[
    Path | None,
    typer.Option(
        "--root",
        help="Folder of downloaded weights; by default data/ where it has them, else the user's cache.",
    ),
]
Scale = Annotated[
    int | None,
    typer.Option(min=2, max=4, help="How many times as wide and as high; by default the weights', else 4."),
]


class Device(StrEnum):
    """The choices of `--device`."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Arithmetic(StrEnum):
    """The choices of `benchmark --precision`."""

    FLOAT32 = "float32"
    TF32 = "tf32"
    BFLOAT16 = "bfloat16"


class Precision(StrEnum):
    """The choices of `upscale --precision`."""

    FLOAT32 = "float32"
    TF32 = "tf32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"


Weights = Annotated[
    Path | None,
    typer.Option(help="A file of weights (.pth, .pt, .ckpt, .safetensors, ...), or a run's folder."),
]
Run = Annotated[
    str | None, typer.Option(help="Weights that a pipeline trained: demo:alkdnet_x2.", metavar="NAME:RUN")
]
Network = Annotated[
    str | None,
    typer.Option(help="The network whose published weights are used, or to which a file of weights belongs."),
]
Released = Annotated[
    bool, typer.Option("--released", help="Take the authors' weights even if this project has its own.")
]
DeviceChoice = Annotated[
    Device, typer.Option(help="Where to compute; auto takes a CUDA device when there is one.")
]
PrecisionChoice = Annotated[
    Precision,
    typer.Option(
        help="Precision of the network; all but float32 need a CUDA device and change pixels a little."
    ),
]


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
    sources = [source(name) for name in sets]
    if any(each.kind == "folder" for each in sources):
        raise UserError("folder: that is a folder of your own, there is nothing to download")
    for each in sources:
        try:
            typer.echo(_fetched(each, root, mirror))
        except UserError as error:
            problems.append(str(error))
        except OSError as error:
            problems.append(f"{each.name}: {in_words(error)}")
        except KeyboardInterrupt:
            typer.echo(f"{each.name}: interrupted; the same command resumes the download", err=True)
            raise typer.Exit(130) from None
    if problems:
        raise UserError("\n".join(problems))


@app.command()
def data(root: Root = _ROOT) -> None:
    """List the data sets and weights: use, state, files, size, licence.

    The state is checked by names and sizes; `alkdnet download` verifies checksums.
    """
    from alkdnet.data.disk import size
    from alkdnet.sources.catalogue import SOURCES
    from alkdnet.sources.inventory import status

    rows = [("set", "use", "state", "files", "size", "licence")]
    for entry in SOURCES.values():
        rows.append(
            (
                entry.name,
                ", ".join(entry.uses),
                status(entry, root / entry.name, root / ".downloads"),
                str(entry.images or "-"),
                size(entry.bytes) if entry.files else "-",
                entry.licence,
            )
        )
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        typer.echo("  ".join(cells).rstrip())
    typer.echo(
        "The state is checked by names and sizes; `alkdnet download SET` verifies checksums.", err=True
    )


@app.command()
def upscale(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE... TARGET",
            help="8-bit images, folders of them or patterns like 'trip/**/*.jpg'; then the larger image "
            "(.png, .tif, .webp, .bmp or .jpg), or a folder for all, in which finished ones are kept.",
        ),
    ],
    scale: Scale = None,
    weights: Weights = None,
    run: Run = None,
    network: Network = None,
    released: Released = False,
    tile: Annotated[
        int | None,
        typer.Option(
            min=96, help="Side of tiles in pixels, for all images; by default only where memory is short."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write finished images again.")] = False,
    device: DeviceChoice = Device.AUTO,
    precision: PrecisionChoice = Precision.FLOAT32,
    root: WeightsRoot = None,
    mirror: Mirror = None,
) -> None:
    """Write images 2, 3 or 4 times as large as the sources, with their transparency and metadata.

    Without --weights, --run or --released: weights/<network>_x<scale>.safetensors of this project if it is
    there, else the authors' weights, which are downloaded once.
    """
    if len(paths) < 2:
        raise UserError("give the image, or several, and then the file or folder to write")
    *sources, target = paths

    from alkdnet.device import choose_device
    from alkdnet.upscaling.batch import Engine, check_jobs, check_precision, upscale_all
    from alkdnet.upscaling.models import interpolation
    from alkdnet.upscaling.sources import plan_jobs
    from alkdnet.upscaling.weights import DEFAULT_SCALE, WeightsChoice

    torch_device = choose_device(device.value)
    check_precision(precision.value, torch_device)
    choice = WeightsChoice(file=weights, run=run, network=network, scale=scale, released=released)
    plan = plan_jobs(sources, target)
    local = choice.local(_repositories())
    model = None
    if local:
        model = _model(choice, local, root, mirror)
    elif network == "bicubic":
        model = interpolation(scale or DEFAULT_SCALE)
    factor = model.scale if model else scale or DEFAULT_SCALE
    pending, finished, problems = check_jobs(plan.jobs, factor, overwrite=overwrite)
    for suffix, count in plan.unsupported.items():
        typer.echo(f"{count} {suffix} left out: convert {'it' if count == 1 else 'them'} to PNG", err=True)
    if not pending:
        raise_problems(problems)
        typer.echo(
            f"{one_line(str(target))}: all {finished} images are finished; --overwrite writes them again"
        )
        return
    model = model or _model(choice, None, root, mirror)
    engine = Engine(model, device=torch_device, precision=precision.value, tile=tile)
    done: list[tuple[int, int]] = []
    lost: Counter[str] = Counter()
    try:
        for outcome in upscale_all(pending, engine):
            if outcome.written:
                done.append(outcome.written[:2])
                lost.update(outcome.written.lost)
            else:
                problems.append(str(outcome.problem))
    except KeyboardInterrupt:
        typer.echo(f"interrupted: {len(done)} of {len(pending)} images are written", err=True)
        raise typer.Exit(130) from None
    for text, count in lost.items():
        typer.echo(f"not kept{f' of {count} images' if len(pending) > 1 else ''}: {text}", err=True)
    if done and not plan.jobs[0].skip_finished:
        height, width = done[0]
        typer.echo(f"{one_line(str(target))}: {width}x{height}, with {model.name}")
    elif done:
        kept = f", {finished} were finished" if finished else ""
        typer.echo(
            f"{one_line(str(target))}: {len(done)} of {len(plan.jobs)} images written{kept}, "
            f"with {model.name}"
        )
    raise_problems(problems)


@app.command()
def compare(
    pictures: Annotated[
        list[Path],
        typer.Argument(
            help="Pictures of one size; a smaller one, such as the source, is enlarged if its sides are a "
            "whole fraction.",
            metavar="PICTURE...",
        ),
    ],
    output: Annotated[Path, typer.Option(help="The page to write.")] = Path("compare.html"),
    label: Annotated[
        list[str] | None,
        typer.Option(help="A name for each picture, in their order; by default the file's."),
    ] = None,
) -> None:
    """Write a page that compares pictures: a slider between any two, and zoomed details of all.

    The page is one file without a server or network; a picture has at most 24 MiB as PNG, the page 256 MiB.
    """
    from alkdnet.compare.page import write_page

    size = write_page(pictures, output, labels=label or [])
    typer.echo(f"{one_line(str(output))}: {len(pictures)} pictures, {size / 2**20:.1f} MiB")


@app.command()
def benchmark(
    networks: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NETWORK]...", help="Files of src/alkdnet/networks; all by default."),
    ] = None,
    size: Annotated[str, typer.Option(help="Size of the large image, WIDTHxHEIGHT in pixels.")] = "1280x720",
    scale: Annotated[int, typer.Option(min=2, max=4, help="How many times as wide and as high.")] = 4,
    device: Annotated[
        Device, typer.Option(help="Where to compute; auto takes a CUDA device when there is one.")
    ] = Device.AUTO,
    precision: Annotated[
        Arithmetic, typer.Option(help="Precision in PyTorch; tf32 and bfloat16 need CUDA.")
    ] = Arithmetic.FLOAT32,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads; as many as PyTorch takes by default.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="Timed passes of every variant.")] = 7,
    exports: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps the exported networks."),
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
    from alkdnet.efficiency.reference import reference_scores
    from alkdnet.files import require_replaceable
    from alkdnet.results.efficiency import MACHINE

    chosen = chosen_networks(networks or [])
    if output is not None:
        require_replaceable(output, mark=MACHINE)
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
    reference = reference_scores(("field", "released"), scale)
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
        typer.echo(page_text(machine, measurements, reference, command=command), nl=False)
    else:
        write_page(output, machine, measurements, reference, command=command)
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
    scale: Scale = None,
    weights: Weights = None,
    run: Run = None,
    network: Network = None,
    released: Released = False,
    root: WeightsRoot = None,
    mirror: Mirror = None,
) -> None:
    """Write a network with its weights for other programs: onnxruntime, chaiNNer, ComfyUI, BasicSR, C++.

    Without --weights, --run or --released it takes the weights that `upscale` takes.
    """
    from alkdnet.export.model import SUFFIXES, export_model
    from alkdnet.upscaling.targets import check_file
    from alkdnet.upscaling.weights import WeightsChoice

    if target.suffix not in SUFFIXES:
        raise UserError(f"{target}: unknown ending; there are: {', '.join(SUFFIXES)}")
    check_file(target)
    choice = WeightsChoice(file=weights, run=run, network=network, scale=scale, released=released)
    model = _model(choice, choice.local(_repositories()), root, mirror)
    if target.suffix in (".onnx", ".pt2"):
        typer.echo(f"{target}: being traced and compared with PyTorch, a minute or more", err=True)
    assert model.weights is not None  # only bicubic interpolation has none
    typer.echo(export_model(model.module, target, weights=model.weights))


@app.command()
def card(
    pipeline: Annotated[str, typer.Argument(help="Its name: demo, paper, ...")],
    run: Annotated[str, typer.Argument(help="A row of `runs` or `released` that is evaluated.")],
    target: Annotated[Path, typer.Argument(help="The file to write; the hub shows README.md.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
) -> None:
    """Write the model card of a run: Markdown with the metadata of the Hugging Face hub."""
    from alkdnet.config.loading import load_pipeline
    from alkdnet.config.paths import Paths
    from alkdnet.export.card import write_card

    params = load_pipeline(pipeline)
    known = [*params.trained, *params.released]
    if run not in known:
        raise UserError(f"{pipeline} has no row {run}; it has: {', '.join(known)}")
    if target.exists() and not overwrite:
        raise UserError(f"{target}: there is a file already; --overwrite replaces it")
    write_card(Paths(pipeline), run, target, params.evaluate)
    typer.echo(f"{target}: the card of {run}")


@app.command()
def verify(
    pipeline: Annotated[str, typer.Argument(help="Its name: demo, paper, ...")] = "demo",
    psnr: Annotated[float, typer.Option(min=0, help="Largest difference of a PSNR in dB.")] = 0.02,
    ssim: Annotated[float, typer.Option(min=0, help="Largest difference of an SSIM.")] = 0.0005,
) -> None:
    """Compare the results of PIPELINE in this folder with those of the last commit; exit 1 if they differ."""
    from alkdnet.config.loading import load_pipeline
    from alkdnet.config.paths import Paths
    from alkdnet.results.verify import verify as compare

    found = compare(Paths(pipeline), load_pipeline(pipeline).rows, psnr=psnr, ssim=ssim)
    typer.echo(str(found))
    if found.problems:
        raise typer.Exit(1)


def _fetched(chosen: "Source", root: Path, mirror: str | None) -> str:
    """Fill the set's folder in ROOT unless it is complete, by checksums, and return the message."""
    from alkdnet.sources.checksums import RecordedChecksums
    from alkdnet.sources.fetching import fetch
    from alkdnet.sources.folders import access_instructions, gated_images
    from alkdnet.sources.inventory import is_complete

    destination, cache = root / chosen.name, root / ".downloads"
    digests = cache / "digests.json"
    if is_complete(chosen, destination, RecordedChecksums(digests)):
        return f"{chosen.name}: complete in {destination}"
    if chosen.kind == "gated":
        # Here the folder to fill is the destination itself: what the user has put there stays.
        gated_images(chosen, destination)
        return f"{access_instructions(chosen)}The folder to fill: {destination.absolute()}"
    fetch(chosen, destination, cache=cache, mirror=mirror, digests=digests)
    return f"{chosen.name}: {chosen.images} file{'' if chosen.images == 1 else 's'} in {destination}"


def _repositories() -> list[Path]:
    """Return where runs and this project's weights are looked for: here, and in the checkout."""
    return [Path(), Path(__file__).resolve().parents[2]]


def _download_weights(choice: "WeightsChoice", root: Path | None, mirror: str | None) -> Path:
    """Return the file of the authors' weights, from the cache or after a download."""
    from alkdnet.upscaling.weights import fetch_weights

    source = choice.source()
    if root is None:
        here = (_ROOT / source.name).is_dir()
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        root = _ROOT if here else cache / "alkdnet"
    return fetch_weights(source, root / source.name, downloads=root / ".downloads", mirror=mirror)


def _model(choice: "WeightsChoice", weights: Path | None, root: Path | None, mirror: str | None) -> "Model":
    """Return the network with the weights in a file or a run's folder; None: with the authors'."""
    from alkdnet.upscaling.models import open_model
    from alkdnet.upscaling.weights import DEFAULT_SCALE

    if weights is None:
        choice = replace(choice, scale=choice.scale or DEFAULT_SCALE)
        weights = _download_weights(choice, root, mirror)
    return open_model(weights, choice.scale, choice.network)


def main() -> None:
    """Run the command line; what the user can fix is printed without a traceback."""
    # As Ctrl-C: what is half written is removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with exit_in_words():
        app()


if __name__ == "__main__":
    main()
