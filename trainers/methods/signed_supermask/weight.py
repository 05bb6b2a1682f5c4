"""Signed supermasks: fixed weights, each kept, dropped or inverted by a learned mask (Koster et al., ICLR 2022).

With mask m, fixed weight w0 and threshold t the weight in use is sign(m)·1[|m| > t]·w0; t is a fixed share of the
layer's largest |m| before training. The gradient passes straight through the choice, so that of m is G·w0, where
G = dL/dW is the gradient of the weight in use. In every step the masks shrink by a share of their size that the
learning rate has no part in (decoupled decay: Loshchilov & Hutter, ICLR 2019, in the form of their code's SGDW).

The weights are ±s at even odds, s² = 1.5·2/fan_in, as the paper has them for ELU. The masks start uniform, as theirs;
of the variance of the weights, which is our reading.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from trainers.kernels.options import fans
from trainers.methods.base import SelectedWeight
from trainers.methods.masks import fixed_weights, straight_through
from trainers.streams import RandomStream, stream_key

FOR_ELU = 1.5  # times the variance that keeps the size of what ReLU passes on


def signed_mask(mask: Tensor, threshold: Tensor | float) -> Tensor:
    """sign(m) where |m| is above the threshold, else 0; of the mask's shape and kind."""
    return torch.where(mask.abs() > threshold, mask.sign(), 0.0)


class SignedMaskWeight(SelectedWeight):
    """Gives a layer its fixed weights as they are, inverted, or 0. The trainable `original` is the masks."""

    choices = 3  # to drop, to keep, to invert

    def __init__(self, fixed: Tensor, threshold: Tensor, decay: float):
        """threshold: a single number, on the device of the fixed weights."""
        super().__init__()
        self.decay = decay
        self.register_buffer("fixed", fixed, persistent=False)
        self.register_buffer("threshold", threshold, persistent=False)

    fixed: Tensor
    threshold: Tensor

    def forward(self, mask: Tensor) -> Tensor:
        return straight_through(self.selected(mask), mask, partial(self._gradient, mask))

    def selected(self, mask: Tensor) -> Tensor:
        with torch.no_grad():
            return signed_mask(mask, self.threshold).mul_(self.fixed)

    def chosen(self, original: Tensor) -> Tensor:
        signs = signed_mask(original, self.threshold)
        return torch.where(signs < 0, 2, signs).to(torch.int64)

    def chosen_weight(self, chosen: Tensor) -> Tensor:
        return torch.where(chosen == 2, -1, chosen).to(self.fixed.dtype).mul_(self.fixed)

    @torch.no_grad()
    def _gradient(self, mask: Tensor, gradient: Tensor) -> Tensor:
        """That of the masks from that of the weight, in its place. Called once a step, before the optimizer's: so the
        decay is here, where it cannot enter the momentum."""
        mask.mul_(1 - self.decay)
        return gradient.mul_(self.fixed)


def attach_signed_mask(layer: nn.Module, name: str, seed: int, threshold_fraction: float, decay: float) -> None:
    """Give the layer fixed weights, and masks in their place."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    deviation = math.sqrt(FOR_ELU * 2 / fans(weight)[0])
    fixed = fixed_weights(weight, name, seed, kind="signed_constant", deviation=deviation)
    with torch.no_grad():  # what was the layer's weight becomes its masks
        weight.copy_(initial_masks(weight, name, seed, deviation))
        threshold = threshold_fraction * weight.abs().max()
    masked = SignedMaskWeight(fixed, threshold, decay)
    parametrize.register_parametrization(layer, "weight", masked, unsafe=True)


def initial_masks(weight: Tensor, name: str, seed: int, deviation: float) -> Tensor:
    """Uniform numbers of this deviation, U(-b, b) with b = √3·deviation; of the weight's shape."""
    connections = torch.arange(weight.numel(), device=weight.device)
    chance = RandomStream(stream_key(seed, "initial masks", name)).uniform(connections, torch.float64)
    return ((2 * chance - 1) * (math.sqrt(3) * deviation)).view(weight.shape).to(weight.dtype)
