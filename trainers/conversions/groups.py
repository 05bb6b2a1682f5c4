"""Which weights of a layer share a scale. Imports no torch."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def groups(shape: tuple[int, ...], scales: str) -> tuple[int, int]:
    """(groups, weights of each) of a weight (out, in, …): one `layer`, a `channel` each, or a `kernel` each.

    A channel is all that makes one output; a kernel is what one input gives one output, which of a linear layer would
    be a single weight: there it is a channel.
    """
    count = prod(shape)
    if scales == "layer":
        return 1, count
    outputs = shape[0] * (shape[1] if scales == "kernel" and len(shape) > 2 else 1)
    return outputs, count // outputs


def in_groups(weight: Tensor, scales: str) -> Tensor:
    """The weight as (groups, weights of each)."""
    return weight.detach().contiguous().view(groups(tuple(weight.shape), scales))
