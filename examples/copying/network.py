"""The network of the copying task, by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainers.networks.layers import InputShape, scaled
from trainers.networks.network import Network

if TYPE_CHECKING:
    from torch import nn


def memory(input_shape: InputShape, classes: int, *, width: float = 1.0) -> nn.Module:
    """Takes sequences (1, steps, values); width 1 has a controller of 64 units."""
    from .machine import MemoryMachine  # it needs torch

    _, steps, values = input_shape
    return MemoryMachine(steps, values, classes, units=scaled(64, width))


# Sequences are images of steps by values; fewer than 3 hold nothing to copy.
MEMORY = Network("LSTM with memory", memory, smallest_sides={1: 3}, convolutions=False)
