"""Weights that the authors of ALKDNet, BSRN and IMDN released, translated to the names of this library.

Sources: Qudaokuan/ALKDNet, xiaom233/BSRN and Zheng222/IMDN on GitHub; PyTorch pickles, read as weights only.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from alkdnet.errors import UserError
from alkdnet.weights.files import check_weights

# Names that a state dict may be wrapped in, in the order of preference.
WRAPPERS = ("params_ema", "params", "state_dict")

# (pattern, replacement) pairs, all applied in this order to every name of a released file.
_DISTILLATION = (  # ALKDNet and BSRN, which differ in the name of the last convolution only
    (r"^fea_conv\.", "shallow."),
    (r"^c1\.", "fusion.0."),
    (r"^c2\.", "fusion.2."),
    (r"^(c_up|upsampler\.upsampleOneStep\.0)\.", "tail."),
    (r"\.c(\d)_d\.", r".distill.\1."),
    (r"\.c(\d)_r\.", r".refine.\1."),
    (r"\.c4\.", ".distill_last."),
    (r"\.c5\.", ".condense."),
    (r"\.esa\.conv1\.", ".esa.reduce."),
    (r"\.esa\.conv2\.", ".esa.stride."),
    (r"\.esa\.conv_max\.", ".esa.context.0."),
    (r"\.esa\.conv3\.", ".esa.context.2."),
    (r"\.esa\.conv3_\.", ".esa.context.4."),
    (r"\.esa\.conv_f\.", ".esa.skip."),
    (r"\.esa\.conv4\.", ".esa.expand."),
    (r"\.cca\.conv_du\.", ".cca.excite."),
    (r"\.pixel_norm\.", ".norm."),
    (r"\.pw\.", ".pointwise."),
    (r"\.dw\.", ".depthwise."),
    (r"\.LoRA1\.", ".vertical."),
    (r"\.LoRA2\.", ".horizontal."),
    (r"\.small_conv\.", ".square."),
    (r"^B(\d+)\.", r"blocks.\1."),
)
RULES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "alkdnet": _DISTILLATION,
    "bsrn": _DISTILLATION,
    "imdn": (
        (r"^fea_conv\.", "shallow."),
        (r"^c\.0\.", "fusion.0."),
        (r"^LR_conv\.", "fusion.2."),
        (r"^upsampler\.0\.", "tail."),
        (r"\.c([123])\.", r".refine.\1."),
        (r"\.c4\.", ".refine_last."),
        (r"\.c5\.", ".condense."),
        (r"\.cca\.conv_du\.", ".cca.excite."),
        (r"^IMDB(\d+)\.", r"blocks.\1."),
    ),
}
# The authors count blocks and steps from 1, a ModuleList from 0.
COUNTED = re.compile(r"\b(blocks|distill|refine)\.(\d+)\.")


def import_released(path: Path, model: nn.Module, *, network: str) -> None:
    """Fill the model with the weights of a released file.

    Args:
        path: the file as published.
        model: the network of the file's architecture and scale.
        network: the model's name, which decides how names are translated: "alkdnet", "bsrn" or "imdn".

    Raises:
        UserError: the file is missing or unreadable, or its names and shapes are not exactly the model's.
    """
    tensors = read_released(path, network=network)
    check_weights(path, tensors, model)
    model.load_state_dict(tensors)


def read_released(path: Path, *, network: str) -> dict[str, Tensor]:
    """Return the float32 weights of a released file, on the CPU, under the names of this library.

    A wrapping dictionary and the prefix of `nn.DataParallel` are taken off.

    Raises:
        UserError: the file is missing, is no PyTorch file of tensors, or two of its names mean the same.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such file of weights")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling foreign bytes may raise almost any exception
        first_line = str(error).partition("\n")[0]
        raise UserError(f"{path}: not a PyTorch file of weights ({first_line})") from error
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path}: holds {type(content).__name__}, not a dictionary of tensors")
    for name, tensor in content.items():
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            raise UserError(f"{path}: {name} is no floating-point tensor")
    if all(name.startswith("module.") for name in content):
        content = {name.removeprefix("module."): tensor for name, tensor in content.items()}
    names = released_names(content, network=network)
    if len(set(names.values())) < len(names):
        raise UserError(
            f"{path}: two of its names mean the same weights; it is no released file of {network}"
        )
    return {names[name]: tensor.float() for name, tensor in content.items()}


def released_names(names: Iterable[str], *, network: str) -> dict[str, str]:
    """Return this library's name for each name of a released file; a name that no rule knows stays as it is.

    Raises:
        UserError: no released weights of that network are known.
    """
    if network not in RULES:
        raise UserError(f"released weights can be imported for {', '.join(RULES)}, not for {network}")
    return {name: _translate(name, RULES[network]) for name in names}


def _translate(name: str, rules: Iterable[tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return COUNTED.sub(lambda match: f"{match[1]}.{int(match[2]) - 1}.", name)
