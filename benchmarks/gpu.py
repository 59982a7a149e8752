r"""Everything to do on a borrowed GPU, in one command, on a host that has only what the trainer needs.

    PYTHONPATH=src python -m benchmarks.gpu study --runs alkdnet_x2,bsrn_x2 \
        --photos .gpu/photos --tests .gpu/tests --resume .gpu/earlier --out out --minutes 9

It names the device, measures its copy bandwidth and matrix rates, times training steps against plain ones
(benchmarks/train_step.py), makes and packs the LR images that the runs need, trains the runs in the given
order, most worth first, until the time is over, and evaluates the finished ones. A run that the time cuts
short leaves a checkpoint, which `--resume` of the next call continues; finished ones among the resumed are
not trained again. What fails is logged and costs the others nothing.

benchmarks/gpu_pack.py makes the folder that travels. `--tests`: a folder with a folder of HR images for each
test set, named as in the parameters; those that are not there are left out, but for the validation set.
`--out` receives at most 6 files of at most 15 MiB:

    summary.md      device, rates, benchmark, what became of every run, mean PSNR and SSIM
    results.tar     results/evaluation/<run>: PSNR and SSIM per image (with pandas and scikit-image)
    runs-<n>.tar    models/<run> of finished runs and checkpoints, in the order of the runs; what no longer
                    fits is named in the summary

`models/<run>` comes into the pipeline's folder, and then `dvc commit`.
"""

import argparse
import dataclasses
import importlib.util
import logging
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from alkdnet.config.loading import load_pipeline
from alkdnet.config.params import Params
from alkdnet.data.images import list_images
from alkdnet.data.lr import downscale_folder
from alkdnet.data.packing import TrainingSet, pack
from alkdnet.data.packs import PackedImages
from alkdnet.data.pairs import read_pairs
from alkdnet.device import arithmetic
from alkdnet.errors import UserError
from alkdnet.evaluation.protocol import Protocol
from alkdnet.files import read_json
from alkdnet.inference.upscaler import Upscaler
from alkdnet.training.loop import train
from alkdnet.training.runtime.monitor import NullMonitor
from alkdnet.training.runtime.signals import Stopped
from alkdnet.training.validation import Validator
from alkdnet.weights.runs import load_run
from benchmarks.train_step import (
    copy_bandwidth,
    device_name,
    matrix_rate,
    precision_of,
    rates_in_words,
    variants,
)

logger = logging.getLogger("gpu")

ARCHIVES, ARCHIVE_BYTES = 4, 15 * 2**20
# What is left of the time when training must stop: evaluating and packing what there is.
RESERVE_S = 45.0
# The compiler's time before the first step on CUDA, generously.
COMPILATION_S = 90.0


@dataclass
class Visit:
    """One call: what it works on, and what became of it."""

    params: Params
    runs: list[str]
    photos: Path
    tests: Path
    work: Path
    device: torch.device
    deadline: float
    """Of the training, by time.monotonic()."""
    least_s: float
    """Seconds of training that are worth a start."""
    outcome: dict[str, str] = field(default_factory=dict)
    """What became of each run, in words."""

    def is_finished(self, run: str) -> bool:
        """Return whether a run is trained, here or in an earlier visit."""
        return (self.work / "models" / run / "run.json").is_file()

    def is_unmeasured(self, run: str) -> bool:
        """Return whether a run's weights are here and its results are not."""
        return (self.work / "models" / run / "weights.safetensors").is_file() and not self.results(
            run
        ).is_dir()

    def results(self, run: str) -> Path:
        """Return the folder of a run's results."""
        return self.work / "results" / "evaluation" / run

    def test_sets(self) -> list[str]:
        """Return the test sets that have travelled."""
        return [name for name in self.params.names("test") if (self.tests / name).is_dir()]


