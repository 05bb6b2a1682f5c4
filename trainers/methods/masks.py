"""Fixed random weights of a layer, drawn again from (seed, layer) whenever they are wanted instead of being stored."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

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


def straight_through(weight: Tensor, original: Tensor, gradient: Callable[[Tensor], Tensor]) -> Tensor:
    """The weight as a leaf; `gradient` turns its gradient, in place if it likes, into that of `original`.

    A leaf and a hook cost a fraction of an autograd function in Python, which is what a small layer would wait for.
    """
    if not (torch.is_grad_enabled() and original.requires_grad):
        return weight
    leaf = weight.detach().requires_grad_()  # another object than `weight`: a hook that held its own leaf would leak it
    leaf.register_post_accumulate_grad_hook(partial(_pass_gradient, original, gradient))  # type: ignore[no-untyped-call]
    return leaf


def _pass_gradient(original: Tensor, gradient: Callable[[Tensor], Tensor], leaf: Tensor) -> None:
    assert leaf.grad is not None, "the hook runs after it"
    found = gradient(leaf.grad.contiguous())  # convolutions give theirs in channels-last order
    leaf.grad = None
    original.grad = found if original.grad is None else original.grad + found
