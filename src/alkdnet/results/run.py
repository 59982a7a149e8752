"""A run's weights and their record: `models/<run>/{weights.safetensors, run.json}`.

weights.safetensors are the run's result: the average of its weights if its recipe has one, else the last.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from alkdnet.config.params import Option, Recipe
from alkdnet.results.records import read_record, write_record

WEIGHTS = "weights.safetensors"
# Of a run whose weights are an average: those of its last step.
RAW_WEIGHTS = "weights_raw.safetensors"
HISTORY = "history.csv"
RECORD = "run.json"


@dataclass(frozen=True, kw_only=True)
class InitFrom:
    """The weights that a training started from.

    Attributes:
        row: the row of the parameter file that they are of.
        weights_sha256: of their file.
        new: tensors of the network that no tensor of theirs fits by name and shape: they started at random.
        unused: tensors of theirs that fit none of the network.
    """

    row: str
    weights_sha256: str
    new: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        left = [("new", self.new), ("not taken", self.unused)]
        return "; ".join(
            [f"starts from {self.row}", *(f"{what}: {', '.join(names)}" for what, names in left if names)]
        )


@dataclass(frozen=True, kw_only=True)
class Training:
    """How weights were trained.

    Attributes:
        seed: of the initial weights and the order of the patches.
        recipe: the training recipe.
        data: digest of the packed training images.
        sets: names of the training sets.
        validation_sets: names of the test sets that PSNR was followed on.
        identity: digest of all that decides the weights (training/runtime/identity.py).
        init_from: the weights that it started from; None: random ones.
    """

    seed: int
    recipe: Recipe
    data: str
    sets: tuple[str, ...]
    validation_sets: tuple[str, ...]
    identity: str
    init_from: InitFrom | None = None


@dataclass(frozen=True, kw_only=True)
class Published:
    """Where released weights come from.

    Attributes:
        source: the catalogue's name of the file, or `file`.
        sha256: of the file.
        skip: test sets that the network is not evaluated on, being too slow.
    """

    source: str
    sha256: str
    skip: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """The content of run.json; exactly one of `training` and `published` is given.

    Attributes:
        network: its name.
        scale: super-resolution factor.
        options: arguments of the network's class.
        parameters: number of trainable values.
        weights_sha256: of weights.safetensors.
        torch: version of PyTorch.
        training: for weights trained here.
        published: for released weights.
    """

    network: str
    scale: int
    options: Mapping[str, Option]
    parameters: int
    weights_sha256: str
    torch: str
    training: Training | None
    published: Published | None

    def write(self, folder: Path) -> None:
        """Write `folder`/run.json."""
        write_record(folder / RECORD, self)

    @classmethod
    def read(cls, folder: Path) -> "RunRecord":
        """Return the record in `folder`; raise UserError as `read_record` does."""
        return read_record(folder / RECORD, cls)
