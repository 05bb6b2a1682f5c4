"""Supermasks: fixed random weights, each kept with a probability that is learned (Zhou et al., NeurIPS 2019).

A connection with mask logit m is in use with probability p = sigmoid(m), sampled afresh in every training forward
pass. Its mask is the sample e going forward and e + p - stop_gradient(p) going back, as in the authors' code. So with
fixed weight w and G = dL/dW, the gradient of m is p·(1 - p)·w·G. With dynamic weight rescaling the weight in use is
w·e·n/Σe over the n connections of the layer, and the gradient goes through Σe too, again as in their code.

By threshold a connection is in use if m > 0: logits start at 0, and one that never got a gradient stays out, as where
their code rounds sigmoid(m) half to even. Their Glorot-normal weights are cut off at two deviations; these are not.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from trainers.kernels import native
from trainers.kernels.options import fans
from trainers.methods.base import SelectedWeight
from trainers.methods.kinds import EVALUATION_SAMPLES
from trainers.methods.masks import fixed_weights, straight_through
from trainers.streams import GOLDEN, HALF_BITS, mixed, signed


def bernoulli(probability: Tensor, noise_key: Tensor) -> Tensor:
    """Booleans that are true with these probabilities, to within 2**-24; never at 0, always at 1.

    noise_key: an int64 on the same device, the key of a stream with a number in [0, 1) for each.
    """
    counters = torch.arange(probability.numel(), device=probability.device) * signed(GOLDEN)
    chance: Tensor = (mixed(counters + noise_key) >> 8) & ((1 << HALF_BITS) - 1)
    return (chance < probability.flatten() * (1 << HALF_BITS)).view(probability.shape)


class MaskedWeight(SelectedWeight):
    """Gives a layer its fixed weights where the mask is 1, and 0 elsewhere. The trainable `original` is the logits."""

    def __init__(self, fixed: Tensor, *, rescale: bool, sample_at_evaluation: bool):
        super().__init__()
        self.rescale = rescale
        self.sample_at_evaluation = sample_at_evaluation
        self.evaluation_samples = EVALUATION_SAMPLES
        self.register_buffer("fixed", fixed, persistent=False)

    fixed: Tensor

    def forward(self, logits: Tensor) -> Tensor:
        if not (self.training or self.sample_at_evaluation):
            return self.selected(logits)
        with torch.no_grad():
            probability = logits.sigmoid()
            in_use, kept = self._sampled(probability, self.noise_key(logits.device))
            factor = self._rescaled(in_use, kept)
        return straight_through(in_use, logits, partial(self._gradient, probability, in_use, factor))

    def selected(self, logits: Tensor) -> Tensor:
        with torch.no_grad():
            in_use, kept = self._masked(logits > 0)
            self._rescaled(in_use, kept)
            return in_use

    def changed(self, before: Tensor, now: Tensor) -> int:
        """By the masks: rescaled weights differ wherever another number of them is kept."""
        return int(((now != 0) != (before != 0)).sum())

    @torch.no_grad()
    def _gradient(self, probability: Tensor, in_use: Tensor, factor: Tensor | None, gradient: Tensor) -> Tensor:
        """That of the logits from that of the weight, in its place; `factor` is what the weight was rescaled by."""
        if factor is None:
            shared, factor = gradient.new_zeros(()), gradient.new_ones(())
        else:  # the sum of the mask is in the denominator: its gradient is the same for every connection
            shared = torch.dot(gradient.flatten(), in_use.flatten()) / in_use.numel()
        library = native.library_for(gradient, probability, self.fixed)
        if library is None:
            gradient.mul_(self.fixed).sub_(shared).mul_(factor)
            return gradient.mul_(probability).mul_(1 - probability)
        pointers = (tensor.data_ptr() for tensor in (self.fixed, probability, gradient))
        library.supermask_gradient(gradient.numel(), shared.item(), factor.item(), *pointers)
        return gradient

    def _sampled(self, probability: Tensor, noise_key: Tensor) -> tuple[Tensor, Tensor]:
        """The fixed weights under a sampled mask, and how many it kept."""
        library = native.library_for(probability, self.fixed)
        if library is None:
            return self._masked(bernoulli(probability, noise_key))
        found = torch.empty_like(self.fixed)
        pointers, key = (probability.data_ptr(), self.fixed.data_ptr()), int(noise_key) & ((1 << 64) - 1)
        kept = library.supermask_sample(found.numel(), *pointers, key, found.data_ptr())
        return found, torch.tensor(kept)

    def _masked(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        return torch.where(mask, self.fixed, 0.0), mask.sum()

    def _rescaled(self, in_use: Tensor, kept: Tensor) -> Tensor | None:
        """Multiplies the weights in use, in place, by connections / connections kept, if asked to; gives the factor."""
        if not self.rescale:
            return None
        connections = torch.full_like(kept, in_use.numel(), dtype=torch.float64)
        factor = (connections / kept.clamp(min=1)).to(in_use.dtype)  # where none is kept all weights are 0 anyway
        in_use.mul_(factor)
        return factor


def attach_mask(
    layer: nn.Module, name: str, seed: int, weight_init: str, *, rescale: bool, sample_at_evaluation: bool
) -> None:
    """Give the layer fixed weights, and mask logits in their place."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    fixed = fixed_weights(weight, name, seed, kind=weight_init, deviation=math.sqrt(2 / sum(fans(weight))))
    with torch.no_grad():  # what was the layer's weight becomes its mask logits
        weight.zero_()
    masked = MaskedWeight(fixed, rescale=rescale, sample_at_evaluation=sample_at_evaluation)
    parametrize.register_parametrization(layer, "weight", masked, unsafe=True)
