"""Register the weights of a run in MLflow's model registry, and give the best version the alias `best`.

PYTHONPATH=src python tools/register.py demo --run alkdnet_x2
"""

import argparse
import logging
import sys
from pathlib import Path

from alkdnet.config.loading import dvc_target, load_pipeline
from alkdnet.config.paths import Paths
from alkdnet.errors import UserError, exit_in_words, in_one_line
from alkdnet.tracking import sync
from alkdnet.tracking.location import find_store


def main() -> None:
    """Read the command line, make MLflow show the pipeline as it is, and register."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pipeline", help="its name: demo, paper, ...")
    parser.add_argument("--run", required=True, help="name of the row")
    arguments = parser.parse_args()
    try:
        params, paths = load_pipeline(arguments.pipeline), Paths(arguments.pipeline)
        known = (*params.trained, *params.released)
        if arguments.run not in known:
            raise UserError(f"{arguments.pipeline} has no row {arguments.run}; it has: {', '.join(known)}")
        folder = paths.model(arguments.run)
        if not folder.is_dir():
            command = f"dvc repro {dvc_target(arguments.pipeline)}"
            raise UserError(f"{folder}: not there yet; `{command}` makes it")
        if deleted := sync(params, paths, Path.cwd()).deleted:
            raise UserError(deleted)
        from alkdnet.tracking.registry import register

        print(register(find_store(Path.cwd()), arguments.pipeline, folder))
    except ImportError as error:
        sys.exit(f"error: MLflow is not installed: {in_one_line(error)}")


if __name__ == "__main__":
    with exit_in_words():
        main()