def prepare(visit: Visit) -> str:
    """Make the LR images and packs of the scales that the runs still need; return the data in words."""
    params, work = visit.params, visit.work
    due = [run for run in visit.runs if not visit.is_finished(run) or visit.is_unmeasured(run)]
    scales = sorted({params.runs[run].scale for run in due})
    if not scales:
        return "All runs were finished before."
    for name in params.history.validation_sets:
        if name not in visit.test_sets():
            raise UserError(f"{visit.tests / name}: the validation sets must travel")
    border = params.downscale.border
    for name in visit.test_sets():
        alpha = params.datasets[name].alpha
        downscale_folder(visit.tests / name, work / "lr" / name, scales, border=border, alpha=alpha)
    (name,) = params.names("train")
    alpha = params.datasets[name].alpha
    downscale_folder(visit.photos, work / "lr" / name, scales, border=border, alpha=alpha)
    pack([TrainingSet(name, visit.photos, work / "lr" / name, alpha)], work / "patches", scales)
    digest = read_json(work / "patches" / "hr" / "index.json")["digest"]
    lengths = " or ".join(sorted({str(params.recipe_of(run).iterations) for run in visit.runs}))
    return (
        f"{lengths} iterations on {len(list_images(visit.photos))} photographs "
        f"(digest {digest[:16]}: the same in all visits, or runs are not continued)."
    )


def train_all(visit: Visit) -> None:
    """Train the runs in order until the deadline, and note for each what became of it."""
    # The alarm may come just after the loop has given back its handler: it must not end this program.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    compiled = visit.params.execution.compile and visit.device.type == "cuda"
    needed_s = visit.least_s + (COMPILATION_S if compiled else 0.0)
    for name in visit.runs:
        left_s = visit.deadline - time.monotonic()
        if visit.is_finished(name):
            visit.outcome[name] = "finished before"
        elif left_s < needed_s:
            visit.outcome[name] = "not started"
        else:
            visit.outcome[name] = train_one(visit, name, left_s)
        logger.info("%s: %s", name, visit.outcome[name])


def train_one(visit: Visit, name: str, left_s: float) -> str:
    """Train one run for `left_s` seconds at most; return what became of it."""
    params, run, work = visit.params, visit.params.runs[name], visit.work
    alarm = threading.Timer(left_s, os.kill, (os.getpid(), signal.SIGTERM))
    started = time.monotonic()
    alarm.start()
    try:
        train(
            run=run,
            recipe=params.recipe_of(name),
            history=params.history,
            execution=params.execution,
            packed=PackedImages.open(work / "patches", run.scale),
            validation=[
                pair
                for test in sorted(params.history.validation_sets)
                for pair in read_pairs(
                    visit.tests / test,
                    work / "lr" / test / f"x{run.scale}",
                    scale=run.scale,
                    alpha=params.datasets[test].alpha,
                )
            ],
            output=work / "models" / name,
            checkpoints=work / "checkpoints",
            monitor=NullMonitor(),
        )
    except Stopped:
        return f"stopped after {time.monotonic() - started:.0f} s, checkpoint left"
    except Exception as error:  # out of memory, a compiler's error: the other runs are worth their time still
        logger.exception("%s failed", name)
        return f"failed: {_in_a_line(error)}"
    finally:
        alarm.cancel()
        # The compiler takes the next run's step for another shape of this one, and gives up at the eighth.
        torch.compiler.reset()
        if visit.device.type == "cuda":
            torch.cuda.empty_cache()
    return f"finished in {time.monotonic() - started:.0f} s"


def evaluate_all(visit: Visit, deadline: float) -> list[str]:
    """Evaluate finished runs until the deadline; return the table of runs: outcome, mean PSNR and SSIM."""
    tests = visit.test_sets()
    lines = [f"| run | outcome | {' | '.join(tests)} |", "|" + "---|" * (2 + len(tests))]
    for name in visit.runs:
        means = dict.fromkeys(tests, "")
        try:
            if visit.is_unmeasured(name) and time.monotonic() < deadline:
                means |= evaluate_one(visit, name)
            elif visit.results(name).is_dir():
                means |= _means(visit, name)
        except Exception:
            logger.exception("%s could not be evaluated", name)
        lines.append(f"| {name} | {visit.outcome.get(name, '')} | {' | '.join(means.values())} |")
    return lines


