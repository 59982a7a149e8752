"""Train rows of a pipeline on a host without network, DVC or MLflow.

PYTHONPATH=src python tools/bundle.py pack study bundle     # here
python bundle/tools/bundle.py train --minutes 60 out        # there
PYTHONPATH=src python tools/bundle.py take study out/*.tar  # here
"""

import argparse
import logging
import math
import signal
import sys
import time
from functools import partial
from pathlib import Path

# On the host, the package is in the bundle only.
HERE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(HERE / "src"))

from processes import devices, due_runs, dvc, environment, find_stages

from alkdnet.bundle.archives import ArchiveWriter
from alkdnet.bundle.records import BUNDLE
from alkdnet.config.loading import load_pipeline
from alkdnet.config.paths import Paths, checkpoints
from alkdnet.errors import UserError, exit_in_words, raise_problems
from alkdnet.files import require_replaceable

MIB = 2**20


def pack(arguments: argparse.Namespace) -> None:
    """Make what the trainings depend on, then pack the runs that are due."""
    from alkdnet.bundle.packing import pack_bundle
    from alkdnet.tracking.location import code_revision

    require_replaceable(arguments.target, mark=BUNDLE)
    params = load_pipeline(arguments.pipeline)
    if unknown := [run for run in arguments.runs if run not in params.trained]:
        raise UserError(
            f"{arguments.pipeline} has no run {', '.join(unknown)}; it has: {', '.join(params.trained)}"
        )
    stages = find_stages(arguments.pipeline)
    if stages.before and dvc("repro", *stages.before):
        raise UserError("a stage that the runs depend on failed; nothing was packed")
    runs = due_runs(stages, params, arguments.runs or list(params.trained))
    if not runs:
        print("every run is trained: there is nothing to pack")
        return
    bundle = pack_bundle(
        params,
        runs,
        arguments.target,
        root=Path(),
        checkpoints=checkpoints(Path(), arguments.pipeline),
        commit=code_revision(Path()),
        limit_bytes=None if arguments.limit is None else round(arguments.limit * MIB),
        images=arguments.images,
    )
    used = sum(path.stat().st_size for path in arguments.target.rglob("*") if path.is_file())
    print(f"{arguments.target}: {used / MIB:.1f} MiB, {len(bundle.runs)} runs: {', '.join(bundle.runs)}")


def train(arguments: argparse.Namespace) -> None:
    """Train the runs of the bundle that this file is in, until the time is up."""
    started = time.monotonic()
    import torch

    from alkdnet.bundle.trainer import GRACE_S, BundleTrainer
    from alkdnet.tracking.location import find_store
    from alkdnet.tracking.timings import read_timings

    trainer = BundleTrainer(
        HERE,
        archives=ArchiveWriter(arguments.out, round(arguments.archive * MIB)),
        devices=devices(),
        deadline=math.inf if arguments.minutes is None else started + 60 * arguments.minutes - GRACE_S,
        environment=environment(),
        device_name=torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        torch=torch.__version__,
        timings=partial(read_timings, find_store(HERE)),
    )
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, lambda *_: trainer.stop())
    trainer.prepare()
    trainer.train()
    if trainer.failed:
        sys.exit(1)


def take(arguments: argparse.Namespace) -> None:
    """Verify and import the results in archives, and record finished runs with DVC."""
    from alkdnet.bundle.importing import import_results
    from alkdnet.tracking import sync_or_warn
    from alkdnet.tracking.location import find_store
    from alkdnet.tracking.timings import write_timing

    params = load_pipeline(arguments.pipeline)
    stages = find_stages(arguments.pipeline)
    if stages.before and dvc("repro", *stages.before):
        raise UserError("a stage that the runs depend on failed; nothing was imported")
    paths = Paths(arguments.pipeline)
    folder = checkpoints(Path(), arguments.pipeline)
    imported = import_results(params, paths, arguments.archives, checkpoints=folder)
    if imported.finished and dvc("commit", "--force", *(stages.training[run] for run in imported.finished)):
        raise UserError("the runs are in their folders, but DVC could not record them (its output is above)")
    if imported.finished:
        for timing in imported.timings:
            write_timing(find_store(Path.cwd()), timing)
        sync_or_warn(params, paths, Path.cwd())
    for what, runs in (("finished", imported.finished), ("to be continued", imported.resumable)):
        if runs:
            print(f"{what}: {', '.join(runs)}")
    raise_problems(imported.problems, "not imported:")


def main() -> None:
    """Run the subcommand of the command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(required=True)

    packing = commands.add_parser("pack", help="here: pack the runs that are due", description=pack.__doc__)
    packing.add_argument("pipeline", help="its name: study, paper, ...")
    packing.add_argument("target", type=Path, help="the folder to write; a bundle there is replaced")
    packing.add_argument(
        "runs", nargs="*", help="in the order of training; default: all, in the order of the file"
    )
    packing.add_argument("--limit", type=float, metavar="MIB", help="reject a bundle that is larger")
    packing.add_argument(
        "--images",
        action="store_true",
        help="pack the images, often a tenth of the size of the patches, which\n"
        "the host then makes with Pillow",
    )
    packing.set_defaults(work=pack)

    training = commands.add_parser(
        "train", help="there: train until the time is up", description=train.__doc__
    )
    training.add_argument("out", type=Path, help="folder that receives the archives")
    training.add_argument("--minutes", type=float, help="time limit; default: until everything is trained")
    training.add_argument(
        "--archive", type=float, metavar="MIB", default=15.0, help="largest size of an archive, default 15"
    )
    training.set_defaults(work=train)

    taking = commands.add_parser("take", help="here: import the results", description=take.__doc__)
    taking.add_argument("pipeline", help="its name: study, paper, ...")
    taking.add_argument("archives", nargs="+", type=Path, help="of one host or several")
    taking.set_defaults(work=take)

    arguments = parser.parse_args()
    with exit_in_words():
        arguments.work(arguments)


if __name__ == "__main__":
    main()
