r"""Everything to do on a borrowed GPU, in one command, on a host that has only what the trainer needs.

    PYTHONPATH=src python benchmarks/gpu.py --params study/params.yaml --runs alkdnet_x2,bsrn_x2 \
        --photos photos --tests tests_hr --resume earlier --out out --minutes 9

It names the device and times training steps against plain ones (benchmarks/train_step.py), makes and packs
the LR images of the photographs, trains the runs in the given order, most worth first, until the time is
over, and measures PSNR on the test sets. A run that the time cuts short leaves a checkpoint, which `--resume`
of the next call continues; finished ones among the resumed are not trained again.

`--tests`: a folder with a folder of HR images for each test set, named as in the parameters; those that are
not there are left out, but for the validation set. `--out` receives summary.md and at most 7 archives of at
most 15 MiB: models (finished runs) and checkpoints, in the order of the runs; what no longer fits is named in
the summary. `models/<run>` of an archive comes into the pipeline's folder, and then `dvc commit`.
"""

import argparse
import dataclasses
import logging
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import torch

from alkdnet.config import Params, load_params
from alkdnet.data.lr import downscale_folder
from alkdnet.data.pairs import ImageHWC, read_pairs
from alkdnet.data.patches import PackedImages, TrainingSet, pack
from alkdnet.errors import UserError
from alkdnet.models.build import build, load_weights
from alkdnet.training.interruption import Stopped
from alkdnet.training.loop import train
from alkdnet.training.monitor import NullMonitor
from alkdnet.training.validation import validation_psnr

logger = logging.getLogger("gpu")

ARCHIVES, ARCHIVE_BYTES = 7, 15 * 2**20
# What is left of the time when training must stop: evaluating and packing what there is.
RESERVE_S = 45.0
Pairs = list[tuple[ImageHWC, ImageHWC]]


def prepare(params: Params, photos: Path, tests: Path, work: Path) -> dict[tuple[str, int], Pairs]:
    """Make LR images and packs of the photographs in `work`; return the test pairs by set and scale."""
    scales, border = params.downscale.scales, params.downscale.border
    (name,) = params.names("train")
    downscale_folder(photos, work / "lr" / name, scales, border=border)
    pack([TrainingSet(name, photos, work / "lr" / name)], work / "patches", scales)
    pairs = {}
    for test in params.names("test"):
        if (tests / test).is_dir():
            downscale_folder(tests / test, work / "lr" / test, scales, border=border)
            for scale in scales:
                lr = work / "lr" / test / f"x{scale}"
                pairs[test, scale] = read_pairs(tests / test, lr, scale=scale)
    if params.train.validation_set not in {test for test, _ in pairs}:
        raise UserError(f"{tests / params.train.validation_set}: the validation set must travel")
    return pairs


def train_until(
    deadline: float, runs: list[str], params: Params, pairs: dict[tuple[str, int], Pairs], work: Path
) -> dict[str, str]:
    """Train the runs in order; return for each what became of it."""
    outcome = {}
    # The alarm may come just after the loop has given back its handler: it must not end this program.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for name in runs:
        if (work / "models" / name / "run.json").is_file():
            outcome[name] = "finished before"
            continue
        left = deadline - time.monotonic()
        if left <= 0:
            outcome[name] = "not started"
            continue
        run = params.runs[name]
        alarm = threading.Timer(left, os.kill, (os.getpid(), signal.SIGTERM))
        started = time.monotonic()
        alarm.start()
        try:
            train(
                run=run,
                recipe=params.train,
                packed=PackedImages.open(work / "patches", run.scale),
                validation=pairs[params.train.validation_set, run.scale],
                output=work / "models" / name,
                checkpoints=work / "checkpoints",
                monitor=NullMonitor(),
            )
            outcome[name] = f"finished in {time.monotonic() - started:.0f} s"
        except Stopped:
            outcome[name] = f"stopped after {time.monotonic() - started:.0f} s, checkpoint left"
        except UserError as error:  # the other runs are worth their time still
            outcome[name] = f"failed: {error}"
        finally:
            alarm.cancel()
        logger.info("%s: %s", name, outcome[name])
    return outcome


