"""The networks by name: ordinary modules without biases that know no method. No torch is imported before one is built.

To add one: its file, and its line in NETWORKS (docs/adding.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from trainers.errors import InvalidInput, one_of
from trainers.networks.alexnet import ALEXNET
from trainers.networks.conv import CONV2, CONV4, CONV6
from trainers.networks.layers import InputShape
from trainers.networks.lenet import LENET
from trainers.networks.network import NEUTRAL, Network
from trainers.networks.plugged import plugged_network
from trainers.networks.resnet import RESNET18, RESNET34, RESNET50, RESNET101, WIDE_RESNET50
from trainers.networks.shallow import SHALLOW
from trainers.networks.vgg import VGG19
from trainers.plugins.known import is_of_plugin

if TYPE_CHECKING:
    from torch import nn

__all__ = ["NETWORKS", "InputShape", "build_network", "network_arguments", "network_named"]

NETWORKS: dict[str, Network] = {
    "lenet": LENET,
    "shallow": SHALLOW,
    "conv2": CONV2,
    "conv4": CONV4,
    "conv6": CONV6,
    "vgg19": VGG19,
    "alexnet": ALEXNET,
    "resnet18": RESNET18,
    "resnet34": RESNET34,
    "resnet50": RESNET50,
    "resnet101": RESNET101,
    "wide_resnet50": WIDE_RESNET50,
}


class _Recipe(Protocol):
    """What of a recipe says which network it trains."""

    @property
    def network(self) -> str: ...
    @property
    def padding(self) -> int: ...
    @property
    def width(self) -> float: ...
    @property
    def dropout(self) -> float: ...
    @property
    def activation(self) -> str | None: ...
    @property
    def readout(self) -> str | None: ...
    @property
    def plugins(self) -> str | None: ...


def network_named(name: str, plugins: object = None) -> Network:
    """The network of this name; `plugins`: those of its recipe. Raises InvalidInput for a name that is none.

    That of a plug-in whose code was not imported says what is told of it, and cannot be built.
    """
    if is_of_plugin(name):
        return plugged_network(name, plugins)
    if name not in NETWORKS:
        raise InvalidInput(one_of("network", name, NETWORKS))
    return NETWORKS[name]


def build_network(recipe: _Recipe, input_shape: InputShape, classes: int) -> nn.Module:
    """The recipe's network for images of `input_shape` (channels, height, width), with torch's own initial weights.

    Raises InvalidInput where the recipe sets what the network does not have, or where the images are too small for it.
    """
    arguments = check_network(recipe, input_shape)
    return network_named(recipe.network, recipe.plugins)(input_shape, classes, **arguments)


def check_network(recipe: _Recipe, input_shape: InputShape) -> dict[str, Any]:
    """The fields of the recipe that its network has, for images that are large enough. Raises InvalidInput."""
    arguments = network_arguments(recipe)
    network = network_named(recipe.network, recipe.plugins)
    side, (_, height, width) = network.smallest_side(recipe.padding), input_shape
    if min(height, width) < side:
        raise InvalidInput(
            f"network: {recipe.network} needs images of at least {side} x {side} pixels, not {height} x {width} "
            "(lenet takes any size)"
        )
    return arguments


def network_arguments(recipe: _Recipe) -> dict[str, Any]:
    """The fields of the recipe that its network has. Raises InvalidInput for one that it lacks and the recipe sets."""
    taken = network_named(recipe.network, recipe.plugins).fields
    faults = [
        f"{field}: {recipe.network} has no such field, so "
        f"{'leave it out' if neutral is None else f'it must be {neutral!r}'}, not {getattr(recipe, field)!r}"
        for field, neutral in NEUTRAL.items()
        if field not in taken and getattr(recipe, field) != neutral
    ]
    if faults:
        raise InvalidInput("\n".join(faults))
    return {field: getattr(recipe, field) for field in taken}
