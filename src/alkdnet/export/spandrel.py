"""Networks of this library for spandrel, the loader of chaiNNer, ComfyUI and other programs.

    from spandrel import MAIN_REGISTRY, ModelLoader
    from alkdnet.export.spandrel import ARCHITECTURES

    MAIN_REGISTRY.add(*ARCHITECTURES)
    model = ModelLoader().load_from_file("net_g_ALKDN_x4.pth")

Files by the authors' names, as they publish them or `alkdnet export` writes them, and by this library's; of
networks with their usual options. The networks pad small images themselves: no size is required.
"""

from collections.abc import Mapping
from math import isqrt

import torch
from spandrel import Architecture, ArchSupport, ImageModelDescriptor
from torch import Tensor, nn

from alkdnet.export.authors import AUTHORS_NAMES
from alkdnet.networks import LARGEST_SCALE, build, network_class
from alkdnet.weights.released import released_names

# Spandrel has its own implementation.
_KNOWN_TO_SPANDREL = ("safmn",)


class NetworkArchitecture(Architecture[nn.Module]):
    """One network of this library.

    Args:
        network: its name.
    """

    def __init__(self, network: str) -> None:
        super().__init__(
            id=f"alkdnet.{network}",
            name=network_class(network).__name__,
            detect=lambda state_dict: _matching_weights(network, state_dict) is not None,
        )
        self._network = network

    def load(self, state_dict: Mapping[str, Tensor]) -> ImageModelDescriptor[nn.Module]:
        """Return the network with the weights."""
        weights = _matching_weights(self._network, state_dict)
        if weights is None:
            raise ValueError(f"these are no weights of {self.name}")
        scale = _scale(weights)
        model = build(self._network, scale, {})
        return ImageModelDescriptor(
            model,
            weights,
            architecture=self,
            purpose="Restoration" if scale == 1 else "SR",
            tags=[],
            supports_half=False,
            supports_bfloat16=True,
            scale=scale,
            input_channels=3,
            output_channels=3,
        )


def _matching_weights(network: str, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """Return the weights by this library's names if they are the network's, else None."""
    with torch.device("meta"):
        smallest = build(network, 1, {})
    names = {name: name for name in state_dict}
    if smallest.state_dict().keys() != names.keys():
        names = released_names(state_dict, smallest)
    weights = {ours: state_dict[theirs] for theirs, ours in names.items()}
    if smallest.state_dict().keys() != weights.keys() or not 1 <= _scale(weights) <= LARGEST_SCALE:
        return None
    with torch.device("meta"):
        expected = build(network, _scale(weights), {}).state_dict()
    fits = all(tensor.shape == weights[name].shape for name, tensor in expected.items())
    return weights if fits else None


def _scale(weights: Mapping[str, Tensor]) -> int:
    """Return s of a network that ends with 3 s^2 channels and a pixel shuffle, as all of these do."""
    return isqrt(weights["tail.weight"].shape[0] // 3)


ARCHITECTURES = tuple(
    ArchSupport.from_architecture(NetworkArchitecture(network))
    for network in AUTHORS_NAMES
    if network not in _KNOWN_TO_SPANDREL
)
