"""Readers of published formats: what they read, and that nothing but a UserError leaves them."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from safetensors.torch import save_file

from alkdnet.errors import UserError
from alkdnet.weights.formats import READERS, read_tensors

WEIGHT = np.arange(12, dtype=np.float32).reshape(2, 3, 1, 2) / 8
BIAS = np.array([0.5, -1.0], dtype=np.float32)


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field of a protocol buffer."""
    return varint(number * 8 + 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def blob(array: np.ndarray) -> bytes:
    shape = field(1, b"".join(map(varint, array.shape)))
    return field(5, array.tobytes()) + field(7, shape)


def write_caffe(path: Path) -> None:
    layer = field(1, b"conv") + field(2, b"Convolution") + b"\x1d" + bytes(4) + b"\x50\x00"
    silent = field(1, b"relu") + field(2, b"ReLU")
    blobs = field(7, blob(WEIGHT)) + field(7, blob(BIAS))
    path.write_bytes(field(1, b"net") + field(100, layer + blobs) + field(100, silent))


def write_mxnet(path: Path) -> None:
    content = struct.pack("<QQQ", 0x112, 0, 2)
    for array in (WEIGHT, BIAS):
        content += struct.pack(f"<IiI{array.ndim}q", 0xF993FAC9, 0, array.ndim, *array.shape)
        content += struct.pack("<iii", 1, 0, 0) + array.tobytes()
    content += struct.pack("<Q", 2)
    for name in (b"conv.weight", b"conv.bias"):
        content += struct.pack("<Q", len(name)) + name
    path.write_bytes(content)


def write_ncnn(path: Path, *, half: bool = True) -> None:
    convolution = "Convolution conv 1 1 in0 1 0=2 1=2 11=1 2=1 5=1 6=12"
    path.write_text(f"7767517\n3 3\nInput in0 0 1 in0\n{convolution}\nReLU relu 1 1 1 2\n")
    weights = WEIGHT.astype("<f2" if half else "<f4").tobytes()
    tag = struct.pack("<I", 0x01306B47 if half else 0)
    path.with_suffix(".bin").write_bytes(tag + weights + BIAS.tobytes())


def write_matlab(path: Path) -> None:
    scipy.io.savemat(path, {"conv": {"weight": WEIGHT, "bias": BIAS}})


def write_pytorch(path: Path) -> None:
    torch.save({"conv.weight": torch.from_numpy(WEIGHT), "conv.bias": torch.from_numpy(BIAS)}, path)


def write_safetensors(path: Path) -> None:
    save_file({"conv.weight": torch.from_numpy(WEIGHT), "conv.bias": torch.from_numpy(BIAS)}, path)


WRITERS: dict[str, Callable[[Path], None]] = {
    ".caffemodel": write_caffe,
    ".ckpt": write_pytorch,
    ".mat": write_matlab,
    ".param": write_ncnn,
    ".params": write_mxnet,
    ".pt": write_pytorch,
    ".pth": write_pytorch,
    ".safetensors": write_safetensors,
}


@pytest.mark.parametrize("suffix", READERS)
def test_what_is_written_is_read(tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    WRITERS[suffix](path)
    tensors = read_tensors(path)
    assert set(tensors) == {"conv.weight", "conv.bias"}
    assert np.array_equal(tensors["conv.weight"].numpy(), WEIGHT)
    assert np.array_equal(tensors["conv.bias"].numpy().ravel(), BIAS)


def test_ncnn_has_single_precision_too(tmp_path):
    write_ncnn(tmp_path / "net.param", half=False)
    assert np.array_equal(read_tensors(tmp_path / "net.param")["conv.weight"].numpy(), WEIGHT)


@pytest.mark.parametrize("suffix", READERS)
@pytest.mark.parametrize("kept", [0.0, 0.05, 0.3, 0.6, 0.95])
def test_a_truncated_file_is_rejected(tmp_path, suffix, kept):
    path = tmp_path / f"net{suffix}"
    WRITERS[suffix](path)
    cut = path.with_suffix(".bin") if suffix == ".param" else path
    content = cut.read_bytes()
    cut.write_bytes(content[: int(kept * len(content))])
    check_rejected(path, f"not a {suffix} file of weights")


@pytest.mark.parametrize("suffix", READERS)
@pytest.mark.parametrize(
    "content", [b"<!DOCTYPE html><html>404</html>", b"version https://git-lfs.github.com/spec/v1\n"]
)
def test_another_file_is_rejected(tmp_path, suffix, content):
    path = tmp_path / f"net{suffix}"
    path.write_bytes(content)
    check_rejected(path, f"not a {suffix} file of weights")


@pytest.mark.parametrize("suffix", READERS)
def test_missing_files_and_directories_are_rejected(tmp_path, suffix):
    check_rejected(tmp_path / f"net{suffix}", "there is no such file of weights")
    (tmp_path / f"net{suffix}").mkdir()
    check_rejected(tmp_path / f"net{suffix}", "is a directory, not a file of weights")


def test_a_pair_without_its_numbers_is_rejected(tmp_path):
    write_ncnn(tmp_path / "net.param")
    (tmp_path / "net.bin").unlink()
    check_rejected(tmp_path / "net.param", "not a .param file of weights")


@pytest.mark.parametrize("suffix", [".pt", ".PTH", ".ckpt", ".mat", ".params"])
def test_safetensors_of_another_suffix_are_called_so(tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    save_file({"weight": torch.ones(3)}, path)
    with pytest.raises(UserError, match=r"this is a safetensors file: name it net\.safetensors"):
        read_tensors(path)


def test_other_suffixes_are_rejected(tmp_path):
    (tmp_path / "net.onnx").touch()
    check_rejected(tmp_path / "net.onnx", "no format of weights; known are .caffemodel, .ckpt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Path("/"), "not a .pth file of weights"),  # an object whose unpickling would run code
        ([torch.ones(1)], "holds list, not a dictionary of tensors"),
        ({}, "holds dict, not a dictionary of tensors"),
        ({"params": {"fea_conv.weight": 3}}, "fea_conv.weight is int, not a tensor"),
        ({"params": {3: torch.ones(1)}}, "3 is no name of a tensor"),
    ],
)
def test_pickles_of_something_else_are_rejected(tmp_path, content, message):
    torch.save(content, tmp_path / "net.pth")
    check_rejected(tmp_path / "net.pth", message)


@pytest.mark.parametrize("suffix", READERS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_rejected(tmp_path, monkeypatch, suffix, value):
    monkeypatch.setattr(f"{__name__}.BIAS", np.array([0.5, value], dtype=np.float32))
    WRITERS[suffix](tmp_path / f"net{suffix}")
    check_rejected(tmp_path / f"net{suffix}", "conv.bias holds NaN or infinity")


def check_rejected(path: Path, message: str) -> None:
    with pytest.raises(UserError) as error:
        read_tensors(path)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)
