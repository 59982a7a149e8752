"""Trainings as jobs: of a real Slurm on this machine where it is installed, and without one."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from tests.experiments.repositories import (
    LONGER,
    RUNS,
    TIMEOUT_S,
    TINY,
    Repository,
    clone_project,
    models,
    outputs,
)

pytestmark = pytest.mark.slow

COMMAND = (sys.executable, "tools/train_parallel.py")
DAEMONS = ("munged", "slurmctld", "slurmd")
ALL_RUNS = {**RUNS, "third_x2": {**TINY, "seed": 1}}
# Each starts from the weights of another one, which a test kills.
FINETUNED = {
    "warm_x2": {**TINY, "init_from": "alkdnet_x2"},
    "cold_x2": {**RUNS["other_x2"], "init_from": "other_x2"},
}
PARAMS = {**LONGER, "finetuned": FINETUNED}
TARGETS = [*(f"train@{run}" for run in ALL_RUNS), *(f"finetune@{run}" for run in FINETUNED)]


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> tuple[Repository, Repository]:
    """A clone with all runs trained by DVC, and one without any."""
    pytest.importorskip("submitit", reason="submitit is not installed")
    trained = clone_project(tmp_path_factory.mktemp("trained"), repository, PARAMS, ALL_RUNS, iterations=300)
    trained.dvc("repro", "leakage", "patches", "validation")
    untrained = tmp_path_factory.mktemp("untrained") / "clone"
    shutil.copytree(trained.root, untrained)
    trained.dvc("repro", *TARGETS)
    return trained, Repository(untrained)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """A Slurm of this machine alone; what its commands need in the environment."""
    if missing := [
        name for name in DAEMONS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None
    ]:
        pytest.skip(f"Slurm is not installed: there is no {', '.join(missing)}")
    if os.geteuid() != 0:
        pytest.skip("Slurm's daemons start jobs as root only")
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("munge", "state", "spool"):
        (folder / name).mkdir(mode=0o700)
    (folder / "munge" / "key").write_bytes(os.urandom(1024))
    (folder / "munge" / "key").chmod(0o600)
    host = socket.gethostname().partition(".")[0]
    ports = _free_ports(2)
    (folder / "slurm.conf").write_text(CONFIGURATION.format(folder=folder, host=host, ports=ports))
    environment = {"SLURM_CONF": str(folder / "slurm.conf")}
    files = [f"--{name}-file={folder / 'munge' / name}" for name in ("key", "pid", "log", "seed")]
    commands = [
        ["/usr/sbin/munged", "--foreground", "--force", f"--socket={folder / 'munge' / 'socket'}", *files],
        ["/usr/sbin/slurmctld", "-D", "-c"],
        ["/usr/sbin/slurmd", "-D"],
    ]
    daemons = []
    try:
        for command in commands:
            daemons.append(
                subprocess.Popen(
                    command,
                    env={**os.environ, **environment},
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
            time.sleep(1)
        _wait(lambda: "idle" in _shown(environment, "sinfo", "--noheader", "--format=%T"), "no idle node")
        yield environment
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait()


def test_jobs_are_requeued_named_and_end_with_the_bytes_of_a_repro(
    projects: tuple[Repository, Repository], slurm: Mapping[str, str]
) -> None:
    reference, project = projects
    arguments = [
        "--on",
        "slurm",
        "--gpus",
        "0",
        "--hours",
        "1",
        "--partition",
        "test",
        "--sbatch",
        "comment=x",
    ]
    first = _start(project, slurm, *arguments)
    jobs = _jobs(first, len(ALL_RUNS))
    checkpoints = project.root / ".checkpoints/demo"
    for run, command in (("alkdnet_x2", ["--signal=USR2"]), ("other_x2", [])):
        _wait(lambda run=run: any(checkpoints.glob(f"{run}-*.ckpt")), f"no checkpoint of {run}")  # type: ignore[misc]
        _shown(slurm, "scancel", *command, jobs[run])
    output, _ = first.communicate(timeout=TIMEOUT_S)
    assert first.returncode == 1, output
    # The one that got the signal of a preemption was requeued, the cancelled one is named with its log.
    (log,) = re.findall(r"^  other_x2: cancelled or killed; log: (\S+)$", output, re.MULTILINE)
    assert "other_x2: stopped by SIGTERM" in (project.root / log).read_text()
    assert output.count("cancelled or killed; log") == 2  # when it happened, and in the end
    (log,) = (project.root / ".jobs" / jobs["alkdnet_x2"]).glob("*.err")
    assert "alkdnet_x2: continued after iteration" in log.read_text()
    assert re.search(r"\[third_x2\] trained", output)
    # What starts from the weights of a run waits for its end.
    assert re.search(r"\[alkdnet_x2\] trained\n(.*\n)*\[warm_x2\] job", output)
    assert output.count("cold_x2: not started, since other_x2, whose weights it starts from, failed") == 1
    trained = {"alkdnet_x2", "third_x2", "warm_x2"}
    assert {name.partition("/")[0] for name in outputs(project)} == trained

    # The same command trains what is left, from its checkpoint, and does the rest.
    output = _tool(project, slurm, *arguments)
    assert "alkdnet_x2] job" not in output
    assert outputs(project) == outputs(reference)
    assert models(project) == models(reference)
    assert "up to date" in project.dvc("status", *TARGETS)
    assert (project.root / "reports" / "demo" / "README.md").is_file()


def test_the_same_path_without_a_scheduler(projects: tuple[Repository, Repository]) -> None:
    reference, project = projects
    project.run("rm", "-rf", ".checkpoints", "demo/models", "dvc.lock")
    first = _start(project, {}, "--on", "local", "--jobs", "2")
    jobs = _jobs(first, 2)
    _wait(lambda: any((project.root / ".checkpoints/demo").glob("*.ckpt")), "no checkpoint")
    # A training that is killed alone fails; the others go on.
    killed = next((project.root / ".checkpoints/demo").glob("*.ckpt")).name.partition("-")[0]
    assert killed in jobs
    (training,) = (
        process
        for process in psutil.Process(first.pid).children(recursive=True)
        if process.cmdline()[1:] == ["pipeline/train.py", "demo", "--key", killed]
    )
    training.kill()
    output, _ = first.communicate(timeout=TIMEOUT_S)
    assert first.returncode == 1, output
    assert f"  {killed}: " in output
    assert "exit status -9" in output
    lost = {killed, *(run for run, row in FINETUNED.items() if row["init_from"] == killed)}
    assert {name.partition("/")[0] for name in outputs(project)} == {*ALL_RUNS, *FINETUNED} - lost
    assert "not trained yet: " in _tool(project, {}, "--on", "local", *ALL_RUNS)
    _tool(project, {}, "--on", "local", "--jobs", "2")
    assert outputs(project) == outputs(reference)
    assert models(project) == models(reference)


def _start(project: Repository, env: Mapping[str, str], *arguments: str) -> "subprocess.Popen[str]":
    return project.start(*COMMAND, *arguments, env={"PYTHONPATH": "src", **env})


def _tool(project: Repository, env: Mapping[str, str], *arguments: str) -> str:
    return project.run(*COMMAND, *arguments, env={"PYTHONPATH": "src", **env})


def _jobs(process: "subprocess.Popen[str]", count: int) -> dict[str, str]:
    """Return the first so many jobs that the tool names, by run."""
    assert process.stdout is not None
    found: dict[str, str] = {}
    lines = []
    while len(found) < count:
        line = process.stdout.readline()
        assert line, "".join(lines)
        lines.append(line)
        if match := re.fullmatch(r"\[(\w+)\] job (\S+)\n", line):
            found[match[1]] = match[2]
    return found


def _shown(env: Mapping[str, str], *command: str) -> str:
    return subprocess.run(command, env={**os.environ, **env}, stdout=subprocess.PIPE, text=True).stdout


def _wait(condition: Callable[[], bool], problem: str, *, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, problem
        time.sleep(0.05)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


# cred_expire: Slurm starts a requeued job so many seconds later, by default 120.
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
KillWait=10
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=3 RealMemory=1000
PartitionName=test Nodes=ALL Default=YES State=UP
"""
