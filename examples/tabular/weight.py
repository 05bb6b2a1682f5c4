"""How a layer gets weights of learned signs. It needs torch, so that only what trains imports it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from trainers.kernels.options import fans
from trainers.methods.base import SelectedWeight
from trainers.methods.masks import straight_through
from trainers.methods.snapshots import mask_in_use
from trainers.streams import RandomStream, stream_key


class SignedWeight(SelectedWeight):
    """The size with the sign of its score; the gradient of a score is that of the weight times the size."""

    choices = 2  # 0 is minus, 1 is plus: one bit of a ticket

    def __init__(self, size: Tensor):
        super().__init__()
        self.register_buffer("fixed", size, persistent=False)

    def forward(self, original: Tensor) -> Tensor:
        return straight_through(self.selected(original), original, lambda gradient: gradient.mul_(self.fixed))

    def selected(self, original: Tensor) -> Tensor:
        return torch.where(original > 0, self.fixed, -self.fixed).detach()

    def chosen(self, original: Tensor) -> Tensor:
        return original > 0

    def chosen_weight(self, chosen: Tensor) -> Tensor:
        return torch.where(chosen > 0, self.fixed, -self.fixed)

    def described(self, original: Tensor, weight: Tensor) -> dict[str, Any]:
        return mask_in_use(self.fixed, weight > 0)


def attach_signs(layer: Any, name: str, seed: int, spread: float) -> None:
    """Gives a layer its sizes, and scores that are as often above 0 as below."""
    weight: nn.Parameter = layer.weight
    connections = torch.arange(weight.numel())
    middle = math.sqrt(2 / fans(weight)[0])  # Kaiming's, for what goes through ReLUs

    def drawn(what: str) -> Tensor:
        uniform = RandomStream(stream_key(seed, what, name)).uniform(connections, torch.float32)
        return (2 * uniform - 1).view(weight.shape)

    with torch.no_grad():
        weight.copy_(drawn("scores").mul_(middle))
    size = drawn("sizes").mul_(spread).add_(1).mul_(middle)
    parametrize.register_parametrization(layer, "weight", SignedWeight(size), unsafe=True)
