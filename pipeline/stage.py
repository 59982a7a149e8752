"""What all stages share: arguments, environment, error messages, and the loading of rows and test sets."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

# On one CPU model the same bits with every build: wider instructions than AVX2 add in another order. ATen,
# oneDNN and MKL read these variables at their first operation.
for name, value in {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}.items():
    os.environ.setdefault(name, value)

# The code of this checkout, whatever is installed: an experiment in a temporary folder runs its own.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from alkdnet.config.loading import dvc_target, load_pipeline, params_path
from alkdnet.config.params import Params
from alkdnet.config.paths import Paths, checkpoints
from alkdnet.errors import UserError, exit_in_words
from alkdnet.sources.mirror import mirror_location

if TYPE_CHECKING:
    from torch import nn

    from alkdnet.evaluation.benchmark import BenchmarkSet
    from alkdnet.results.run import RunRecord


@dataclass(frozen=True)
class Stage:
    """A stage with its parameters.

    Attributes:
        params: the parameter file.
        paths: the pipeline's outputs.
        key: the data set, row or scale it works on; empty for a stage of the whole pipeline.
        root: the main repository, also inside a temporary experiment: what must outlive a run lies there.
    """

    params: Params
    paths: Paths
    key: str
    root: Path

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints of unfinished trainings."""
        return checkpoints(self.root, self.params.pipeline)

    @property
    def evaluations(self) -> Path:
        """The folder of the scores of unfinished evaluations."""
        return self.root / ".evaluations"

    @property
    def downloads(self) -> Path:
        """The folder of partial downloads and recorded checksums."""
        return self.root / ".downloads"

    @property
    def mirror(self) -> str | None:
        """The folder or URL in ALKDNET_MIRROR that replaces the internet; empty counts as not set."""
        return mirror_location(os.environ.get("ALKDNET_MIRROR"), self.root)

    def under_root(self, path: str) -> Path:
        """Return a path of the user's: relative ones start at the main repository."""
        return self.root / Path(path).expanduser()

    def load(self, name: str) -> "tuple[nn.Module, RunRecord | None]":
        """Return the network of a row and the record of its weights; None: an interpolation."""
        from alkdnet.networks import build
        from alkdnet.weights.runs import load_run

        row = self.params.rows[name]
        if row.kind == "interpolation":
            return build(row.network, row.scale, row.options), None
        return load_run(self.paths.model(name))

    def test_set(self, name: str, scale: int) -> "BenchmarkSet":
        """Return a test set with its LR images of one scale.

        Raises:
            UserError: it is not in the parameters; DVC leaves the images of removed sets, gated ones too.
        """
        from alkdnet.evaluation.benchmark import BenchmarkSet
        from alkdnet.results.descriptor import Descriptor

        if name not in self.params.names("test"):
            raise UserError(f"{name} is no test set of this pipeline")
        hr, lr = self.paths.raw("test", name), self.paths.lr("test", name, scale)
        descriptor = Descriptor.read(self.paths.descriptor("test", name))
        return BenchmarkSet(
            name=name,
            hr_folder=hr,
            lr_folder=lr,
            expected=descriptor.images,
            alpha=self.params.datasets[name].alpha,
            publishable=descriptor.kind != "gated",
        )

    @contextmanager
    def explaining_own_images(self, *names: str) -> Iterator[None]:
        """Add to a UserError about images of the user's own sets where these lie: not in DVC's copies."""
        try:
            yield
        except UserError as error:
            own = {name: self.params.datasets[name] for name in names}
            lines = [
                f"fix the images of {name} in {dataset.path}, then: "
                f"dvc repro --force {dvc_target(self.params.pipeline, f'download@{name}')}"
                for name, dataset in own.items()
                if dataset.path is not None and f"{self.paths.raw(dataset.use, name)}/" in f"{error}/"
            ]
            raise UserError("\n".join([str(error), *lines])) from None


def run(
    work: Callable[[Stage], None],
    *,
    table: Literal["datasets", "trained", "released", "rows", "scales"] | None = None,
) -> None:
    """Do a stage's work; a `UserError` is printed without a traceback and the stage fails.

    The key comes from DVC's environment and not through the command line, which a shell reads.

    Args:
        work: the stage.
        table: of the parameters, of which the stage takes one key; None: it takes none.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    parser = argparse.ArgumentParser(description=sys.modules[work.__module__].__doc__)
    parser.add_argument("pipeline", help="its name: demo, paper, ...")
    if table is not None:
        parser.add_argument("--key", default=_key(), help=f"one of the {table}; default: that of DVC's stage")
    arguments = parser.parse_args()
    key = getattr(arguments, "key", "")
    root = Path(os.environ.get("DVC_ROOT") or Path.cwd())
    with exit_in_words():
        if root.resolve() != Path.cwd() and (root / ".git" / "shallow").is_file():
            raise UserError(
                f"{root} is a shallow clone, in which DVC loses the results of experiments with --temp or "
                "--queue: run `git fetch --unshallow` first"
            )
        params = load_pipeline(arguments.pipeline)
        if table is not None:
            keys = [*map(str, params.downscale.scales if table == "scales" else getattr(params, table))]
            if key not in keys:
                given = f"--key {key}: there is no such key" if key else "--key is missing"
                raise UserError(
                    f"{given}; {params_path(arguments.pipeline)} has: {', '.join(keys) or 'none'}"
                )
        work(Stage(params=params, paths=Paths(params.pipeline), key=key, root=root))


def _key() -> str:
    """Return the key of the stage that DVC runs: of `paper/dvc.yaml:train@bsrn_x2`, bsrn_x2."""
    stage, _, key = os.environ.get("DVC_STAGE", "").rpartition(":")[2].partition("@")
    return f"bicubic_x{key}" if stage.endswith("_bicubic") else key
