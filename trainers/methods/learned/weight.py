"""Where learned weights start. They have no fixed weights to select from."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from trainers.kernels.options import draw_options, fans, glorot_bound
from trainers.streams import RandomStream, stream_key


def set_initial_weights(
    layer: nn.Module, name: str, seed: int, start: str = "glorot", options: int | None = None, bound: str | None = None
) -> None:
    """Give the layer the weights that it learns from. start: 'glorot', U(-b, b) with b = √(6/(fan_in+fan_out)) (Glorot
    & Bengio, 2010); 'kaiming', N(0, 2/fan_in) (He et al., 2015); or 'random_option', one of the connection's `options`.
    """
    weight = layer.weight
    assert isinstance(weight, Tensor)
    stream = RandomStream(stream_key(seed, "initial weights", name))
    connections = torch.arange(weight.numel())
    if start == "kaiming":
        initial = stream.normal(connections, torch.float64) * math.sqrt(2 / fans(weight)[0])
    elif start == "glorot":
        chance = stream.uniform(connections, torch.float64)
        initial = (2 * chance - 1) * glorot_bound(weight, "glorot_uniform")
    else:
        assert options is not None and bound is not None, "a rule of recipes"
        initial = _random_option(layer, stream.uniform(connections, torch.float64), name, seed, options, bound)
    with torch.no_grad():
        weight.copy_(initial.to(weight).view_as(weight))


def _random_option(layer: nn.Module, chance: Tensor, name: str, seed: int, count: int, bound: str) -> Tensor:
    options = draw_options(
        layer,
        name,
        seed=seed,
        count=count,
        sharing="none",
        value_bound=bound,
        score_ranges=(0, 0),
    )
    taken = (chance * count).long()
    values, _ = options.lines(np.arange(len(taken), dtype=np.int64))
    return torch.from_numpy(values).gather(1, taken[:, None])[:, 0]
