"""Which network a file of weights belongs to."""

import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from alkdnet.config.params import Option
from alkdnet.errors import UserError
from alkdnet.networks import build, network_class, network_names
from alkdnet.results.run import RECORD, WEIGHTS
from alkdnet.sources.catalogue import SOURCES
from alkdnet.weights.formats import read_tensors
from alkdnet.weights.released import import_released, released_names
from alkdnet.weights.runs import load_run

SCALES = (2, 3, 4)


class Model(NamedTuple):
    """A network with its weights, ready to upscale.

    `network`: its name. `weights`: their file; None: it has none. `scale`: the upscaling factor.
    """

    module: nn.Module
    network: str
    weights: Path | None
    scale: int

    @property
    def name(self) -> str:
        """The network and the file of its weights, for messages."""
        return f"{self.network}, {self.weights}" if self.weights else self.network


class _Variant(NamedTuple):
    """A network with the arguments to build it."""

    network: str
    scale: int
    options: Mapping[str, Option]


def open_model(weights: Path, scale: int | None = None, network: str | None = None) -> Model:
    """Return the network that a file of weights belongs to.

    A `run.json` beside a run's file, as a pipeline writes it, names the network and its options. Without one
    the names and shapes in the file, which may be this library's or the authors', say which network it is,
    with the default options of the network or those of one of its released files.

    Args:
        weights: the file, or a run's folder.
        scale: the upscaling factor; None: detected.
        network: its name; None: detected.

    Raises:
        UserError: the weights are missing, of another scale, or of another network.
    """
    if (weights / WEIGHTS).is_file():
        weights = weights / WEIGHTS
    if weights.name == WEIGHTS and weights.with_name(RECORD).is_file():
        module, record = load_run(weights.parent)
        if scale not in (None, record.scale):
            raise UserError(f"{weights}: these weights upscale by {record.scale}, not by {scale}")
        if network not in (None, record.network):
            raise UserError(f"{weights}: these are weights of {record.network}, not of {network}")
        return Model(module.eval(), record.network, weights, record.scale)
    variant = _variant_of(weights, scale, network)
    return Model(_imported(weights, variant).eval(), variant.network, weights, variant.scale)


def interpolation(scale: int) -> Model:
    """Return bicubic interpolation, which has no weights."""
    return Model(build("bicubic", scale, {}), "bicubic interpolation", None, scale)


def _variant_of(weights: Path, scale: int | None, network: str | None) -> _Variant:
    """Return the network variant that a file belongs to."""
    names = read_tensors(weights).keys()
    networks = [network] if network else _networks()
    scales = [scale] if scale else SCALES
    candidates: list[_Variant] = []
    fitting: list[_Variant] = []
    for variant in _variants(networks):
        if fitting and fitting[0].network == "alkdnet":
            break  # it has precedence
        if _has_names(variant, names):
            candidates.append(variant)
            fitting += [each for each in _at_scales([variant], scales) if _fits(weights, each)]
    if len(found := list(dict.fromkeys(variant.network for variant in fitting))) > 1:
        raise UserError(f"{weights}: fits {' and '.join(found)}; choose one by --network")
    if len(found := [str(variant.scale) for variant in fitting]) > 1 and scale is None:
        raise UserError(f"{weights}: fits every scale ({', '.join(found)}); choose one by --scale")
    if fitting:
        return fitting[0]
    for variant in _at_scales(candidates, [other for other in SCALES if other not in scales]):
        if _fits(weights, variant):
            raise UserError(
                f"{weights}: these weights of {variant.network} upscale by {variant.scale}, not by {scale}"
            )
    default = _Variant(networks[0], scales[0], {})
    try:
        _imported(weights, default)
    except UserError as error:
        raise UserError(str(error) if network else f"{error}; nor another network") from None
    return default


def _networks() -> list[str]:
    """Return the networks that have weights, this project's first."""
    return ["alkdnet", *(name for name in network_names() if name not in ("alkdnet", "bicubic"))]


def _variants(networks: list[str]) -> Iterator[_Variant]:
    """Yield networks with their default options, and with those of released files."""
    for network in networks:
        released = [source.options for source in SOURCES.values() if source.network == network]
        default: Mapping[str, Option] = {}
        for options in [default, *(each for each in released if each)]:
            yield _Variant(network, SCALES[0], options)


def _at_scales(variants: Sequence[_Variant], scales: Sequence[int]) -> Iterator[_Variant]:
    return (variant._replace(scale=scale) for scale in scales for variant in variants)


def _imported(weights: Path, variant: _Variant) -> nn.Module:
    module = build(variant.network, variant.scale, variant.options)
    import_released(weights, module)
    return module


def _has_names(variant: _Variant, names: Set[str]) -> bool:
    """Return whether a file with these names of tensors may belong to a network; which rules out most."""
    with torch.device("meta"):  # costs no memory
        module = network_class(variant.network)(scale=variant.scale, **variant.options)
    if hasattr(sys.modules[type(module).__module__], "arrange_released"):
        return True
    own = module.state_dict().keys()
    return own in (names, set(released_names(names, module).values()))


def _fits(weights: Path, variant: _Variant) -> bool:
    """Return whether a file can be imported as a network's."""
    try:
        _imported(weights, variant)
    except UserError:
        return False
    return True