def evaluate_one(visit: Visit, name: str) -> dict[str, str]:
    """Evaluate a run as the stage `evaluate` does; return the means by test set, in words."""
    run, settings = visit.params.runs[name], visit.params.evaluate
    model, record = load_run(visit.work / "models" / name)
    with arithmetic(visit.device, "float32", threads=1):
        if not all(importlib.util.find_spec(package) for package in ("pandas", "skimage")):
            model.to(visit.device).eval()
            means = {}
            for test in visit.test_sets():
                lr = visit.work / "lr" / test / f"x{run.scale}"
                pairs = read_pairs(
                    visit.tests / test, lr, scale=run.scale, alpha=visit.params.datasets[test].alpha
                )
                psnr = Validator(pairs, scale=run.scale, device=visit.device).start(model)
                means[test] = f"{psnr.result():.4f} dB"
            return means
        from alkdnet.evaluation.benchmark import BenchmarkSet, evaluate

        result = evaluate(
            Upscaler(model, device=visit.device, self_ensemble=settings.self_ensemble, tile=settings.tile),
            [
                BenchmarkSet(
                    name=test,
                    hr_folder=visit.tests / test,
                    lr_folder=visit.work / "lr" / test / f"x{run.scale}",
                    alpha=visit.params.datasets[test].alpha,
                )
                for test in visit.test_sets()
            ],
            scale=run.scale,
            protocol=Protocol.of(settings),
            workers=visit.params.execution.threads if visit.device.type == "cpu" else 1,
            description=name,
            weights_sha256=record.weights_sha256,
        )
    result.write(visit.results(name))
    return _means(visit, name)


def _means(visit: Visit, name: str) -> dict[str, str]:
    from alkdnet.results.scores import read_means

    means = read_means(visit.results(name))
    return {test: f"{mean.psnr:.4f} dB / {mean.ssim:.5f}" for test, mean in means.items()}


def pack_up(runs: Sequence[str], work: Path, out: Path) -> list[str]:
    """Put models and checkpoints into archives in `out`, most worth first; return what did not fit."""
    groups: list[list[Path]] = [[]]
    left_out = []
    for run in runs:
        files = sorted((work / "models" / run).glob("*"))
        for path in [*files, *sorted((work / "checkpoints").glob(f"{run}-*.ckpt"))]:
            if sum(each.stat().st_size for each in [*groups[-1], path]) > ARCHIVE_BYTES and groups[-1]:
                if len(groups) == ARCHIVES:
                    left_out.append(str(path.relative_to(work)))
                    continue
                groups.append([])
            groups[-1].append(path)
    for number, group in enumerate(groups):
        _archive(out / f"runs-{number}.tar", group, work)
    return left_out


def _archive(target: Path, files: Sequence[Path], work: Path) -> None:
    with tarfile.open(target, "w") as archive:
        for path in files:
            archive.add(path, path.relative_to(work))


