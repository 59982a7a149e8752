"""What a bundle and the archives of its results say about themselves."""

from collections.abc import Mapping
from dataclasses import dataclass

from alkdnet.training.runtime.timing import Timing

BUNDLE = "bundle.json"
RECORDS = "records"


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """The content of bundle.json.

    Attributes:
        pipeline: its name.
        commit: of the code that was packed, `-dirty` behind it if the code differed; empty without git.
        runs: what is to be trained, in order of worth.
        data: digest of the packed training images by the scale's folder, x2, x3, x4.
        files: SHA-256 of every other file of the bundle, by its path.
    """

    pipeline: str
    commit: str
    runs: tuple[str, ...]
    data: Mapping[str, str]
    files: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one run in one visit: records/<run>.json of an archive.

    Attributes:
        run: its name.
        commit: that of the bundle.
        finished: whether the outputs are there; otherwise the checkpoint is.
        device: that trained it.
        torch: version of PyTorch.
        seconds: that it was trained in this visit.
        timing: of the whole training, if it is finished and its time was kept.
        files: SHA-256 of its files in the archive, by their paths.
    """

    run: str
    commit: str
    finished: bool
    device: str
    torch: str
    seconds: float
    timing: Timing | None
    files: Mapping[str, str]
