"""A network of one hidden, fully connected layer."""

from __future__ import annotations

from collections import OrderedDict
from math import prod
from typing import TYPE_CHECKING

from trainers.networks.layers import InputShape, activated, linear, scaled
from trainers.networks.network import Network

if TYPE_CHECKING:
    from torch import nn


def shallow(
    input_shape: InputShape, classes: int, *, width: float = 1.0, activation: str | None = None
) -> nn.Sequential:
    """1,000 hidden units for images of any shape; 794,000 weights on MNIST."""
    from torch import nn

    hidden = scaled(1000, width)
    return nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            fc1=linear(prod(input_shape), hidden),
            relu1=activated(activation),
            fc2=linear(hidden, classes),
        )
    )


SHALLOW = Network("Shallow", shallow, smallest_sides={1: 1}, convolutions=False)
