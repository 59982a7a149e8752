"""Records of runs for tests that need one beside weights."""

from collections.abc import Mapping
from pathlib import Path

from alkdnet.config.params import Option
from alkdnet.files import sha256_file
from alkdnet.results.run import WEIGHTS, RunRecord


def write_run_record(folder: Path, *, network: str, scale: int, options: Mapping[str, Option]) -> None:
    """Write the run.json of weights that lie in the folder."""
    RunRecord(
        network=network,
        scale=scale,
        options=options,
        parameters=0,
        weights_sha256=sha256_file(folder / WEIGHTS),
        torch="",
        training=None,
        published=None,
    ).write(folder)
