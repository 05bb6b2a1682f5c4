"""Edge-popup: fixed random weights, and learning which share of them to keep (Ramanujan et al., CVPR 2020).

A connection with score s and fixed weight w is in use if |s| is among the highest of its layer; the gradient passes
straight through the choice (their eq. 2 and code), so that of the score is G·w·sign(s), where G = dL/dW is the gradient
of the weight in use. How many are kept is exact: their code drops the whole part of (1 - keep_fraction)·n of a layer's
n connections, and so does this one, but without their rounding error of (1 - keep_fraction). Equal |s| are kept from
the first connection on.

With the gain of multi-prize tickets (Diffenderfer & Kailkhura, ICLR 2021: biprop) the weight in use is a·sign(w), where
a = mean |w| of the connections kept; the gradient is that of above, as in their code.

Some connections may be frozen at random (Otsuka et al., TMLR 2025): locked in or out, in the shares that are kept and
dropped of all, so that a layer keeps as many as without. They have no scores that count, and cost a ticket nothing.
"""

from __future__ import annotations

import ctypes
import math
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from trainers.kernels import native
from trainers.kernels.options import fans
from trainers.methods.base import SelectedWeight
from trainers.methods.masks import fixed_weights, straight_through
from trainers.streams import RandomStream, stream_key

LEAST_NEAR = 64  # connections that are near enough to the last threshold to be ranked one by one


def kept_connections(connections: int, keep_fraction: float) -> int:
    """How many of a layer's connections are kept: keep_fraction of them, rounded up, so never none."""
    return math.ceil(connections * Fraction(str(keep_fraction)))  # 0.9 of 10 is 9, as it is written


def top_fraction(scores: Tensor, keep_fraction: float) -> Tensor:
    """Which scores are in the highest |scores|, as booleans of the same shape; of equal ones the first are."""
    return highest(scores, kept_connections(scores.numel(), keep_fraction))


def highest(scores: Tensor, kept: int) -> Tensor:
    """Which |scores| are the `kept` highest, as booleans of the same shape; of equal ones the first are."""
    size = scores.detach().abs().flatten()
    threshold = _ranked(size, kept)
    above, ties = size > threshold, size == threshold
    return (above | (ties & (ties.cumsum(0) <= kept - above.sum()))).view(scores.shape)


def _ranked(numbers: Tensor, rank: int) -> Tensor:
    """The number of this rank, counted from the highest, from 1. No copy to the host for numbers on a GPU."""
    if numbers.is_cpu:  # torch's own selection takes ten times as long there
        place = numbers.numel() - rank
        return torch.tensor(np.partition(numbers.numpy(), place)[place])
    return numbers.topk(rank, sorted=False).values.amin()


