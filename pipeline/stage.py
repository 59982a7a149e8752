"""What every stage shares: its arguments, the environment, and how a user's mistake is told."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

# The same results on every x86-64 machine: wider instructions than AVX2, where a CPU has them, add in another
# order and change the last bits. ATen, oneDNN and MKL look here at their first operation.
for name, value in {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}.items():
    os.environ.setdefault(name, value)

# The code of this checkout, whatever is installed: an experiment in a temporary folder runs its own.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from alkdnet.config.params import Params, load_params
from alkdnet.config.paths import Paths
from alkdnet.errors import UserError, in_words


@dataclass(frozen=True)
class Stage:
    """A stage at work."""

    params: Params
    paths: Paths
    key: str
    """The data set or run it works on; empty for a stage of the whole pipeline."""
    root: Path
    """The main repository, also inside a temporary experiment: what must outlive a run lies there."""

    @property
    def checkpoints(self) -> Path:
        """The folder of the states of trainings that are not finished, or not recorded yet."""
        return self.root / ".checkpoints"

    def under_root(self, path: str) -> Path:
        """Return a path of the user's: relative ones are seen from the main repository."""
        return self.root / Path(path).expanduser()

    @contextmanager
    def saying_where_to_mend(self, *names: str) -> Iterator[None]:
        """Add to a UserError where the user's own sets among `names` are mended: not in DVC's copies."""
        try:
            yield
        except UserError as error:
            lines = [str(error)]
            for name in names:
                if (path := self.params.datasets[name].path) is not None:
                    lines.append(
                        f"mend the images of {name} in {path}, then: dvc repro --force download@{name}"
                    )
            raise UserError("\n".join(lines)) from None

    @property
    def mirror(self) -> str | None:
        """The folder or URL in ALKDNET_MIRROR that stands in for the internet; empty counts as not set."""
        mirror = os.environ.get("ALKDNET_MIRROR") or None
        return mirror if mirror is None or "://" in mirror else str(self.under_root(mirror))


def run(work: Callable[[Stage], None], *, each: Literal["dataset", "run"] | None = None) -> None:
    """Do a stage's work; a `UserError` is printed without a traceback and the stage fails."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    parser = argparse.ArgumentParser(description=sys.modules[work.__module__].__doc__)
    parser.add_argument(
        "--params", type=Path, required=True, help="parameter file, from the repository's root"
    )
    if each is not None:
        parser.add_argument(f"--{each}", dest="key", required=True, help=f"name of the {each}")
    arguments = parser.parse_args()
    key = getattr(arguments, "key", "")
    try:
        params = load_params(arguments.params)
        rows = {"dataset": params.datasets, "run": params.runs}.get(each or "", {"": None})
        if key not in rows:
            raise UserError(
                f"--{each} {key}: {arguments.params} has none of that name; known: {', '.join(rows)}"
            )
        root = Path(os.environ.get("DVC_ROOT") or Path.cwd())
        work(Stage(params=params, paths=Paths(Path(params.dir), params.name), key=key, root=root))
    except UserError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {in_words(error)}")
    except KeyboardInterrupt:
        sys.exit(130)
