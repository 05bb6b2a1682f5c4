"""Binary weights, trained through the rounding: shadow weights, of which the network sees signs (Xu et al., ICCV 2021).

With the shadow weights v of one output channel (n of them), their mean m and variance s² (of n - 1, plus 1e-5):

    u = 2√2·(v - m)/s,   Q = -b·ln(2 - 2τ),   b = mean |u| over the layer,   weight = a·sign(clamp(u, -Q, Q))

Q is the τ-quantile of the Laplacian with location 0 that fits u best, and a the channel's scale, which is learned and
starts at mean |v|. sign(0) is 1. The gradient passes straight through the sign, and the clamp gives none to what lies
beyond ±Q; Q itself is taken for a constant, as in the source's code. With G = dL/dweight and g = a·G·1[|u| <= Q]:

    dL/dv = 2√2/s·(g - mean(g) - u·sum(g·u)/(8·(n - 1))),   dL/da = sum(G·sign(u))

τ goes from `tau_start` to `tau_end` as exp(x) does from x = 0 to 1, where x is the share of the phase's epochs that
are done: so the phase hangs on its length from its first step. The source binarises what goes into a layer, too, starts
scales at random, and leaves the first and the last layer alone; here inputs stay as they are and every layer is binary.
Shadow weights start where learned weights start.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from trainers.methods.base import SelectedWeight
from trainers.methods.learned.weight import set_initial_weights
from trainers.methods.masks import straight_through
from trainers.methods.snapshots import mask_in_use

DEVIATION = 2 * math.sqrt(2)  # of standardised weights: a Laplacian's with b = 2
SMALLEST_VARIANCE = 1e-5  # added


def tau_at(share: float, start: float, end: float) -> float:
    """The quantile once this share of the phase is done: A·exp(share) + B, which is `start` at 0 and `end` at 1."""
    return start + (end - start) * math.expm1(share) / math.expm1(1)


def quantile_in_means(tau: float) -> float:
    """-ln(2 - 2τ): the τ-quantile of a Laplacian around 0, in units of its b, which is its mean size."""
    return -math.log(2 - 2 * tau)


class BinaryWeight(SelectedWeight):
    """Gives a layer its signs, times a scale a channel. The trainable `original` is the shadow weights."""

    choices = 2  # minus, plus

    def __init__(self, scales: Tensor, tau_start: float, tau_end: float):
        """scales: (channels,), where they start."""
        super().__init__()
        self.taus = tau_start, tau_end
        self.scales = nn.Parameter(scales)
        self.register_buffer("reach", torch.tensor(quantile_in_means(tau_start), dtype=scales.dtype), persistent=False)

    reach: Tensor  # Q in units of b; on the device, so that a captured graph reads it anew

    def begin_epoch(self, share: float) -> None:
        self.reach.fill_(quantile_in_means(tau_at(share, *self.taus)))

    def forward(self, shadow: Tensor) -> Tensor:
        centred = _centred(shadow)
        signs = _signs(centred)
        weight = (signs * self.scales.detach()[:, None]).view_as(shadow)
        return straight_through(weight, shadow, partial(self._gradient, centred, signs))

    def selected(self, shadow: Tensor) -> Tensor:
        with torch.no_grad():
            return (_signs(_centred(shadow)) * self.scales[:, None]).view_as(shadow)

    def described(self, shadow: Tensor, weight: Tensor) -> dict[str, Any]:
        """As of a mask that keeps everything."""
        return mask_in_use(weight, torch.ones_like(weight, dtype=torch.bool))

    def changed(self, before: Tensor, now: Tensor) -> int:
        return int(((now < 0) != (before < 0)).sum())

    def chosen(self, shadow: Tensor) -> Tensor:
        with torch.no_grad():
            return ~_centred(shadow).signbit().view_as(shadow)

    def chosen_weight(self, chosen: Tensor) -> Tensor:
        signs = 2 * (chosen.flatten(1) != 0).to(self.scales.dtype) - 1
        return (signs * self.scales.detach()[:, None]).view(chosen.shape)

    def beside_choices(self) -> Tensor:
        return self.scales.detach()

    @torch.no_grad()
    def take_beside_choices(self, found: Tensor) -> None:
        self.scales.copy_(found)

    @torch.no_grad()
    def _gradient(self, centred: Tensor, signs: Tensor, gradient: Tensor) -> Tensor:
        """That of the shadow weights from that of the weight, in its place; that of the scales goes to them."""
        passed = gradient.flatten(1)
        of_scales = (passed * signs).sum(1)
        self.scales.grad = of_scales if self.scales.grad is None else self.scales.grad + of_scales
        others = max(1, passed.shape[1] - 1)
        unit = DEVIATION / (centred.square().sum(1, keepdim=True) / others + SMALLEST_VARIANCE).sqrt()
        standard = centred * unit
        size = standard.abs()
        passed.mul_(self.scales[:, None]).masked_fill_(size > size.mean() * self.reach, 0)
        along = (passed * standard).sum(1, keepdim=True) / (DEVIATION**2 * others)
        passed.sub_(passed.mean(1, keepdim=True)).sub_(standard.mul_(along)).mul_(unit)
        return passed.view(gradient.shape)


def attach_binary(layer: nn.Module, name: str, seed: int, tau_start: float, tau_end: float) -> None:
    """Give the layer shadow weights, and let it see their signs."""
    set_initial_weights(layer, name, seed)
    weight = layer.weight
    assert isinstance(weight, Tensor)
    with torch.no_grad():
        scales = weight.flatten(1).abs().mean(1, dtype=torch.float64).to(weight.dtype)
    parametrize.register_parametrization(layer, "weight", BinaryWeight(scales, tau_start, tau_end), unsafe=True)


def _centred(shadow: Tensor) -> Tensor:
    """Less the mean of each channel, (channels, n). The mean is exact but for one rounding: a sign must not hang on the
    order in which a machine adds."""
    flat = shadow.detach().flatten(1)
    return flat - flat.mean(1, keepdim=True, dtype=torch.float64).to(flat.dtype)


def _signs(centred: Tensor) -> Tensor:
    """1 or -1, as their signs are; of 0 that is 1."""
    return torch.ones_like(centred).copysign_(centred)
