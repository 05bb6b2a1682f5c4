"""Straight-through estimators: the chosen weight goes forward, the gradient of what chose it comes back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor


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
