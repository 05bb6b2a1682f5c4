"""The networks: ordinary modules without biases that know no method. To add one: a builder, and its line in NETWORKS.

A builder takes the shape of the input, the number of classes, and, by name, the fields of a recipe that it has.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from trainers.networks.alexnet import alexnet
from trainers.networks.conv import conv2, conv4, conv6
from trainers.networks.layers import InputShape
from trainers.networks.lenet import lenet
from trainers.networks.resnet import resnet18, resnet34, resnet50, resnet101, wide_resnet50
from trainers.networks.vgg import vgg19
from trainers.recipe.errors import InvalidInput, one_of
from trainers.recipe.recipe import Recipe

__all__ = ["NETWORKS", "InputShape", "build_network", "network_arguments"]

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "lenet": lenet,
    "conv2": conv2,
    "conv4": conv4,
    "conv6": conv6,
    "vgg19": vgg19,
    "alexnet": alexnet,
    "resnet18": resnet18,
    "resnet34": resnet34,
    "resnet50": resnet50,
    "resnet101": resnet101,
    "wide_resnet50": wide_resnet50,
}

# The fields of a recipe that shape a network, each with the value it has where a network does not have the field.
NEUTRAL: dict[str, int | float] = {"padding": 1, "width": 1.0, "dropout": 0.0}


def build_network(recipe: Recipe, input_shape: InputShape, classes: int) -> nn.Module:
    """The recipe's network for images of `input_shape` (channels, height, width), with torch's own initial weights.

    Raises InvalidInput where the recipe sets what the network does not have, or where the images are too small for it.
    """
    return NETWORKS[recipe.network](input_shape, classes, **network_arguments(recipe))


def network_arguments(recipe: Recipe) -> dict[str, Any]:
    """The fields of the recipe that its network has. Raises InvalidInput for one that it lacks and the recipe sets."""
    if recipe.network not in NETWORKS:
        raise InvalidInput(one_of("network", recipe.network, NETWORKS))
    taken = inspect.signature(NETWORKS[recipe.network]).parameters
    faults = [
        f"{field}: {recipe.network} has no such field, so it must be {neutral!r}, not {getattr(recipe, field)!r}"
        for field, neutral in NEUTRAL.items()
        if field not in taken and getattr(recipe, field) != neutral
    ]
    if faults:
        raise InvalidInput("\n".join(faults))
    return {field: getattr(recipe, field) for field in NEUTRAL if field in taken}
