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

    `network`: its name. `weights`: their file; None: it has none. `scale`: how many times as large it makes
    images.
    """

    module: nn.Module
    network: str
    weights: Path | None
    scale: int

    @property
    def name(self) -> str:
        """The network and the file of its weights, for messages."""
        return f"{self.network}, {self.weights}" if self.weights else self.network


class _Form(NamedTuple):
    """A network as it can be built for a file of weights."""

    network: str
    scale: int
    options: Mapping[str, Option]


def open_model(weights: Path, scale: int | None = None, network: str | None = None) -> Model:
    """Return the network that a file of weights belongs to.

    A `run.json` beside a run's file, as a pipeline writes it, names the network and its options. Without one
    the names and shapes in the file, which may be this library's or the authors', say which network it is,
    with the usual options of the network or those of one of its released files.

    Args:
        weights: the file, or a run's folder.
        scale: how many times as large the network makes an image; None: it is found.
        network: its name; None: it is found.

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
    form = _form_of(weights, scale, network)
    return Model(_imported(weights, form).eval(), form.network, weights, form.scale)


def interpolation(scale: int) -> Model:
    """Return bicubic interpolation, which has no weights."""
    return Model(build("bicubic", scale, {}), "bicubic interpolation", None, scale)


def _form_of(weights: Path, scale: int | None, network: str | None) -> _Form:
    """Return what a file belongs to."""
    names = read_tensors(weights).keys()
    networks = [network] if network else _networks()
    scales = [scale] if scale else SCALES
    candidates: list[_Form] = []
    fitting: list[_Form] = []
    for form in _forms(networks):
        if fitting and fitting[0].network == "alkdnet":
            break  # this project's own go first
        if _has_names(form, names):
            candidates.append(form)
            fitting += [each for each in _at([form], scales) if _fits(weights, each)]
    if len(found := list(dict.fromkeys(form.network for form in fitting))) > 1:
        raise UserError(f"{weights}: fits {' and '.join(found)}; choose one by --network")
    if len(found := [str(form.scale) for form in fitting]) > 1 and scale is None:
        raise UserError(f"{weights}: fits every scale ({', '.join(found)}); choose one by --scale")
    if fitting:
        return fitting[0]
    for form in _at(candidates, [other for other in SCALES if other not in scales]):
        if _fits(weights, form):
            raise UserError(
                f"{weights}: these weights of {form.network} upscale by {form.scale}, not by {scale}"
            )
    usual = _Form(networks[0], scales[0], {})
    try:
        _imported(weights, usual)
    except UserError as error:
        raise UserError(str(error) if network else f"{error}; nor another network") from None
    return usual


def _networks() -> list[str]:
    """Return the networks that have weights, this project's first."""
    return ["alkdnet", *(name for name in network_names() if name not in ("alkdnet", "bicubic"))]


def _forms(networks: list[str]) -> Iterator[_Form]:
    """Yield networks with their usual options, and with those of released files."""
    for network in networks:
        released = [source.options for source in SOURCES.values() if source.network == network]
        usual: Mapping[str, Option] = {}
        for options in [usual, *(each for each in released if each)]:
            yield _Form(network, SCALES[0], options)


def _at(forms: Sequence[_Form], scales: Sequence[int]) -> Iterator[_Form]:
    return (form._replace(scale=scale) for scale in scales for form in forms)


def _imported(weights: Path, form: _Form) -> nn.Module:
    module = build(form.network, form.scale, form.options)
    import_released(weights, module)
    return module


def _has_names(form: _Form, names: Set[str]) -> bool:
    """Return whether a file with these names of tensors may belong to a network; they decide most cases."""
    with torch.device("meta"):  # costs no memory
        module = network_class(form.network)(scale=form.scale, **form.options)
    if hasattr(sys.modules[type(module).__module__], "arrange_released"):
        return True
    own = module.state_dict().keys()
    return own in (names, set(released_names(names, module).values()))


def _fits(weights: Path, form: _Form) -> bool:
    """Return whether a file can be imported as a network's."""
    try:
        _imported(weights, form)
    except UserError:
        return False
    return True
