"""The JSON records in a bundle and in the archives of its results."""

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
        commit: of the packed code, with `-dirty` appended if the code differed; empty without git.
        runs: to be trained, in this order.
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
    """The result of one run on one host: records/<run>.json of an archive.

    Attributes:
        run: its name.
        commit: that of the bundle.
        finished: whether the outputs are there; otherwise the checkpoint is.
        device: name of the GPU, or CPU.
        torch: version of PyTorch.
        seconds: of training on this host.
        timing: of the whole training, if it is finished and was timed.
        files: SHA-256 of its files in the archive, by path.
    """

    run: str
    commit: str
    finished: bool
    device: str
    torch: str
    seconds: float
    timing: Timing | None
    files: Mapping[str, str]
