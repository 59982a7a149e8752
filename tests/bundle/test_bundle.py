"""A bundle on its way: packed, trained, imported; damaged ones and those of other code are rejected."""

import dataclasses
import io
import json
import logging
import math
import os
import shutil
import signal
import tarfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import yaml

from alkdnet.bundle.archives import ArchiveWriter
from alkdnet.bundle.importing import ImportedResults, import_results
from alkdnet.bundle.packing import CODE, pack_bundle
from alkdnet.bundle.records import RECORDS, Bundle, Result
from alkdnet.bundle.trainer import MIN_TRAINING_S, BundleTrainer, read_bundle
from alkdnet.config.loading import load_pipeline
from alkdnet.config.paths import Paths
from alkdnet.data.packs import PackedImages
from alkdnet.data.validation_images import read_validation
from alkdnet.errors import UserError
from alkdnet.files import sha256_file
from alkdnet.training.loop import train
from alkdnet.training.runtime.monitor import Monitor, NullMonitor
from alkdnet.training.runtime.signals import Stopped
from alkdnet.training.runtime.timing import Timing
from tests.training.trainer import make_pipeline

RUN = "alkdnet_x2"
# Starts from the weights of RUN.
CHILD = "warm_x2"
TIMING = Timing(weights_sha256="0" * 64, started_ms=1, seconds=2.0, iterations_per_second=None, device="CPU")


@pytest.fixture
def checkout(tmp_path: Path, repository: Path) -> Path:
    """A folder like a checkout of the project, with tiny runs and data."""
    folder = tmp_path / "here"
    folder.mkdir()
    make_pipeline(folder)
    parameters = folder / "study" / "params.yaml"
    content = yaml.safe_load(parameters.read_text())
    content["finetuned"][CHILD] = {**content["runs"][RUN], "init_from": RUN}
    parameters.write_text(yaml.safe_dump(content))
    for name in CODE:
        source, target = repository / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target)
    return folder


def pack(
    checkout: Path, target: Path, *, runs: Sequence[str] = (RUN, "bsrn_x2"), limit: int | None = None
) -> Bundle:
    return pack_bundle(
        load_pipeline("study", checkout),
        runs,
        target,
        root=checkout,
        checkpoints=checkout / ".checkpoints/study",
        commit="abc",
        limit_bytes=limit,
    )


def train_run(checkout: Path, run: str = RUN, *, monitor: Monitor | None = None) -> None:
    """Train a run in a folder as the stage does."""
    params, paths = load_pipeline("study", checkout), Paths("study", checkout)
    row = params.trained[run]
    train(
        run=row,
        recipe=params.recipe_of(run),
        history=params.history,
        execution=params.execution,
        packed=PackedImages.open(paths.patches, row.scale),
        validation=read_validation(paths.validation(row.scale), params.history.validation_sets),
        output=paths.model(run),
        checkpoints=checkout / ".checkpoints/study",
        monitor=monitor or NullMonitor(),
        start=paths.start(row),
    )


