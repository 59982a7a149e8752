"""One file per network, each naming its class NETWORK; here they are looked up by name and built."""

import importlib
import inspect
import pkgutil
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import UnionType
from typing import Literal

import torch
from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook

from alkdnet.config.params import Option
from alkdnet.errors import UserError, shown

# Far beyond any network for this task (some have 40 million parameters), and built within seconds.
LARGEST_OPTION = 4096
LARGEST_SCALE = 16
MOST_MODULES = 5_000
MOST_PARAMETERS = 500_000_000


def network_names() -> list[str]:
    """Return the names of all networks, sorted: one for each module of `alkdnet.networks`."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def network_class(name: str) -> type[nn.Module]:
    """Return the class of a network, the NETWORK of its module.

    Raises:
        UserError: there is no such network.
    """
    if name not in network_names():
        raise UserError(
            f"there is no network {shown(name)}; there are: {', '.join(network_names())}. "
            "A file that git does not know does not reach an experiment with --temp or --queue: `git add` it"
        )
    network: type[nn.Module] = importlib.import_module(f"alkdnet.networks.{name}").NETWORK
    return network


def check_options(network: str, options: Mapping[str, Option]) -> list[str]:
    """Return in words what is wrong with a network's name and options; an empty list if nothing is.

    The names and types are those of the constructor; its own ValueErrors are asked for by building on the
    meta device, which allocates nothing. A network that is too large to be built counts as wrong.
    """
    try:
        cls = network_class(network)
    except UserError as error:
        return [str(error)]
    hints = typing.get_type_hints(cls.__init__)
    parameters = {name: each for name, each in inspect.signature(cls).parameters.items() if name != "scale"}
    if unclear := [name for name, each in parameters.items() if not _is_option(each, hints.get(name))]:
        rule = "a default and a type hint of int, float, bool, str, None, Literal[...], or these joined by |"
        return [f"{network}: {', '.join(unclear)} of {cls.__name__}.__init__ must have {rule}"]
    valid, problems = list(parameters), []
    for name, value in options.items():
        if name not in valid:
            problems.append(
                f"{network} has no option {shown(name)}; it has: {', '.join(valid) if valid else 'none'}"
            )
        elif not _fits(value, hints[name]):
            problems.append(f"{name} must be {_describe(hints[name])}, not {shown(value)}")
        elif isinstance(value, int) and abs(value) > LARGEST_OPTION:
            problems.append(f"{name} must be at most {LARGEST_OPTION}, not {shown(value)}")
    if not problems:
        try:
            with torch.device("meta"), _at_most(MOST_MODULES):
                model = cls(scale=2, **options)
            count = sum(parameter.numel() for parameter in model.parameters())
            if count > MOST_PARAMETERS:
                raise ValueError(f"{count:,} parameters are too many; at most {MOST_PARAMETERS:,}")
        except ValueError as error:
            problems.append(str(error))
    return problems


def build(network: str, scale: int, options: Mapping[str, Option]) -> nn.Module:
    """Return the network with freshly initialised weights (from torch's global random generator).

    Raises:
        UserError: there is no such network, or an option does not fit.
    """
    if problems := problems_of(network, scale, options):
        raise UserError(f"network {network}: " + "; ".join(problems))
    return network_class(network)(scale=scale, **options)


def problems_of(network: str, scale: int, options: Mapping[str, Option]) -> list[str]:
    """Return in words why a network cannot be built; an empty list if it can."""
    problems = check_options(network, options)
    if not 1 <= scale <= LARGEST_SCALE:
        problems.append(f"scale must be at least 1 and at most {LARGEST_SCALE}, not {shown(scale)}")
    return problems


@contextmanager
def _at_most(modules: int) -> Iterator[None]:
    """Raise ValueError when more modules than this are put together while the block runs."""
    count = 0

    def hook(*_: object) -> None:
        nonlocal count
        count += 1
        if count > modules:
            raise ValueError(f"the network has more than {modules:,} modules")

    handle = register_module_module_registration_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _is_option(parameter: inspect.Parameter, hint: object) -> bool:
    """Return whether an argument of a network's class can be an option of a parameter file."""
    parts = typing.get_args(hint) if isinstance(hint, UnionType) else (hint,)
    known = (int, float, bool, str, type(None))
    return parameter.default is not inspect.Parameter.empty and all(
        part in known or typing.get_origin(part) is Literal for part in parts
    )


def _fits(value: object, hint: object) -> bool:
    if typing.get_origin(hint) is Literal:
        # 1 == True: a bool is no value of Literal[0, 1].
        return any(value == choice and type(value) is type(choice) for choice in typing.get_args(hint))
    if isinstance(hint, UnionType):
        return any(_fits(value, part) for part in typing.get_args(hint))
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    assert isinstance(hint, type)  # see _is_option
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))


def _describe(hint: object) -> str:
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(repr(choice) for choice in typing.get_args(hint))
    names = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "a text",
        type(None): "null",
    }
    if isinstance(hint, UnionType):
        return " or ".join(_describe(part) for part in typing.get_args(hint))
    return names[hint] if isinstance(hint, type) and hint in names else str(hint)
