"""Show in MLflow what a pipeline's outputs hold, also what came from DVC's cache or another machine."""

import argparse
import logging
import sys
from pathlib import Path

from alkdnet.config.loading import load_params
from alkdnet.config.paths import Paths
from alkdnet.errors import UserError
from alkdnet.tracking import sync_or_warn


def main() -> int:
    """Sync the pipelines of the given parameter files; 1 if a store could not be reached."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "params", type=Path, nargs="*", help="parameter files; without any, those of all pipelines"
    )
    chosen: list[Path] = parser.parse_args().params or [
        path.with_name("params.yaml")
        for path in sorted(Path().glob("dvc.yaml")) + sorted(Path().glob("*/dvc.yaml"))
    ]
    failed = False
    for path in chosen:
        params = load_params(path)
        paths = Paths(Path(params.dir), params.name)
        if not any(paths.model(run).exists() for run in params.runs):
            logging.info("%s: nothing trained yet", params.name)
            continue
        result = sync_or_warn(params, paths, Path.cwd())
        failed |= result is None
        if result is not None:
            logging.info("%s: %s", params.name, result)
    return int(failed)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"error: {error}")