class StopAt(NullMonitor):
    """Asks its training to stop when the row of an iteration is logged."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def log(self, iteration: int, values: Mapping[str, float]) -> None:
        if iteration == self.iteration:
            os.kill(os.getpid(), signal.SIGUSR2)


def train_until(checkout: Path, iteration: int) -> None:
    with pytest.raises(Stopped, match="SIGUSR2"):
        train_run(checkout, monitor=StopAt(iteration))


def archive(checkout: Path, out: Path, run: str = RUN, *, finished: bool) -> Path:
    """Write an archive of a run as a host does."""
    folder = Paths("study", checkout).model(run) if finished else checkout / ".checkpoints/study"
    paths = [path for path in sorted(folder.iterdir()) if path.suffix != ".lock"]
    files = {str(path.relative_to(checkout)): path for path in paths}
    result = Result(
        run=run,
        commit="abc",
        finished=finished,
        device="CPU",
        torch="2",
        seconds=1.0,
        timing=TIMING if finished else None,
        files={name: sha256_file(path) for name, path in files.items()},
    )
    assert ArchiveWriter(out, 2**20).add(result, files)
    return max(out.iterdir())


def make_trainer(folder: Path, *, seconds: float = math.inf) -> BundleTrainer:
    """Return the trainer of the bundle in a folder, on a host with two GPUs."""
    return BundleTrainer(
        folder / "bundle",
        archives=ArchiveWriter(folder / "out", 2**20),
        devices=["0", "1"],
        deadline=time.monotonic() + seconds,
        environment={},
        device_name="CPU",
        torch="2",
        timings=dict,
    )


def take(checkout: Path, *archives: Path) -> ImportedResults:
    return import_results(
        load_pipeline("study", checkout),
        Paths("study", checkout),
        archives,
        checkpoints=checkout / ".checkpoints/study",
    )


def test_a_bundle_has_what_its_runs_need_and_knows_when_it_has_changed(
    checkout: Path, tmp_path: Path
) -> None:
    train_until(checkout, 4)
    bundle = pack(checkout, tmp_path / "bundle")
    assert bundle.runs == (RUN, "bsrn_x2")
    assert list(bundle.data) == ["x2"]
    assert [name for name in bundle.files if name.startswith(f".checkpoints/study/{RUN}-")]
    assert {"study/params.yaml", "study/patches/hr/images.bin", "pipeline/train.py"} < set(bundle.files)
    assert read_bundle(tmp_path / "bundle") == bundle
    (tmp_path / "bundle/study/params.yaml").write_text("runs: {}")
    (tmp_path / "bundle/pipeline/train.py").unlink()
    with pytest.raises(UserError, match=r"params.yaml: differs from the packed file\n.*train.py: missing"):
        read_bundle(tmp_path / "bundle")


def test_a_bundle_above_the_limit_is_not_written(checkout: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the limit is 50 kB; largest: src/alkdnet .*--images"):
        pack(checkout, tmp_path / "bundle", limit=50_000)
    assert not (tmp_path / "bundle").exists()


def test_outputs_are_taken_in_once_they_are_of_this_checkout(checkout: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    shutil.copytree(checkout, there)
    train_run(there)
    path = archive(there, tmp_path / "out", finished=True)
    assert take(checkout, path) == ImportedResults(finished=[RUN], timings=[TIMING])
    for file in Paths("study", there).model(RUN).iterdir():
        assert (Paths("study", checkout).model(RUN) / file.name).read_bytes() == file.read_bytes()

    shutil.rmtree(Paths("study", checkout).model(RUN))
    parameters = checkout / "study/params.yaml"
    parameters.write_text(parameters.read_text().replace("beta1: 0.9\n", "beta1: 0.8\n"))
    imported = take(checkout, path)
    assert imported.finished == []
    (problem,) = imported.problems
    assert problem.startswith(f"{path}: {RUN}: trained with other code, parameters or data")
    assert "packed at commit abc" in problem
    assert not Paths("study", checkout).model(RUN).exists()


def test_a_checkpoint_is_taken_in_if_it_is_further(checkout: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    shutil.copytree(checkout, there)
    train_until(there, 4)
    early = archive(there, tmp_path / "early", finished=False)
    train_until(there, 12)
    late = archive(there, tmp_path / "late", finished=False)
    assert take(checkout, late, early) == ImportedResults(resumable=[RUN])
    train_run(checkout)
    train_run(there)
    for file in Paths("study", there).model(RUN).iterdir():
        assert (Paths("study", checkout).model(RUN) / file.name).read_bytes() == file.read_bytes()


def test_what_is_damaged_is_named_and_costs_the_others_nothing(checkout: Path, tmp_path: Path) -> None:
    train_run(checkout)
    good = archive(checkout, tmp_path / "good", finished=True)
    torn = tmp_path / "torn.tar"
    torn.write_bytes(good.read_bytes()[:3000])
    altered = tmp_path / "altered.tar"
    with tarfile.open(good) as source, tarfile.open(altered, "w") as target:
        for member in source:
            content = source.extractfile(member)
            assert content is not None
            data = bytearray(content.read())
            if member.name.endswith("history.csv"):
                data[-3] ^= 1
            target.addfile(member, io.BytesIO(data))
    unknown = tmp_path / "unknown.tar"
    with tarfile.open(unknown, "w") as target:
        record = {"run": "nobody", "commit": "", "finished": True, "device": "", "torch": "", "seconds": 1.0}
        data = bytearray(json.dumps({**record, "timing": None, "files": {}}).encode())
        member = tarfile.TarInfo(f"{RECORDS}/nobody.json")
        member.size = len(data)
        target.addfile(member, io.BytesIO(data))
    imported = take(checkout, torn, altered, unknown, tmp_path / "missing.tar", good)
    assert imported.finished == [RUN]
    # Archives that cannot be read come first.
    assert [problem.partition(": ")[0] for problem in imported.problems] == [
        str(path) for path in (torn, tmp_path / "missing.tar", altered, unknown)
    ]
    assert "copy it again" in imported.problems[0]
    assert "history.csv is damaged" in imported.problems[2]
    assert "has no such run" in imported.problems[3]


def test_archives_stay_below_their_limit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writer = ArchiveWriter(tmp_path / "out", 40_000)
    result = Result(
        run="a", commit="", finished=True, device="", torch="", seconds=1.0, timing=None, files={}
    )
    file = tmp_path / "file"
    file.write_bytes(bytes(12_000))
    for number in range(5):
        assert writer.add(dataclasses.replace(result, run=str(number)), {f"models/{number}/w": file})
    file.write_bytes(bytes(40_000))
    with caplog.at_level(logging.WARNING):
        assert not writer.add(result, {"models/a/w": file})
    assert "a: its files take 42 kB, more than an archive may (40 kB)" in caplog.text
    archives = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in archives] == ["results-0.tar", "results-1.tar", "results-2.tar"]
    assert all(path.stat().st_size <= 40_000 for path in archives)
    # The next writer begins a new one.
    assert ArchiveWriter(tmp_path / "out", 80_000).add(result, {"models/a/w": file})
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_weights_to_start_from_travel_or_are_trained_in_the_bundle(checkout: Path, tmp_path: Path) -> None:
    weights = f"study/models/{RUN}/weights.safetensors"
    with pytest.raises(UserError, match=f"{CHILD} starts from the weights of {RUN}, but there is no "):
        pack(checkout, tmp_path / "bundle", runs=[CHILD])
    train_run(checkout)
    assert weights in pack(checkout, tmp_path / "bundle", runs=[CHILD]).files
    # What lies there is to be trained again: the weights may be of other parameters.
    assert weights not in pack(checkout, tmp_path / "bundle", runs=[CHILD, RUN]).files


def test_a_run_is_taken_in_after_the_one_that_it_starts_from(checkout: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    shutil.copytree(checkout, there)
    train_run(there)
    train_run(there, CHILD)
    parent = archive(there, tmp_path / "parent", finished=True)
    child = archive(there, tmp_path / "child", CHILD, finished=True)
    imported = take(checkout, child)
    assert imported.finished == []
    assert f"{CHILD} starts from the weights of {RUN}, but there is no " in imported.problems[0]
    assert take(checkout, child, parent).finished == [RUN, CHILD]


def test_no_run_starts_in_the_last_seconds(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(checkout, tmp_path / "bundle")
    trainer = make_trainer(tmp_path, seconds=MIN_TRAINING_S - 1)
    monkeypatch.setattr(BundleTrainer, "_start", lambda *_, **__: pytest.fail("started"))
    trainer.train()
    assert trainer.outcome == dict.fromkeys((RUN, "bsrn_x2"), "not started")
    assert not trainer.failed


def test_a_run_waits_for_the_one_that_it_starts_from_and_others_do_not(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(checkout, tmp_path / "bundle", runs=[CHILD, RUN, "bsrn_x2"])
    events = []

    def train_one(trainer: BundleTrainer, run: str, device: str) -> str:
        events.append(f"{run} begins")
        time.sleep(0.3 if run == RUN else 0.0)
        events.append(f"{run} ends")
        return ""

    monkeypatch.setattr(BundleTrainer, "_train_one", train_one)
    # The parameters here train on a CPU.
    monkeypatch.setattr("alkdnet.bundle.trainer.device_groups", lambda devices, execution: list(devices))
    make_trainer(tmp_path).train()
    assert sorted(events[:2]) == [f"{RUN} begins", "bsrn_x2 begins"]
    assert events[3:] == [f"{RUN} ends", f"{CHILD} begins", f"{CHILD} ends"]


def test_a_run_is_not_started_if_the_one_that_it_starts_from_failed(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(checkout, tmp_path / "bundle", runs=[RUN, CHILD])
    monkeypatch.setattr(BundleTrainer, "_run_stage", lambda *_: 1)
    trainer = make_trainer(tmp_path)
    trainer.train()
    assert trainer.failed
    assert trainer.outcome[RUN].startswith("failed with status 1")
    assert trainer.outcome[CHILD] == f"not started, since {RUN}, whose weights it starts from, is not trained"


def test_an_archive_keeps_its_runs_when_the_next_one_cannot_be_added(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new writer begins a new archive, and numbers it after the last one that is there."""
    train_run(checkout)
    first = archive(checkout, tmp_path / "out", finished=True)
    second = archive(checkout, tmp_path / "out", finished=True)
    assert (first.name, second.name) == ("results-0.tar", "results-1.tar")
    first.unlink()
    writer = ArchiveWriter(tmp_path / "out", 2**20)
    result, files = _one_file(tmp_path)
    assert writer.add(result, files)
    third = (tmp_path / "out/results-2.tar").read_bytes()
    monkeypatch.setattr(tarfile.TarFile, "add", _disk_full)
    with pytest.raises(OSError, match="full"):
        writer.add(result, files)
    assert (tmp_path / "out/results-2.tar").read_bytes() == third
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"results-1.tar", "results-2.tar"}


def _one_file(folder: Path) -> tuple[Result, dict[str, Path]]:
    (folder / "file").write_text("content")
    result = Result(
        run=RUN, commit="", finished=True, device="", torch="", seconds=1.0, timing=None, files={}
    )
    return result, {"file": folder / "file"}


def _disk_full(*_: object, **__: object) -> None:
    raise OSError("the disk is full")