def step_table(device: torch.device, threads: int, seconds: float, arguments: argparse.Namespace) -> str:
    """Return the table of benchmarks/train_step.py, run in processes of its own for so many seconds."""
    command = [sys.executable, "-m", "benchmarks.train_step", "--device", device.type, "--rounds", "1"]
    options = ["--threads", str(threads), "--batch", str(arguments.batch), "--steps", str(arguments.steps)]
    with subprocess.Popen(
        [*command, *options, "--seconds", f"{seconds:.0f}"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            # It keeps to its seconds itself, but for what it measures of the device.
            shown, _ = process.communicate(timeout=seconds + 20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return "The benchmark took too long."
    return shown if process.returncode == 0 else "The benchmark failed; see the log."


def device_rates(device: torch.device) -> str:
    """Return the device's measured limits in words."""
    precisions = dict.fromkeys(precision_of(variant) for variant in variants(device.type))
    rates = {precision: matrix_rate(device, precision) for precision in precisions}
    return f"{rates_in_words(copy_bandwidth(device), rates)}."


def _in_a_line(error: Exception) -> str:
    """Return the error's kind and the beginning of its first line, fit for a cell of a table."""
    first = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {first[:200]}".replace("|", "/")


class Summary:
    """The lines of summary.md, on disk after every addition: a visit may end at any moment."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[str] = []

    def add(self, *lines: str) -> None:
        """Add lines, and an empty one behind them."""
        self.lines += [*lines, ""]
        self.path.write_text("\n".join(self.lines))


def work_through(visit: Visit, summary: Summary, arguments: argparse.Namespace) -> None:
    """Do all that the visit is for, but evaluating and packing up."""
    summary.add(device_rates(visit.device))
    for archive in sorted(arguments.resume.glob("*.tar")) if arguments.resume else []:
        with tarfile.open(archive) as tar:
            tar.extractall(visit.work, filter="data")
    left_s = visit.deadline - time.monotonic()
    if not arguments.no_benchmark and left_s > 0:
        # Training keeps the larger half of the time.
        summary.add(step_table(visit.device, visit.params.execution.threads, left_s / 2 - 20, arguments))
    summary.add(prepare(visit))
    train_all(visit)


def main() -> None:
    """Read the command line and do it all."""
    started = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("pipeline", help="its name: study, paper, ...")
    parser.add_argument("--runs", required=True, help="names in order of worth, separated by commas")
    parser.add_argument("--photos", type=Path, required=True, help="folder of training photographs")
    parser.add_argument("--tests", type=Path, required=True, help="folder of folders of HR test images")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--resume", type=Path, help="the --out of an earlier call, or what gpu_pack made of it"
    )
    parser.add_argument("--minutes", type=float, default=9.0, help="wall time for all of it")
    parser.add_argument(
        "--least", type=float, default=20.0, help="seconds of training that are worth a start"
    )
    parser.add_argument("--iterations", type=int, help="another length of the schedule than the parameters'")
    parser.add_argument("--no-benchmark", action="store_true", help="training only")
    parser.add_argument("--batch", type=int, default=64, help="of the benchmark")
    parser.add_argument("--steps", type=int, default=5, help="of the benchmark")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        params = load_pipeline(arguments.pipeline)
    except UserError as error:
        sys.exit(f"error: {error}")
    if arguments.iterations is not None:
        recipes = {
            name: dataclasses.replace(recipe, iterations=arguments.iterations)
            for name, recipe in params.recipes.items()
        }
        params = dataclasses.replace(params, recipes=recipes)
    runs = arguments.runs.split(",")
    if unknown := [name for name in runs if name not in params.runs]:
        sys.exit(f"error: {arguments.pipeline} trains no {', '.join(unknown)}")

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    arguments.out.mkdir(parents=True, exist_ok=True)
    summary = Summary(arguments.out / "summary.md")
    rehearsal = "" if device.type == "cuda" else ": a rehearsal without a GPU"
    summary.add(f"# {device_name(device)}{rehearsal}")
    summary.add(f"torch {torch.__version__}, {time.strftime('%Y-%m-%d', time.gmtime())}")
    end = started + 60 * arguments.minutes
    # Outside of --out, so that a visit that is killed carries no half work back.
    with tempfile.TemporaryDirectory(prefix="gpu-") as work:
        visit = Visit(
            params=params,
            runs=runs,
            photos=arguments.photos,
            tests=arguments.tests,
            work=Path(work),
            device=device,
            deadline=end - min(RESERVE_S, 6 * arguments.minutes),
            least_s=arguments.least,
        )
        broken = None
        try:
            work_through(visit, summary, arguments)
        except Exception as error:
            logger.exception("the visit broke off; what there is comes back")
            broken = _in_a_line(error)
            summary.add(f"Broken off: {broken}")
        finally:
            # First what cannot be computed again: weights and checkpoints.
            if left_out := pack_up(runs, visit.work, arguments.out):
                summary.add(f"Did not fit: {', '.join(left_out)}")
        summary.add(*evaluate_all(visit, end))
        results = sorted(path for path in (visit.work / "results").rglob("*") if path.is_file())
        _archive(arguments.out / "results.tar", results, visit.work)
    print(summary.path.read_text())
    if broken:
        sys.exit(1)


if __name__ == "__main__":
    main()
