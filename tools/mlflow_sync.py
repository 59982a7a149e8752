"""Mirror a pipeline's outputs into MLflow, also those from DVC's cache or another machine."""

import argparse
import logging
import sys
from pathlib import Path

from alkdnet.config.loading import DEMO, load_pipeline
from alkdnet.config.paths import Paths
from alkdnet.errors import exit_in_words
from alkdnet.tracking import sync_or_warn


def main() -> int:
    """Sync the given pipelines; 1 if a store could not be reached."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "pipelines", nargs="*", help="names: demo, paper, ...; without any, all that have results"
    )
    chosen = parser.parse_args().pipelines
    known = [DEMO, *(file.parent.name for file in sorted(Path().glob("*/dvc.yaml")))]
    failed = False
    for name in chosen or [name for name in known if (Paths(name).directory / "results").is_dir()]:
        failed |= sync_or_warn(load_pipeline(name), Paths(name), Path.cwd()) is None
    return int(failed)


if __name__ == "__main__":
    with exit_in_words():
        sys.exit(main())
