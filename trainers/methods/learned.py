"""Learned weights: the baseline. It has no fixed weights to select from, only a start."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from trainers.kernels.options import draw_options, glorot_bound
from trainers.methods.base import Method
from trainers.recipe.recipe import Recipe
from trainers.streams import RandomStream, stream_key


@dataclass(frozen=True)
class LearnedWeights(Method):
    """Weights learned from random ones: Glorot-uniform, or one of K options a connection, taken at random."""

    start: str  # glorot, or random_option (the slot machines' untrained counterpart)
    options: int | None
    value_bound: str | None

    def attach(self, layer: nn.Module, name: str, seed: int) -> None:
        weight = layer.weight
        assert isinstance(weight, Tensor)
        with torch.no_grad():
            weight.copy_(self._initial(layer, weight, name, seed).view_as(weight))

    def _initial(self, layer: nn.Module, weight: Tensor, name: str, seed: int) -> Tensor:
        connections = torch.arange(weight.numel())
        chance = RandomStream(stream_key(seed, "initial weights", name)).uniform(connections, torch.float64)
        if self.start == "glorot":
            bound = glorot_bound(weight, "glorot_uniform")
            return ((2 * chance - 1) * bound).to(weight)
        assert self.options is not None and self.value_bound is not None, "a rule of recipes"
        options = draw_options(
            layer,
            name,
            seed=seed,
            count=self.options,
            sharing="none",
            value_bound=self.value_bound,
            score_ranges=(0, 0),
        )
        taken = (chance * self.options).long()
        values, _ = options.lines(np.arange(weight.numel(), dtype=np.int64))
        return torch.from_numpy(values).gather(1, taken[:, None])[:, 0].to(weight)

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> LearnedWeights:
        assert recipe.start is not None, "a rule of recipes"
        return cls(recipe.start, recipe.options, recipe.value_bound)
