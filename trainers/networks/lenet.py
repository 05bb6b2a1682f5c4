"""Lenet-300-100: two hidden, fully connected layers."""

from __future__ import annotations

from collections import OrderedDict
from math import prod
from typing import TYPE_CHECKING

from trainers.networks.layers import InputShape, activated, linear, scaled
from trainers.networks.network import Network

if TYPE_CHECKING:
    from torch import nn


def lenet(
    input_shape: InputShape,
    classes: int,
    *,
    width: float = 1.0,
    activation: str | None = None,
    readout: str | None = None,
) -> nn.Sequential:
    """Lenet-300-100 for images of any shape; 266,200 weights on MNIST, 269,200 where its last layer sees all units."""
    from torch import nn

    first, second = scaled(300, width), scaled(100, width)
    all_hidden = readout == "all_hidden"
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        flatten=nn.Flatten(),
        fc1=linear(prod(input_shape), first),
        relu1=activated(activation),
        fc2=linear(first, second),
        relu2=activated(activation),
        fc3=linear(first + second if all_hidden else second, classes),
    )
    if all_hidden:
        from trainers.networks.hidden_readout import HiddenReadout

        return HiddenReadout(layers)
    return nn.Sequential(layers)


LENET = Network("Lenet", lenet, smallest_sides={1: 1}, convolutions=False)