def results(
    outcome: dict[str, str],
    params: Params,
    pairs: dict[tuple[str, int], Pairs],
    work: Path,
    device: torch.device,
) -> list[str]:
    """Return the table of runs: what became of each, and the PSNR of the finished ones."""
    tests = sorted({test for test, _ in pairs})
    header = f"| run | outcome | {' | '.join(f'{test}, dB' for test in tests)} |"
    lines = [header, "|" + "---|" * (2 + len(tests))]
    for name, words in outcome.items():
        run = params.runs[name]
        values = [""] * len(tests)
        weights = work / "models" / name / "weights.safetensors"
        if weights.is_file():
            model = build(run.network, run.scale, run.options)
            load_weights(weights, model)
            model.to(device).eval()
            values = [
                f"{validation_psnr(model, pairs[test, run.scale], scale=run.scale, device=device):.4f}"
                for test in tests
            ]
        lines.append(f"| {name} | {words} | {' | '.join(values)} |")
    return lines


def pack_up(runs: list[str], work: Path, out: Path) -> list[str]:
    """Put models and checkpoints into archives in `out`, most worth first; return what did not fit."""
    files = [path for run in runs for path in sorted((work / "models" / run).glob("*"))]
    files += [path for run in runs for path in sorted((work / "checkpoints").glob(f"{run}-*.ckpt"))]
    groups: list[list[Path]] = [[]]
    left_out = []
    for path in files:
        if sum(each.stat().st_size for each in [*groups[-1], path]) > ARCHIVE_BYTES and groups[-1]:
            if len(groups) == ARCHIVES:
                left_out.append(str(path.relative_to(work)))
                continue
            groups.append([])
        groups[-1].append(path)
    for number, group in enumerate(groups):
        with tarfile.open(out / f"runs-{number}.tar", "w") as archive:
            for path in group:
                archive.add(path, path.relative_to(work))
    return left_out


def step_table(device: torch.device, threads: int, arguments: argparse.Namespace) -> str:
    """Return the table of benchmarks/train_step.py, run in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.train_step", "--device", device.type, "--rounds", "1"]
    options = ["--threads", str(threads), "--batch", str(arguments.batch), "--steps", str(arguments.steps)]
    finished = subprocess.run([*command, *options], stdout=subprocess.PIPE, text=True)
    return finished.stdout if finished.returncode == 0 else "The benchmark failed; see the log.\n"


def main() -> None:
    """Read the command line and do it all."""
    started = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--runs", required=True, help="names in order of worth, separated by commas")
    parser.add_argument("--photos", type=Path, required=True, help="folder of training photographs")
    parser.add_argument("--tests", type=Path, required=True, help="folder of folders of HR test images")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--resume", type=Path, help="the --out of an earlier call")
    parser.add_argument("--minutes", type=float, default=9.0, help="wall time for all of it")
    parser.add_argument("--iterations", type=int, help="another length of the schedule than the parameters'")
    parser.add_argument("--no-benchmark", action="store_true", help="training only")
    parser.add_argument("--batch", type=int, default=64, help="of the benchmark")
    parser.add_argument("--steps", type=int, default=5, help="of the benchmark")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    params = load_params(arguments.params)
    if arguments.iterations is not None:
        recipe = dataclasses.replace(params.train, iterations=arguments.iterations)
        params = dataclasses.replace(params, train=recipe)
    runs = arguments.runs.split(",")
    if unknown := [name for name in runs if name not in params.runs or params.runs[name].kind != "trained"]:
        sys.exit(f"error: {arguments.params} trains no {', '.join(unknown)}")

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU: a rehearsal on the CPU"
    out, work = arguments.out, arguments.out / "work"
    work.mkdir(parents=True, exist_ok=True)
    summary = [f"# {name}", "", f"torch {torch.__version__}, {time.strftime('%Y-%m-%d', time.gmtime())}", ""]
    if not arguments.no_benchmark:
        summary += [step_table(device, params.train.threads, arguments), ""]
        (out / "summary.md").write_text("\n".join(summary))
    for archive in sorted(arguments.resume.glob("runs-*.tar")) if arguments.resume else []:
        with tarfile.open(archive) as tar:
            tar.extractall(work, filter="data")
    try:
        pairs = prepare(params, arguments.photos, arguments.tests, work)
    except UserError as error:
        sys.exit(f"error: {error}")
    deadline = started + 60 * arguments.minutes - min(RESERVE_S, 6 * arguments.minutes)
    outcome = train_until(deadline, runs, params, pairs, work)
    summary += [f"{params.train.iterations} iterations, {len(list(arguments.photos.iterdir()))} files.", ""]
    summary += results(outcome, params, pairs, work, device)
    if left_out := pack_up(runs, work, out):
        summary += ["", f"Did not fit: {', '.join(left_out)}"]
    (out / "summary.md").write_text("\n".join(summary) + "\n")
    shutil.rmtree(work)
    print((out / "summary.md").read_text())


if __name__ == "__main__":
    main()
