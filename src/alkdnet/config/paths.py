"""Where each output of a pipeline lies, relative to the repository; dvc.yaml has the same paths (tested)."""

from dataclasses import dataclass
from pathlib import Path

# A name in place of a data set's, for files that are always there.
MARK = "checked"


@dataclass(frozen=True)
class Paths:
    """The outputs of one pipeline: `directory` is `dir` of its parameter file, `name` its name."""

    directory: Path
    name: str

    @property
    def checked_marks(self) -> tuple[Path, ...]:
        """Constant files, written when the parameter file is valid.

        Two of them lie where training sets land: stages depend on these folders also when there is none.
        """
        return self.directory / "checked" / "ok", self.raw("train", MARK), self.lr("train", MARK)

    def descriptor(self, dataset: str) -> Path:
        """What is known of a data set's source: a change there is a reason to download it again."""
        return self.directory / "checked" / "datasets" / f"{dataset}.json"

    def raw(self, use: str, dataset: str) -> Path:
        """Folder of a data set as it was published, or of a file of released weights."""
        return self.directory / "raw" / use / dataset

    def lr(self, use: str, dataset: str, scale: int | None = None) -> Path:
        """Folder of a data set's low-resolution images, of one scale or of all (x2, x3, ... within)."""
        folder = self.directory / "lr" / use / dataset
        return folder if scale is None else folder / f"x{scale}"

    @property
    def patches(self) -> Path:
        """Folder of the packed training images: hr, x2, x3, x4."""
        return self.directory / "patches"

    @property
    def validation(self) -> Path:
        """Folder of the images that training is validated on: x2.safetensors, ..."""
        return self.directory / "validation"

    def model(self, run: str) -> Path:
        """Folder of a run: weights.safetensors, history.csv, run.json."""
        return self.directory / "models" / run

    def evaluation(self, run: str) -> Path:
        """Folder of a run's results: sets.json (means) and images.csv (per image)."""
        return self.directory / "results" / "evaluation" / run

    @property
    def complexity(self) -> Path:
        """Parameters, Multi-Adds and activations of every run."""
        return self.directory / "results" / "complexity.json"

    @property
    def features(self) -> Path:
        """Folder of feature maps and effective receptive fields."""
        return self.directory / "results" / "features"

    @property
    def metrics(self) -> Path:
        """All figures of all runs, nested, for `dvc metrics`."""
        return self.directory / "results" / "metrics.json"

    @property
    def curves(self) -> Path:
        """Loss and validation PSNR of all runs against the iteration, for `dvc plots`."""
        return self.directory / "results" / "curves.csv"

    @property
    def report(self) -> Path:
        """Folder of the generated pages, tables and figures."""
        return Path("reports") / self.name