class PopupWeight(SelectedWeight):
    """Gives a layer those of its fixed weights whose |scores| are highest, and 0 elsewhere. `original` is the scores.

    On CPU the threshold is looked for where the last one was: one pass keeps what is clearly above it and ranks the few
    connections around it. Only where it is not there all |scores| are looked at. The result is the same.
    """

    def __init__(
        self, fixed: Tensor, keep_fraction: float, gain: str | None = None, frozen: tuple[Tensor, Tensor] | None = None
    ):
        """frozen: which connections are locked in, and which are free, as booleans of the weight's shape."""
        super().__init__()
        self.gain = gain
        self.kept, self.kept_besides = kept_connections(fixed.numel(), keep_fraction), 0
        self.register_buffer("fixed", fixed, persistent=False)
        self.register_buffer("locked", None, persistent=False)
        if frozen is not None:
            self.locked, self.free = frozen
            self.kept_besides = int(self.locked.sum())
            self.kept = min(self.kept - self.kept_besides, int(self.free.sum()))
            places = self.free.flatten().nonzero()[:, 0]
            self.register_buffer("places", places, persistent=False)
            self.register_buffer("candidates", fixed.flatten()[places], persistent=False)
        self._low = self._high = 0.0  # the threshold is looked for in low <= |score| <= high: nowhere yet
        self._aim = LEAST_NEAR  # how many connections should be in there

    fixed: Tensor
    locked: Tensor | None
    places: Tensor  # of the free connections in the flattened weight
    candidates: Tensor  # their fixed weights

    def forward(self, scores: Tensor) -> Tensor:
        return straight_through(self.selected(scores), scores, partial(self._gradient, scores))

    def selected(self, scores: Tensor) -> Tensor:
        with torch.no_grad():
            if self.locked is None:
                return self._gained(self._highest(scores, self.fixed))
            weight = torch.where(self.locked, self.fixed, 0.0)
            weight.view(-1)[self.places] = self._highest(scores.flatten()[self.places], self.candidates)
            return self._gained(weight)

    def _highest(self, scores: Tensor, fixed: Tensor) -> Tensor:
        """Those of the fixed weights whose scores are highest, as many as are kept of them."""
        if not self.kept:
            return torch.zeros_like(fixed)
        library = native.library_for(scores, fixed)
        if library is not None:
            near = self._selected_near(library, scores, fixed)
            if near is not None:
                return near
            self._look_further(scores)
        return torch.where(highest(scores, self.kept), fixed, 0.0)

    def _gained(self, weight: Tensor) -> Tensor:
        if self.gain is None:
            return weight
        # In float64, so that the order of the sum, which hangs on the machine, leaves the float32 as it is.
        mean_size = weight.abs().sum(dtype=torch.float64) / (self.kept + self.kept_besides)
        return weight.sign_().mul_(mean_size.to(weight.dtype))

    def changed(self, before: Tensor, now: Tensor) -> int:
        """By the masks: a gain moves with every one of them."""
        return int(((now != 0) != (before != 0)).sum())

    @torch.no_grad()
    def _gradient(self, scores: Tensor, gradient: Tensor) -> Tensor:
        """That of the scores from that of the weight, in its place."""
        if self.free is not None:
            gradient.mul_(self.free)
        library = native.library_for(gradient, scores, self.fixed)
        if library is None:
            return gradient.mul_(self.fixed).mul_(scores.sign())
        pointers = (tensor.data_ptr() for tensor in (self.fixed, scores, gradient))
        library.popup_gradient(gradient.numel(), *pointers)
        return gradient

    def _selected_near(self, library: Any, scores: Tensor, fixed: Tensor) -> Tensor | None:
        """The selected weights, if the threshold is where it is looked for; next time that is around this one."""
        found, threshold = torch.empty_like(scores), ctypes.c_float()
        place = (self.kept, self._low, self._high, 4 * self._aim)
        results = (found.data_ptr(), ctypes.byref(threshold))
        near = library.popup_select(scores.numel(), scores.data_ptr(), fixed.data_ptr(), *place, *results)
        if near < 0:
            return None
        half = (self._high - self._low) / 2 * min(max(self._aim / near, 0.5), 2.0)
        self._low, self._high = threshold.value - half, threshold.value + half
        self._aim = max(LEAST_NEAR, self._aim - self._aim // 64)
        return found

    def _look_further(self, scores: Tensor) -> None:
        """Next time look around the threshold of these scores, and twice as far as last time."""
        last = scores.numel() - 1
        self._aim = max(LEAST_NEAR, min(2 * self._aim, last // 64))
        threshold = last + 1 - self.kept
        lower, upper = max(threshold - self._aim // 2, 0), min(threshold + self._aim // 2, last)
        ordered = np.partition(scores.detach().abs().view(-1).numpy(), (lower, upper))
        self._low, self._high = float(ordered[lower]), float(ordered[upper])


def popup_weights(
    layer: nn.Module, name: str, seed: int, keep_fraction: float, weight_init: str, *, scaled: bool
) -> Tensor:
    """The layer's fixed weights. `scaled`: by the share of the inputs that are kept."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    deviation = math.sqrt(2 / (fans(weight)[0] * (keep_fraction if scaled else 1)))
    return fixed_weights(weight, name, seed, kind=weight_init, deviation=deviation)


def attach_popup(
    layer: nn.Module,
    name: str,
    seed: int,
    fixed: Tensor,
    keep_fraction: float,
    frozen_fraction: float,
    gain: str | None,
) -> None:
    """Give the layer fixed weights, and scores in their place."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    with torch.no_grad():  # what was the layer's weight becomes its scores
        weight.copy_(initial_scores(weight, name, seed))
    frozen = frozen_connections(weight, name, seed, keep_fraction, frozen_fraction) if frozen_fraction else None
    popup = PopupWeight(fixed, keep_fraction, gain, frozen)
    parametrize.register_parametrization(layer, "weight", popup, unsafe=True)


def frozen_connections(
    weight: Tensor, name: str, seed: int, keep_fraction: float, frozen_fraction: float
) -> tuple[Tensor, Tensor]:
    """Which connections are locked in, and which are free; the rest are locked out. Booleans of the weight's shape.

    Of n connections ⌊frozen_fraction·n⌋ are frozen, and ⌊keep_fraction·that⌋ of them are locked in.
    """
    connections = torch.arange(weight.numel(), device=weight.device)
    chance = RandomStream(stream_key(seed, "frozen", name)).uniform(connections, torch.float64)
    order = chance.argsort(stable=True)
    frozen = math.floor(weight.numel() * Fraction(str(frozen_fraction)))
    locked, free = (torch.zeros_like(connections, dtype=torch.bool) for _ in range(2))
    locked[order[: math.floor(frozen * Fraction(str(keep_fraction)))]] = True
    free[order[frozen:]] = True
    return locked.view(weight.shape), free.view(weight.shape)


def initial_scores(weight: Tensor, name: str, seed: int) -> Tensor:
    """Kaiming-uniform with a = √5, which is U(-b, b) with b = 1/√fan_in; of the weight's shape."""
    connections = torch.arange(weight.numel(), device=weight.device)
    chance = RandomStream(stream_key(seed, "initial scores", name)).uniform(connections, torch.float64)
    return ((2 * chance - 1) / math.sqrt(fans(weight)[0])).view(weight.shape).to(weight.dtype)
