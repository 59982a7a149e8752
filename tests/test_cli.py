import errno
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from alkdnet import cli
from alkdnet.config.paths import Paths
from alkdnet.networks import build
from alkdnet.sources import fetching as download
from alkdnet.sources.catalogue import SOURCES, Source
from alkdnet.upscaling import models
from alkdnet.weights.files import save_weights
from alkdnet.weights.runs import load_run
from tests.records import write_run_record


class Shell:
    """Runs the command line in this process, in a folder of its own."""

    def __init__(self, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self._patch, self._capture = patch, capture

    def run(self, *arguments: object) -> tuple[object, str]:
        """Return the exit status, or the message that takes its place, and what was printed."""
        self._patch.setattr(sys, "argv", ["alkdnet", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return stopped.value.code or 0, self._capture.readouterr().out


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ALKDNET_MIRROR", raising=False)
    return Shell(monkeypatch, capsys)


def fill(folder: Path, names: list[str], content: bytes = b"x") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(content)


def test_help_needs_neither_torch_nor_pandas(repository: Path) -> None:
    script = (
        "import sys; sys.argv = ['alkdnet', '--help']\n"
        "from alkdnet.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'pandas', 'httpx', 'PIL'} & set(sys.modules)))"
    )
    environment = {"PYTHONPATH": str(repository / "src")}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert "download" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_data_lists_every_set(shell: Shell) -> None:
    status, out = shell.run("data")
    lines = out.splitlines()
    assert status == 0
    assert [line.split()[0] for line in lines] == ["set", *SOURCES]
    assert next(line for line in lines if line.startswith("div2k")).split()[1:6] == [
        "train",
        "absent",
        "800",
        "3.53",
        "GB",
    ]


def test_download_of_what_comes_with_scikit_image(shell: Shell) -> None:
    status, out = shell.run("download", "embedded_test", "--root", "sets")
    assert (status, out) == (0, "embedded_test: 5 files in sets/embedded_test\n")
    assert len(list(Path("sets/embedded_test").iterdir())) == 5
    assert shell.run("download", "embedded_test", "--root", "sets") == (
        0,
        "embedded_test: complete in sets/embedded_test\n",
    )


def test_damaged_files_are_found_and_downloaded_again(shell: Shell) -> None:
    shell.run("download", "embedded_test")
    damaged = Path("data/embedded_test/rocket.jpg")
    good = damaged.read_bytes()
    damaged.write_bytes(bytes(len(good)))
    assert shell.run("download", "embedded_test") == (0, "embedded_test: 5 files in data/embedded_test\n")
    assert damaged.read_bytes() == good


def test_files_of_ones_own_are_not_deleted(shell: Shell) -> None:
    fill(Path("ds/set14"), ["holiday.png"], b"mine")
    status, _ = shell.run("download", "set14", "--root", "ds")
    assert str(status).startswith("error: ds/set14: set14 would replace this folder, which has files")
    assert Path("ds/set14/holiday.png").read_bytes() == b"mine"


def test_what_the_system_rejects_is_one_line(shell: Shell) -> None:
    Path("file").touch()
    picture(Path("a.png"), 8, 9, 3)
    for arguments in (("download", "set5"), ("upscale", "a.png", "b.png", "--released")):
        status, _ = shell.run(*arguments, "--root", "file")
        assert re.fullmatch(r"error: (set5: )?file/\S+: Not a directory", str(status))


def test_what_the_system_rejects_of_one_set_does_not_keep_the_others_from_coming(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = download.fetch

    def reject(source: Source, *arguments: object, **keywords: object) -> None:
        if source.name == "set5":
            raise PermissionError(errno.EACCES, "Permission denied", "data/.downloads")
        fetch(source, *arguments, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr(download, "fetch", reject)
    status, out = shell.run("download", "set5", "embedded_test")
    assert status == "error: set5: data/.downloads: Permission denied"
    assert "embedded_test: 5 files" in out


def test_a_folder_that_cannot_be_listed_is_one_line(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def reject(folder: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    Path("data/manga109").mkdir(parents=True)
    monkeypatch.setattr("alkdnet.sources.inventory.list_images", reject)
    assert shell.run("data")[0] == "error: data/manga109: Permission denied"


def test_an_interrupted_download_says_how_to_go_on(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "fetch", interrupt)
    monkeypatch.setattr(sys, "argv", ["alkdnet", "download", "set5"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 130
    assert capsys.readouterr().err == "set5: interrupted; the same command resumes the download\n"


def test_a_misspelt_name_comes_to_light_before_anything_is_done(shell: Shell) -> None:
    status, _ = shell.run("download", "embedded_test", "embeded_train")
    assert str(status).startswith("error: embeded_train: no such data set; did you mean embedded_train")
    assert not Path("data").exists()


def test_one_set_that_fails_does_not_keep_the_others_from_coming(shell: Shell) -> None:
    Path("mirror").mkdir()
    status, out = shell.run("download", "alkdnet_x2", "embedded_test", "--mirror", "mirror")
    assert "alkdnet_x2 could not be downloaded" in str(status)
    assert "net_g_ALKDN_x2.pth: no file mirror/raw.githubusercontent.com" in str(status)
    assert "embedded_test: 5 files" in out


def test_the_mirror_is_taken_from_the_environment(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALKDNET_MIRROR", "elsewhere")
    status, _ = shell.run("download", "set5")
    assert str(status).startswith("error: the mirror elsewhere: no such folder")


def test_the_mirror_of_an_unknown_user_is_rejected_in_words(shell: Shell) -> None:
    status, _ = shell.run("download", "set5", "--mirror", "~nobody-of-this-name/m")
    assert (
        str(status)
        == "error: the mirror: there is no home directory for '~nobody-of-this-name/m'; write ~/..."
    )


@pytest.mark.parametrize(
    ("option", "mirror"), [("", None), ("~/m", "/home/me/m"), ("m", "m"), ("https://m/~x", "https://m/~x")]
)
def test_which_mirror_is_meant(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, option: str, mirror: str | None
) -> None:
    asked = []
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr(download, "fetch", lambda *_, **keywords: asked.append(keywords["mirror"]))
    assert shell.run("download", "set5", "--mirror", option)[0] == 0
    assert asked == [mirror]


def test_manga109_is_explained_and_never_overwritten(shell: Shell) -> None:
    folder = Path("data/manga109")
    status, out = shell.run("download", "manga109")
    assert status == 0
    assert "http://www.manga109.org/en/" in out
    assert f"The folder to fill: {folder.absolute()}" in out
    assert "dvc" not in out
    fill(folder, ["001.png"])
    status, _ = shell.run("download", "manga109")
    assert str(status).startswith("error: data/manga109: 1 images (001.png to 001.png), but manga109 has 109")
    assert (folder / "001.png").exists()
    fill(folder, [f"{i:03d}.png" for i in range(110)])
    assert "110 images (000.png to 109.png), but" in str(shell.run("download", "manga109")[0])
    (folder / "000.png").unlink()
    assert shell.run("download", "manga109") == (0, "manga109: complete in data/manga109\n")


def test_a_folder_of_ones_own_cannot_be_downloaded(shell: Shell) -> None:
    status, out = shell.run("download", "embedded_test", "folder")
    assert str(status).startswith("error: folder: ")
    assert (out, Path("data").exists()) == ("", False)


def picture(path: Path, *shape: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def test_compare_writes_one_page(shell: Shell) -> None:
    picture(Path("a.png"), 8, 12, 3)
    picture(Path("b.png"), 4, 6, 3)
    assert shell.run("compare", "a.png", "b.png") == (0, "compare.html: 2 pictures, 0.0 MiB\n")
    status, _ = shell.run("compare", "a.png", "b.png", "--output", "b.png", "--label", "a", "--label", "b")
    assert str(status).startswith("error: b.png: the name of the page must end in .html")


@pytest.mark.parametrize("network", ["alkdnet", "bsrn"])
def test_upscale_without_weights_takes_those_of_the_authors(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, network: str
) -> None:
    def fetched(chosen: Source, folder: Path, **_: object) -> None:
        folder.mkdir(parents=True)
        torch.save(build(network, 2, {}).state_dict(), folder / chosen.files[0].name)

    monkeypatch.setattr(cli, "__file__", str(Path.cwd() / "a" / "b" / "c" / "cli.py"))
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    monkeypatch.setattr("alkdnet.upscaling.weights.fetch", fetched)
    picture(Path("in.png"), 8, 9, 3)
    choice = [] if network == "alkdnet" else ["--network", network]
    status, out = shell.run("upscale", "in.png", "out.png", "--scale", 2, *choice)
    assert status == 0
    assert out.startswith(f"out.png: 18x16, with {network}, cache/alkdnet/{network}_x2/")


def test_upscale_judges_before_it_downloads(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> str:
        raise AssertionError

    monkeypatch.setattr("alkdnet.upscaling.weights.fetch", never)
    os.mkfifo("pipe")
    Path("file").touch()
    picture(Path("in.png"), 8, 9, 3)
    for arguments, message in (
        (("in.png",), "give the image, or several, and then the file or folder to write"),
        (("pipe", "out.png"), "pipe: is a pipe or a device, not a file: save the picture first"),
        (("/dev/null", "out.png"), "/dev/null: is a pipe or a device, not a file: save the picture first"),
        (("absent.png", "out.png"), "absent.png: no such file"),
        (("in.png", "out.xyz"), "out.xyz: unknown ending; there are: .png"),
        (("in.png", "file/out.png"), "file/out.png: "),
        (("in.png", Path("in.png").absolute(), "large"), "in.png and /"),
        (("no*.png", "large"), "no*.png: nothing matches this pattern"),
        (("in.png", "pipe", "file"), "file: is not a folder, which several pictures need\npipe: is a pipe"),
        ((".", "."), ".: is the folder of the sources; give another one"),
    ):
        status, _ = shell.run("upscale", *arguments, "--released")
        assert str(status).startswith(f"error: {message}")
    assert {path.name for path in Path().iterdir()} == {"in.png", "pipe", "file"}


def test_upscale_of_folders_keeps_their_structure_and_what_is_finished(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"blocks": 1, "channels": 8}
    save_weights(Path("run/weights.safetensors"), build("alkdnet", 2, options))
    write_run_record(Path("run"), network="alkdnet", scale=2, options=options)
    for name in ("a.png", "trip/b.jpg", "trip/day/c.gif", ".hidden.png", ".thumbs/d.png"):
        Path("in", name).parent.mkdir(parents=True, exist_ok=True)
        picture(Path("in", name), 8, 9, 3)
    Path("in/bad.png").write_text("no image")
    picture(Path("single.ppm"), 5, 6, 3)
    opened = []
    open_model = models.open_model
    monkeypatch.setattr(models, "open_model", lambda *given: opened.append(given) or open_model(*given))
    command = ("upscale", "in", "single.ppm", "in/large", "--scale", 2, "--weights", "run")
    status, out = shell.run(*command)
    assert str(status).startswith("error: in/bad.png: not an image of a supported format")
    assert out == "in/large: 4 of 5 images written, with alkdnet, run/weights.safetensors\n"
    large = {str(path.relative_to("in/large")) for path in Path("in/large").rglob("*") if path.is_file()}
    assert large == {"a.png", "trip/b.jpg", "trip/day/c.png", "single.png"}
    Path("in/bad.png").unlink()
    assert len(opened) == 1
    assert shell.run(*command) == (0, "in/large: all 4 images are finished; --overwrite writes them again\n")
    picture(Path("in/a.png"), 7, 7, 3)  # of another size
    assert shell.run(*command) == (
        0,
        "in/large: 1 of 4 images written, 3 were finished, with alkdnet, run/weights.safetensors\n",
    )
    with Image.open("in/large/a.png") as image:
        assert image.size == (14, 14)


def demo_run(name: str, scale: int = 2) -> Path:
    folder = Paths("demo").model(name)
    options = {"blocks": 1, "channels": 8}
    torch.manual_seed(len(name))
    save_weights(folder / "weights.safetensors", build("alkdnet", scale, options))
    write_run_record(folder, network="alkdnet", scale=scale, options=options)
    return folder


def test_upscale_and_export_take_a_run_of_a_pipeline(shell: Shell) -> None:
    folder = demo_run("small_x3", scale=3)
    picture(Path("in.png"), 8, 9, 3)
    status, out = shell.run("upscale", "in.png", "out.png", "--run", "demo:small_x3")
    assert (status, out) == (0, f"out.png: 27x24, with alkdnet, {folder}/weights.safetensors\n")
    status, out = shell.run("export", "net_g.pth", "--run", "demo:small_x3")
    assert (status, out) == (
        0,
        f"net_g.pth: the weights of {folder}/weights.safetensors by the authors' names\n",
    )
    theirs = torch.load("net_g.pth", weights_only=True)["params"].values()
    ours = load_run(folder)[0].state_dict().values()
    assert sorted(float(each.sum()) for each in theirs) == sorted(float(each.sum()) for each in ours)


@pytest.mark.parametrize("command", [("upscale", "in.png", "out.png"), ("export", "net_g.pth")])
def test_a_run_that_is_not_there_is_named_with_those_that_are(shell: Shell, command: tuple[str, ...]) -> None:
    demo_run("small_x2")
    picture(Path("in.png"), 8, 9, 3)
    status, _ = shell.run(*command, "--run", "demo:small_x4")
    assert str(status).startswith("error: --run demo:small_x4: no weights of this run; there are: small_x2")
    status, _ = shell.run(*command, "--run", "small_x4")
    assert str(status) == "error: --run small_x4: give pipeline and run as in demo:alkdnet_x2"
    status, _ = shell.run(*command, "--run", "demo:small_x2", "--scale", 3)
    assert str(status).endswith("these weights upscale by 2, not by 3")


def test_overwrite_writes_finished_images_again(shell: Shell) -> None:
    demo_run("first")
    demo_run("second_one")
    Path("in").mkdir()
    picture(Path("in/a.png"), 8, 9, 3)
    command = ("upscale", "in", "large", "--run")
    assert shell.run(*command, "demo:first")[0] == 0
    first = Path("large/a.png").read_bytes()
    assert shell.run(*command, "demo:second_one")[1].startswith("large: all 1 images are finished")
    assert Path("large/a.png").read_bytes() == first
    assert shell.run(*command, "demo:second_one", "--overwrite")[1].startswith("large: 1 of 1 images written")
    assert Path("large/a.png").read_bytes() != first


@pytest.mark.parametrize("precision", ["float16", "bfloat16", "tf32"])
def test_upscale_rejects_reduced_precision_on_a_cpu(shell: Shell, precision: str) -> None:
    picture(Path("in.png"), 8, 9, 3)
    status, _ = shell.run("upscale", "in.png", "out.png", "--device", "cpu", "--precision", precision)
    assert status == f"error: --precision {precision} needs a CUDA device; on the CPU use float32"


def test_upscale_with_the_weights_of_the_project(shell: Shell) -> None:
    save_weights(Path("weights/alkdnet_x3.safetensors"), build("alkdnet", 3, {}))
    picture(Path("in.png"), 8, 9, 4)
    status, out = shell.run("upscale", "in.png", "out.png", "--scale", 3)
    assert status == 0
    assert out == "out.png: 27x24, with alkdnet, weights/alkdnet_x3.safetensors\n"
    with Image.open("out.png") as image:
        assert (image.mode, image.size) == ("RGBA", (27, 24))


def test_upscale_in_tiles_differs_a_little(shell: Shell) -> None:
    options = {"blocks": 1, "channels": 16}
    save_weights(Path("run/weights.safetensors"), build("alkdnet", 2, options))
    write_run_record(Path("run"), network="alkdnet", scale=2, options=options)
    picture(Path("in.png"), 100, 110, 3)
    weights = ("--scale", 2, "--weights", "run/weights.safetensors")
    assert shell.run("upscale", "in.png", "whole.png", *weights)[0] == 0
    assert shell.run("upscale", "in.png", "tiles.png", *weights, "--tile", 96)[0] == 0
    whole, tiles = (np.asarray(Image.open(name), np.int16) for name in ("whole.png", "tiles.png"))
    assert whole.shape == tiles.shape == (200, 220, 3)
    assert 0 < np.abs(whole - tiles).max() < 40


def test_upscale_rejects_two_choices_of_weights(shell: Shell) -> None:
    status, _ = shell.run("upscale", "in.png", "out.png", "--released", "--weights", "w.safetensors")
    assert str(status) == "error: give one of --weights, --run and --released"


@pytest.mark.data
def test_upscale_with_the_released_weights_downloads_them_once(shell: Shell, data_dir: Path) -> None:
    hr = data_dir / "mirror/raw.githubusercontent.com/jbhuang0604/SelfExSR"
    lr = next(hr.rglob("Set5/image_SRF_2/img_003_SRF_2_LR.png"))
    command = ("upscale", lr, "out.png", "--scale", 2, "--released", "--root", "sets")
    status, _ = shell.run(*command, "--mirror", data_dir / "mirror")
    assert status == 0
    first = Path("out.png").read_bytes()
    assert shell.run(*command)[0] == 0
    assert Path("out.png").read_bytes() == first
    weights = Path("sets/alkdnet_x2/net_g_ALKDN_x2.pth")
    weights.write_bytes(bytes(weights.stat().st_size))
    assert shell.run(*command, "--mirror", data_dir / "mirror")[0] == 0
    assert Path("out.png").read_bytes() == first
    shutil.rmtree("sets")
    truth = np.asarray(Image.open(next(hr.rglob("Set5/image_SRF_2/img_003_SRF_2_HR.png"))), np.float64)
    error = np.asarray(Image.open("out.png"), np.float64) - truth
    # The butterfly of Set5: Pillow's bicubic reaches 26.1 dB in RGB, the released network 34.0.
    assert 10 * np.log10(255**2 / np.mean(error**2)) > 33.9


def test_export_writes_the_weights_by_the_authors_names(shell: Shell) -> None:
    save_weights(Path("weights/alkdnet_x3.safetensors"), build("alkdnet", 3, {}))
    status, out = shell.run("export", "net_g.pth", "--scale", 3)
    assert status == 0
    assert out == "net_g.pth: the weights of weights/alkdnet_x3.safetensors by the authors' names\n"
    assert Path("net_g.pth").is_file()


def test_export_without_weights_takes_those_of_the_authors(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetched(chosen: Source, folder: Path, **_: object) -> None:
        folder.mkdir(parents=True)
        torch.save(build("alkdnet", 4, {}).state_dict(), folder / chosen.files[0].name)

    save_weights(Path("weights/alkdnet_x4.safetensors"), build("alkdnet", 4, {}))
    monkeypatch.setattr("alkdnet.upscaling.weights.fetch", fetched)
    status, out = shell.run("export", "net_g.safetensors", "--released", "--root", "sets")
    assert status == 0
    assert out.startswith("net_g.safetensors: the weights of sets/alkdnet_x4/")


def test_export_judges_the_target_first(shell: Shell) -> None:
    Path("net_g.onnx").mkdir()
    status, _ = shell.run("export", "net_g.onnx", "--weights", "missing.pth")
    assert status == "error: net_g.onnx: is not a file that could be replaced"
    status, _ = shell.run("export", "net_g.h5", "--weights", "missing.pth")
    assert status == "error: net_g.h5: unknown ending; there are: .onnx, .pt2, .pth, .safetensors"
