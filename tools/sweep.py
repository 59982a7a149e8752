"""Write the report of a sweep, reports/sweeps/<name>: the best values for a row, and the gain.

dvc exp run --queue -n rate -S 'recipes.paper.learning_rate=1e-2,1e-3' evaluate@alkdnet_x2
dvc queue start -j 2
PYTHONPATH=src python tools/sweep.py rate alkdnet_x2 --commit
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from processes import dvc_lines

from alkdnet.config.loading import DEMO, load_pipeline, params_path
from alkdnet.config.paths import Paths
from alkdnet.errors import exit_in_words
from alkdnet.results.scores import IMAGES, RECORD, SCORES, Scores
from alkdnet.sweeps.experiments import SUCCESS, read_sweep
from alkdnet.sweeps.report import write_report


def main() -> None:
    """Read the experiments and their scores, write the report, commit it if asked to."""
    arguments = _arguments()
    sets = load_pipeline(arguments.pipeline).history.validation_sets
    test_set = arguments.set or next(iter(sets), None)
    if test_set is None:
        sys.exit(f"error: {arguments.pipeline} has no validation set: say with --set which test set decides")
    exp_show = json.loads("".join(dvc_lines("exp", "show", "--json", "--rev", arguments.rev)))
    sweep = read_sweep(exp_show, arguments.name, str(params_path(arguments.pipeline)))
    folder = Paths(arguments.pipeline).evaluation(arguments.row)
    images = {
        each.name: scores
        for each in (sweep.baseline, *sweep.experiments)
        if each.state == SUCCESS and (scores := read_images(each.revision, folder)) is not None
    }
    report = Path("reports") / "sweeps" / arguments.name
    report.parent.mkdir(parents=True, exist_ok=True)
    print(write_report(report, sweep, images, row=arguments.row, test_set=test_set))
    print(f"report: {report}/README.md")
    if arguments.commit:
        commit(report, f"Report the sweep {arguments.name}")


def read_images(revision: str, folder: Path) -> pd.DataFrame | None:
    """Return the scores per image that a commit has in a folder of the repository; None if it has none."""
    with tempfile.TemporaryDirectory() as temporary:
        for name in (SCORES, IMAGES, RECORD):
            done = subprocess.run(["git", "show", f"{revision}:./{folder / name}"], capture_output=True)
            if done.returncode:
                return None
            (Path(temporary) / name).write_bytes(done.stdout)
        return Scores.read(Path(temporary)).images


def commit(folder: Path, message: str) -> None:
    """Commit a folder and nothing else; without changes there is nothing to do."""
    subprocess.run(["git", "add", "--", str(folder)], check=True)
    if subprocess.run(["git", "diff", "--cached", "--quiet", "--", str(folder)]).returncode:
        subprocess.run(["git", "commit", "--quiet", "-m", message, "--", str(folder)], check=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", help="of the sweep, as given to `dvc exp run -n`")
    parser.add_argument("row", help="the row that its experiments evaluate")
    parser.add_argument("--set", help="test set that decides; default: the pipeline's first validation set")
    parser.add_argument("--pipeline", default=DEMO, help="its name: demo, paper, ...")
    parser.add_argument("--rev", default="HEAD", help="the commit that the sweep starts from; default HEAD")
    parser.add_argument("--commit", action="store_true", help="commit the report")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        with exit_in_words():
            main()
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
