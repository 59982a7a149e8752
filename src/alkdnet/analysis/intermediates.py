"""The features that pass between the parts of a network, by name."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from alkdnet.errors import UserError

MODULES = ("shallow", "blocks", "fusion", "tail", "shuffle")


def intermediates(model: nn.Module, x_BCHW: Tensor) -> dict[str, Tensor]:
    """Return the features that pass between the parts of a network, in the order of their making (Figure 5).

    The keys: `shallow`, `block1`, `block2`, ..., `before_fsrl` (the fused features), `after_fsrl` (with the
    shallow features added), `before_abrl` (the last convolution's output) and `after_abrl` (with the anchor
    added, before the pixel shuffle). A network without one of the two residual connections has no features
    after it.

    All are of LR size, (B, C, H, W); C = 3 s^2 around ABRL. No gradients are kept. An input below the
    network's minimum gives features of the padded size.

    Raises:
        UserError: the network is not built of the parts shallow, blocks, fusion, tail and shuffle.
    """
    absent = [name for name in MODULES if not hasattr(model, name)]
    if absent:
        raise UserError(
            f"{type(model).__name__} has no {' and no '.join(absent)}: its features have no names"
        )
    shallow, blocks, fusion, tail, shuffle = (model.get_submodule(name) for name in MODULES)
    outputs: dict[nn.Module, Tensor] = {}
    inputs: dict[nn.Module, Tensor] = {}
    with _recorded([shallow, *blocks.children(), fusion, tail, shuffle], inputs, outputs), torch.no_grad():
        model(x_BCHW)
    features = {"shallow": outputs[shallow]}
    for number, block in enumerate(blocks.children(), start=1):
        features[f"block{number}"] = outputs[block]
    features["before_fsrl"] = outputs[fusion]
    # Without the addition the next part gets the very tensor that the last one returned.
    if inputs[tail] is not outputs[fusion]:
        features["after_fsrl"] = inputs[tail]
    features["before_abrl"] = outputs[tail]
    if inputs[shuffle] is not outputs[tail]:
        features["after_abrl"] = inputs[shuffle]
    return features


@contextmanager
def _recorded(
    modules: Sequence[nn.Module], inputs: dict[nn.Module, Tensor], outputs: dict[nn.Module, Tensor]
) -> Iterator[None]:
    def record(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        inputs[module], outputs[module] = args[0], output

    handles = [module.register_forward_hook(record) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
