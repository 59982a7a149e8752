"""Where each output of a pipeline lies, relative to the repository; dvc.yaml has the same paths (tested)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from alkdnet.config.params import Finetuned, Run

# A name in place of a data set's, for files that are always there.
MARK = "checked"
# Of the folder below reports/ that no pipeline writes.
EFFICIENCY = "efficiency"
CHECKPOINTS = ".checkpoints"


def checkpoints(root: Path, pipeline: str) -> Path:
    """Return the folder of checkpoints of unfinished trainings; `root`: the main repository, or a bundle."""
    return root / CHECKPOINTS / pipeline


@dataclass(frozen=True)
class Paths:
    """The outputs of one pipeline: in a folder of its name, but for the report; `root`: of the repository."""

    pipeline: str
    root: Path = Path()

    @property
    def directory(self) -> Path:
        """Folder of all outputs but the report."""
        return self.root / self.pipeline

    @property
    def checked_marks(self) -> tuple[Path, ...]:
        """Constant files, written when the parameter file is valid.

        Two of them lie where training sets go: stages depend on these folders also when no set is there.
        """
        return self.directory / "checked" / "ok", self.raw("train", MARK), self.lr("train", MARK)

    def descriptor(self, use: Literal["train", "test", "weights"], name: str) -> Path:
        """What is known of the source of a data set or of weights: a change is a reason to fetch it again."""
        return self.directory / "checked" / use / f"{name}.json"

    def raw(self, use: str, dataset: str) -> Path:
        """Folder of a data set as it was published."""
        return self.directory / "raw" / use / dataset

    def raw_weights(self, row: str) -> Path:
        """Folder of the file of a row of `released`, as it was published."""
        return self.directory / "raw" / "weights" / row

    def lr(self, use: str, dataset: str, scale: int | None = None) -> Path:
        """Folder of a data set's low-resolution images, of one scale or of all (x2, x3, ... within)."""
        folder = self.directory / "lr" / use / dataset
        return folder if scale is None else folder / f"x{scale}"

    @property
    def patches(self) -> Path:
        """Folder of the packed training images: hr, x2, x3, x4."""
        return self.directory / "patches"

    @property
    def leakage(self) -> Path:
        """How many training images were compared with the test images, all of them different."""
        return self.directory / "results" / "leakage.json"

    def validation(self, scale: int) -> Path:
        """Folder of the images that trainings of a scale are validated on: <set>.safetensors."""
        return self.directory / "validation" / f"x{scale}"

    def model(self, run: str) -> Path:
        """Folder of a run: weights.safetensors, history.csv, run.json."""
        return self.directory / "models" / run

    def start(self, run: Run) -> Path | None:
        """The weights that a run starts from; None: random ones."""
        return self.model(run.init_from) / "weights.safetensors" if isinstance(run, Finetuned) else None

    def evaluation(self, run: str) -> Path:
        """Folder of a row's scores: scores.json (means), images.csv (per image) and record.json."""
        return self.directory / "results" / "evaluation" / run

    @property
    def complexity(self) -> Path:
        """Parameters, Multi-Adds and activations of every run."""
        return self.directory / "results" / "complexity.json"

    def features(self, row: str) -> Path:
        """Folder of a row's feature maps, effective receptive field and crops."""
        return self.directory / "results" / "features" / row

    @property
    def curves(self) -> Path:
        """Loss and validation PSNR of all runs against the iteration, for `dvc plots`."""
        return self.directory / "results" / "curves.csv"

    @property
    def efficiency(self) -> Path:
        """Folder of what `alkdnet benchmark` measured, a folder for each machine: no stage writes it."""
        return self.root / "reports" / EFFICIENCY

    @property
    def report(self) -> Path:
        """Folder of the generated pages, tables and figures."""
        return self.root / "reports" / self.pipeline
