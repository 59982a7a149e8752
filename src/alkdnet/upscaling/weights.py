"""Finding weights: a run of a pipeline, this project's own, or those that authors released."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alkdnet.config.paths import Paths
from alkdnet.errors import UserError
from alkdnet.networks import network_names
from alkdnet.results.run import WEIGHTS
from alkdnet.sources.catalogue import SOURCES, Source
from alkdnet.sources.checksums import RecordedChecksums
from alkdnet.sources.fetching import fetch
from alkdnet.sources.inventory import is_complete

DEFAULT_SCALE = 4


@dataclass(frozen=True, kw_only=True)
class WeightsChoice:
    """The weights that a user chose.

    Attributes:
        file: a file of weights or a run's folder; None: not given.
        run: a run of a pipeline, `PIPELINE:RUN`.
        network: the network; None: the file's own, or else ALKDNet.
        scale: upscaling factor; None: the file's own, or else 4.
        released: use the authors' weights even if this project has its own.
    """

    file: Path | None = None
    run: str | None = None
    network: str | None = None
    scale: int | None = None
    released: bool = False

    def __post_init__(self) -> None:
        """Raise UserError if more than one of the options is given."""
        if (self.file is not None) + (self.run is not None) + self.released > 1:
            raise UserError("give one of --weights, --run and --released")

    def local(self, roots: Sequence[Path]) -> Path | None:
        """Return the file or folder if no download is needed; None otherwise.

        Args:
            roots: repositories that are searched for runs and this project's own weights, in this order.

        Raises:
            UserError: there is no such run.
        """
        if self.run is not None:
            return _run_folder(self.run, roots)
        if self.file is not None or self.released:
            return self.file
        name = Path("weights") / f"{self.network or 'alkdnet'}_x{self.scale or DEFAULT_SCALE}.safetensors"
        return next((root / name for root in roots if (root / name).is_file()), None)

    def source(self) -> Source:
        """Return the published weights of the network at the scale.

        Raises:
            UserError: there is no such network, or nothing is published.
        """
        return _released_source(self.network or "alkdnet", self.scale or DEFAULT_SCALE)


def fetch_weights(source: Source, folder: Path, *, downloads: Path, mirror: str | None) -> Path:
    """Return the file of published weights to open, after downloading it if it is not in the folder.

    Raises:
        UserError: it cannot be downloaded.
    """
    digests = downloads / "digests.json"
    if not is_complete(source, folder, RecordedChecksums(digests)):
        try:
            fetch(source, folder, cache=downloads, mirror=mirror, digests=digests)
        except UserError as error:
            raise UserError(
                f"{error}\nWithout a network, give weights by --weights, or by --mirror a folder that has "
                "these files at their URLs (docs/downloads.md)"
            ) from error
    # Of a pair for ncnn, the .param file is opened.
    return folder / next(file.name for file in source.files if not file.name.endswith(".bin"))


def _run_folder(run: str, roots: Sequence[Path]) -> Path:
    """Return the folder of a run `PIPELINE:RUN`, in the first of the repositories that has it.

    Raises:
        UserError: the name is no such pair, or no repository has the run's weights; listing those that exist.
    """
    pipeline, colon, name = run.partition(":")
    if not colon or not pipeline or not name or {"/", "\\", ".."} & {*run, pipeline, name}:
        raise UserError(f"--run {run}: give pipeline and run as in demo:alkdnet_x2")
    there = []
    for root in roots:
        folder = Paths(pipeline, root).model(name)
        if (folder / WEIGHTS).is_file():
            return folder
        there += [found.parent.name for found in sorted(folder.parent.glob(f"*/{WEIGHTS}"))]
    runs = (
        f"there are: {', '.join(dict.fromkeys(there))}" if there else "there are none: run the pipeline first"
    )
    raise UserError(f"--run {run}: no weights of this run; {runs}")


def _released_source(network: str, scale: int) -> Source:
    """Return the published weights of a network.

    Raises:
        UserError: there is no such network, or nothing is published for the scale.
    """
    if network not in network_names():
        raise UserError(f"there is no network {network}; there are: {', '.join(network_names())}")
    published = [source for source in SOURCES.values() if source.network == network]
    for source in published:
        if scale in source.scales:
            return source
    scales = sorted({each for source in published for each in source.scales})
    known = f"; there are for x{', x'.join(map(str, scales))}" if scales else ""
    raise UserError(
        f"there are no published weights of {network} for x{scale}{known}; --weights takes your own"
    )
