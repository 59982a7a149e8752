"""Files of weights that others published, one module per format; none of them executes what it reads."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from alkdnet.errors import UserError, in_one_line
from alkdnet.weights.checks import check_file, check_values
from alkdnet.weights.formats import caffe, matlab, mxnet, ncnn, pytorch, safetensors

READERS: Mapping[str, Callable[[Path], Mapping[str, Tensor]]] = {
    ".caffemodel": caffe.read,
    ".ckpt": pytorch.read,
    ".mat": matlab.read,
    ".param": ncnn.read,
    ".params": mxnet.read,
    ".pt": pytorch.read,
    ".pth": pytorch.read,
    ".safetensors": safetensors.read,
}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by the file's own names, in its order, on the CPU.

    The suffix, in upper or lower case, decides the format.

    Raises:
        UserError: the file is missing, is a directory, is not of its format or ends early, or its tensors are
            no weights (`check_values`).
    """
    check_file(path)
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise UserError(f"{path}: no format of weights; known are {', '.join(READERS)}")
    try:
        tensors = READERS[suffix](path)
    except UserError:
        raise
    except Exception as error:  # foreign bytes may raise almost any exception in torch, SciPy and NumPy
        if suffix != ".safetensors" and _is_safetensors(path):
            raise UserError(f"{path}: this is a safetensors file: name it {path.stem}.safetensors") from error
        raise UserError(f"{path}: not a {suffix} file of weights ({in_one_line(error)})") from error
    if not tensors:
        raise UserError(f"{path}: not a {suffix} file of weights (it holds no tensors)")
    check_values(path, tensors)
    return dict(tensors)


def _is_safetensors(path: Path) -> bool:
    """Return whether a file begins as safetensors do: with the length of the header, which is JSON."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return file.read(1) == b"{" and 8 + length <= path.stat().st_size
