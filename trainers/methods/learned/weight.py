"""Where learned weights start. They have no fixed weights to select from."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from trainers.kernels.options import draw_options, glorot_bound
from trainers.streams import RandomStream, stream_key


def set_initial_weights(layer: nn.Module, name: str, seed: int, options: int | None, value_bound: str | None) -> None:
    """Give the layer the weights that it learns from: one of K `options` a connection, or Glorot-uniform if None."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    with torch.no_grad():
        weight.copy_(_initial(layer, weight, name, seed, options, value_bound).view_as(weight))


def _initial(
    layer: nn.Module, weight: Tensor, name: str, seed: int, count: int | None, value_bound: str | None
) -> Tensor:
    connections = torch.arange(weight.numel())
    chance = RandomStream(stream_key(seed, "initial weights", name)).uniform(connections, torch.float64)
    if count is None or value_bound is None:
        bound = glorot_bound(weight, "glorot_uniform")
        return ((2 * chance - 1) * bound).to(weight)
    options = draw_options(
        layer,
        name,
        seed=seed,
        count=count,
        sharing="none",
        value_bound=value_bound,
        score_ranges=(0, 0),
    )
    taken = (chance * count).long()
    values, _ = options.lines(np.arange(weight.numel(), dtype=np.int64))
    return torch.from_numpy(values).gather(1, taken[:, None])[:, 0].to(weight)
