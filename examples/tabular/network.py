"""A network for rows of a table: two blocks around each of which its input goes straight on."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from trainers.networks.layers import InputShape, scaled
from trainers.networks.network import Network

if TYPE_CHECKING:
    from torch import nn


def residual(input_shape: InputShape, classes: int, *, width: float = 1.0) -> nn.Module:
    """Takes rows of any number of columns; width 1 has 64 units."""
    from .blocks import ResidualNetwork  # it needs torch

    return ResidualNetwork(prod(input_shape), scaled(64, width), classes)


RESIDUAL = Network("Residual", residual, smallest_sides={1: 1}, convolutions=False)
