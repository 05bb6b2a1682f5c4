"""Lenet-300-100: two hidden, fully connected layers."""

from __future__ import annotations

from collections import OrderedDict
from math import prod
from typing import TYPE_CHECKING

from trainers.networks.layers import InputShape, linear, scaled
from trainers.networks.network import Network

if TYPE_CHECKING:
    from torch import nn


def lenet(input_shape: InputShape, classes: int, *, width: float = 1.0) -> nn.Sequential:
    """Lenet-300-100 for images of any shape; 266,200 weights on MNIST."""
    from torch import nn

    first, second = scaled(300, width), scaled(100, width)
    return nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            fc1=linear(prod(input_shape), first),
            relu1=nn.ReLU(inplace=True),
            fc2=linear(first, second),
            relu2=nn.ReLU(inplace=True),
            fc3=linear(second, classes),
        )
    )


LENET = Network("Lenet", lenet, smallest_sides={1: 1}, convolutions=False)
