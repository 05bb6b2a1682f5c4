"""The oracle: a slot machine as the paper writes it, with K values and K scores a connection, all trained by SGD."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class _Select(torch.autograd.Function):
    """The value of the chosen option; the gradient of score k is that of the weight times w_k (eq. 6)."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, values: Tensor, chosen: Tensor) -> Tensor:
        ctx.save_for_backward(values)
        return values.gather(-1, chosen[..., None])[..., 0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (values,) = ctx.saved_tensors
        return gradients[0][..., None] * values, None, None


class KScores(nn.Module):
    """Weight of a layer from `values` (*shape, K), fixed, and scores (*shape, K), the trainable `original`."""

    def __init__(self, values: Tensor, scores: Tensor, choose: Any = None):
        super().__init__()
        self.register_buffer("values", values)
        self.initial = scores
        self.choose = choose or (lambda scores: scores.argmax(-1))
        self.chosen: Tensor | None = None

    def right_inverse(self, weight: Tensor) -> Tensor:
        return self.initial.clone()

    def forward(self, scores: Tensor) -> Tensor:
        self.chosen = self.choose(scores.detach())
        return _Select.apply(scores, self.values, self.chosen)


def attach_k_scores(layer: nn.Module, values: Tensor, scores: Tensor, choose: Any = None) -> KScores:
    """Make the layer's weight a K-score slot machine."""
    layer.weight.requires_grad_(False)
    selection = KScores(values, scores, choose)
    parametrize.register_parametrization(layer, "weight", selection, unsafe=True)
    layer.parametrizations.weight.original.requires_grad_(True)
    return selection


def all_lines(options: Any, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """Every value and initial score that `options` draws, each (*shape, K)."""
    lines = [options.line(option, torch.device("cpu")) for option in range(options.count)]
    count = shape.numel()
    values = torch.stack([value.expand(count) for value, _ in lines], dim=-1)
    scores = torch.stack([score.expand(count) for _, score in lines], dim=-1)
    return values.view(*shape, -1).clone(), scores.view(*shape, -1).clone()
