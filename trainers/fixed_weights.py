"""Fixed random weights of a layer, drawn again from (seed, layer) whenever they are wanted instead of being stored."""

from __future__ import annotations

import torch
from torch import Tensor

from trainers.streams import RandomStream, stream_key


def fixed_weights(weight: Tensor, name: str, seed: int, *, kind: str, deviation: float) -> Tensor:
    """Random numbers like `weight`: N(0, deviation²), or for the kind `signed_constant` ±deviation at even odds.

    name: the layer's path in the network; it and the seed key the numbers.
    """
    stream = RandomStream(stream_key(seed, "fixed weights", name))
    connections = torch.arange(weight.numel(), device=weight.device)
    drawn = stream.signs if kind == "signed_constant" else stream.normal
    return drawn(connections, weight.dtype).mul_(deviation).view(weight.shape)
