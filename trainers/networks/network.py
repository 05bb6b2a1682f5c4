"""What a network is: what builds it, what it is called, and what it needs. Read without torch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainers.networks.layers import InputShape

if TYPE_CHECKING:
    from torch import nn

# The fields of a recipe that shape a network, each with the value it has where a network does not have the field.
NEUTRAL: dict[str, int | float | None] = {
    "padding": 1, "width": 1.0, "dropout": 0.0, "activation": None, "readout": None,
}  # fmt: skip


@dataclass(frozen=True)
class Network:
    """A network by its builder, which takes the input's shape, the number of classes and, by name, fields of a recipe.

    Only the builder may import torch, inside the function.
    """

    title: str  # in labels and reports
    build: Callable[..., nn.Module]
    smallest_sides: Mapping[int, int]  # the fewest pixels a side that it takes, by padding
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # padding and dropout, by the preset's name
    convolutions: bool = True  # it has some

    @property
    def fields(self) -> tuple[str, ...]:
        """Which fields of a recipe it has."""
        taken = inspect.signature(self.build).parameters
        return tuple(name for name in NEUTRAL if name in taken)

    def smallest_side(self, padding: int) -> int:
        """The fewest pixels a side that it takes; a network without padding takes the same with any."""
        return self.smallest_sides.get(padding, self.smallest_sides[1])

    def __call__(self, input_shape: InputShape, classes: int, **fields: Any) -> nn.Module:
        """The network, with torch's own initial weights."""
        return self.build(input_shape, classes, **fields)
