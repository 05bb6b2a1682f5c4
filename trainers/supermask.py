"""Supermasks: fixed random weights, each kept with a probability that is learned (Zhou et al., NeurIPS 2019).

A connection with mask logit m is in use with probability p = sigmoid(m), sampled afresh in every training forward pass.
Its mask going forward is the sample e; going back it is e + p - stop_gradient(p), as in the authors' code. So with fixed
weight w and G = dL/dW, the gradient of m is p·(1 - p)·w·G. With dynamic weight rescaling the weight in use is w·e·n/Σe
over the n connections of the layer, and the gradient goes through Σe too, again as in their code.

By threshold a connection is in use if m > 0: logits start at 0, and one that never got a gradient stays out. (Their code
rounds sigmoid(m) half to even, which is the same.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from trainers.attachment import Method, SelectedWeight
from trainers.fixed_weights import fixed_weights
from trainers.options import fans
from trainers.recipe import Recipe
from trainers.streams import HALF_BITS, RandomStream

EVALUATION_SAMPLES = 10  # as in the paper


def bernoulli(probability: Tensor, stream: RandomStream) -> Tensor:
    """Booleans that are true with these probabilities, to within 2**-24; never at 0, always at 1."""
    connections = torch.arange(probability.numel(), device=probability.device)
    _, chance = stream.pairs(connections)
    return (chance < probability.flatten() * (1 << HALF_BITS)).view(probability.shape)


class _StraightThrough(torch.autograd.Function):
    """The weight in use going forward; the gradient of the mask logits, as if the mask were p, going back."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, probability: Tensor, fixed: Tensor, in_use: Tensor, rescale: Tensor | None) -> Tensor:
        ctx.save_for_backward(probability, fixed, in_use, rescale)
        return in_use

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        probability, fixed, in_use, rescale = ctx.saved_tensors
        gradient = gradients[0] * fixed
        if rescale is not None:  # the sum of the mask is in the denominator: its gradient is the same everywhere
            shared = (gradients[0] * in_use).sum() / probability.numel()
            gradient.sub_(shared).mul_(rescale)
        return gradient.mul_(probability).mul_(1 - probability), None, None, None, None


class MaskedWeight(SelectedWeight):
    """Gives a layer its fixed weights where the mask is 1, and 0 elsewhere. The trainable `original` is the logits."""

    def __init__(self, fixed: Tensor, *, rescale: bool, sample_at_evaluation: bool):
        super().__init__()
        self.rescale = rescale
        self.sample_at_evaluation = sample_at_evaluation
        self.evaluation_samples = EVALUATION_SAMPLES if sample_at_evaluation else 1
        self.register_buffer("fixed", fixed, persistent=False)

    fixed: Tensor

    def forward(self, logits: Tensor) -> Tensor:
        if not (self.training or self.sample_at_evaluation):
            return self.selected(logits)
        with torch.no_grad():
            probability = logits.sigmoid()
            in_use, rescale = self._masked(bernoulli(probability, _noise()))
        return _StraightThrough.apply(logits, probability, self.fixed, in_use, rescale)  # type: ignore[no-any-return]

    def selected(self, logits: Tensor) -> Tensor:
        with torch.no_grad():
            return self._masked(logits > 0)[0]

    def _masked(self, mask: Tensor) -> tuple[Tensor, Tensor | None]:
        """The fixed weights under a mask, and the number that they were multiplied with."""
        in_use = self.fixed * mask
        if not self.rescale:
            return in_use, None
        factor = mask.numel() / mask.sum().clamp_(min=1).to(in_use.dtype)  # where none is kept all are 0 anyway
        return in_use.mul_(factor), factor


def _noise() -> RandomStream:
    """The stream of one pass through one layer: one number of torch's generator is the key of all of them."""
    return RandomStream(int(torch.randint(-(1 << 63), (1 << 63) - 1, ()).item()))


@dataclass(frozen=True)
class Supermask(Method):
    """Fixed random weights; learn the probability with which each is kept (Zhou et al., 2019)."""

    weight_init: str  # glorot_normal: N(0, σ²), σ² = 2/(fan_in + fan_out); signed_constant: ±σ
    rescale: bool  # dynamic weight rescaling: times connections / connections kept, in every pass
    evaluation: str  # mean_of_samples: of ten sampled masks' accuracies; threshold: one mask, m > 0

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Supermask:
        return cls(**{name: getattr(recipe, name) for name in cls.__dataclass_fields__})

    def attach(self, layer: nn.Module, name: str, seed: int) -> None:
        weight = layer.weight
        assert isinstance(weight, Tensor)
        fixed = fixed_weights(weight, name, seed, kind=self.weight_init, deviation=math.sqrt(2 / sum(fans(weight))))
        with torch.no_grad():  # what was the layer's weight becomes its mask logits
            weight.zero_()
        sampled = self.evaluation == "mean_of_samples"
        masked = MaskedWeight(fixed, rescale=self.rescale, sample_at_evaluation=sampled)
        parametrize.register_parametrization(layer, "weight", masked, unsafe=True)
