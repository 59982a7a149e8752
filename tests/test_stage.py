"""What the stages share: how mistakes are reported."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from alkdnet.config.loading import load_pipeline
from alkdnet.config.paths import Paths
from alkdnet.data.images import write_png
from alkdnet.errors import UserError
from alkdnet.results.descriptor import Descriptor
from pipeline.stage import Stage


@pytest.fixture
def project(repository: Path, tmp_path: Path) -> Path:
    """A folder with the demo's parameters, its training set a folder of the user's with one broken image."""
    params = yaml.safe_load((repository / "params.yaml").read_text())
    del params["datasets"]["embedded_train"]
    params["datasets"]["mine"] = {"use": "train", "source": "folder", "path": "pictures"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    (tmp_path / "demo/raw/train/mine").mkdir(parents=True)
    (tmp_path / "demo/raw/train/mine/bad.png").write_text("no image")
    return tmp_path


def stage(
    repository: Path, project: Path, name: str, *, key: str = "mine"
) -> subprocess.CompletedProcess[str]:
    script = str(repository / "pipeline" / f"{name}.py")
    arguments = [sys.executable, script, "demo", "--key", key]
    return subprocess.run(arguments, cwd=project, capture_output=True, text=True)


def test_a_bad_image_is_traced_to_the_folder_of_the_user(repository: Path, project: Path) -> None:
    done = stage(repository, project, "downscale")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[-3] == "error: demo/raw/train/mine: 1 of the images cannot be used:"
    assert lines[-2].startswith("demo/raw/train/mine/bad.png: not an image")
    assert lines[-1] == "fix the images of mine in pictures, then: dvc repro --force dvc.yaml:download@mine"


def test_what_the_system_rejects_is_reported_in_a_line(repository: Path, project: Path) -> None:
    (project / "demo/lr").write_text("a file where a folder is wanted")
    (project / "demo/raw/train/mine/bad.png").unlink()
    done = stage(repository, project, "downscale")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: demo/lr")
    assert "Traceback" not in done.stderr


def test_images_that_training_cannot_be_validated_on_are_named(repository: Path, project: Path) -> None:
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["datasets"]["tiny"] = {"use": "test", "source": "folder", "path": "pictures"}
    params["history"]["validation_sets"] = ["tiny"]
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    for path, side in (("raw/test/tiny", 8), ("lr/test/tiny/x4", 2)):
        (project / "demo" / path).mkdir(parents=True)
        write_png(project / "demo" / path / "small.png", np.zeros((side, side, 3), np.uint8))
    done = stage(repository, project, "validation", key="4")
    assert done.stderr.splitlines()[-2:] == [
        "error: demo/raw/test/tiny/small.png: too small to validate on at x4, which takes 9 pixels a side",
        "fix the images of tiny in pictures, then: dvc repro --force dvc.yaml:download@tiny",
    ]
    assert not (project / "demo/validation").exists()


def test_the_key_of_a_stage_comes_from_dvc_and_reaches_no_shell(repository: Path, project: Path) -> None:
    script = str(repository / "pipeline/downscale.py")
    done = subprocess.run(
        [sys.executable, script, "demo"],
        cwd=project,
        env={**os.environ, "DVC_STAGE": "downscale@$(touch x)"},
        capture_output=True,
        text=True,
    )
    assert "--key $(touch x): there is no such key; params.yaml has: embedded_test" in done.stderr
    assert not (project / "x").exists()


def test_a_stage_without_its_key_names_the_keys_that_it_takes(repository: Path, project: Path) -> None:
    message = stage(repository, project, "validation", key="").stderr
    assert message == "error: --key is missing; params.yaml has: 2, 3, 4\n"


def test_a_temporary_experiment_in_a_shallow_clone_is_rejected(repository: Path, project: Path) -> None:
    """DVC trains there, exits with 0 and loses the experiment."""
    (project / "main/.git").mkdir(parents=True)
    (project / "main/.git/shallow").write_text("0" * 40)
    done = subprocess.run(
        [sys.executable, str(repository / "pipeline/downscale.py"), "demo", "--key", "mine"],
        cwd=project,
        env={**os.environ, "DVC_ROOT": str(project / "main")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "git fetch --unshallow" in done.stderr


def a_stage(repository: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.chdir(folder)
    return Stage(params=load_pipeline("demo", repository), paths=Paths("demo"), key="", root=Path("/main"))


@pytest.mark.parametrize(
    ("value", "mirror"), [("", None), ("m", "/main/m"), ("/m", "/m"), ("http://m/x", "http://m/x")]
)
def test_the_mirror_of_a_stage(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, mirror: str | None
) -> None:
    monkeypatch.setenv("ALKDNET_MIRROR", value)
    assert a_stage(repository, tmp_path, monkeypatch).mirror == mirror


def test_a_test_set_is_as_its_descriptor_says(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = a_stage(repository, tmp_path, monkeypatch)
    Descriptor.of("embedded_test", None).write(stage.paths.descriptor("test", "embedded_test"))
    found = stage.test_set("embedded_test", 3)
    assert (found.expected, found.lr_folder) == (5, Path("demo/lr/test/embedded_test/x3"))
    assert found.publishable


def test_a_set_that_was_removed_from_the_parameters_is_reported_as_missing(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crop of a figure may still name it, and DVC leaves its images, which may be a gated set's."""
    stage = a_stage(repository, tmp_path, monkeypatch)
    for folder, side in (
        (stage.paths.raw("test", "manga109"), 8),
        (stage.paths.lr("test", "manga109", 2), 4),
    ):
        folder.mkdir(parents=True)
        write_png(folder / "a.png", np.zeros((side, side, 3), np.uint8))
    with pytest.raises(UserError, match="manga109 is no test set of this pipeline"):
        stage.test_set("manga109", 2)


def test_the_mirror_of_an_unknown_user(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALKDNET_MIRROR", "~nobody-of-this-name/mirror")
    with pytest.raises(UserError, match=r"the mirror: .*'~nobody-of-this-name/mirror'; write ~/"):
        _ = a_stage(repository, tmp_path, monkeypatch).mirror
