"""Selection that looks at all K options of every connection, on any device; the options are drawn on the way."""

from __future__ import annotations

import functools
import importlib.util
import logging
from types import ModuleType

import torch
from torch import Tensor

from trainers.kernels.options import LayerOptions, Options
from trainers.streams import GOLDEN, signed, uniform

log = logging.getLogger(__name__)

KEEPS_INTERVALS_ABOVE = 16  # options, on CUDA: below, evaluating all is about as fast as a check. To be tuned on a GPU
MOST_CONNECTIONS = 1 << 30  # of a layer that keeps intervals there: int32 counts them
SAMPLED_AT_ONCE = 1 << 13  # connections; the K scores of a piece stay in the cache


@torch.no_grad()
def select(accumulated: Tensor, scale: Tensor, options: Options, out: Tensor) -> None:
    """Write the value of the option with the highest c·s_k(0) + w_k·B into `out`, of B's shape. Ties: the lowest k.

    Where the scores are not numbers, neither is the value.
    """
    if (kernels := fused(accumulated, options)) is not None:
        kernels.select(accumulated, scale, options, out)
        return
    flat = accumulated.reshape(-1).double()
    best: Tensor | None = None
    for option in range(options.count):
        value, score = options.line(option, flat.device)
        total = value.double() * flat + score.double() * scale.double()
        if best is None:
            best, winner = total, torch.where(total.isnan(), torch.nan, value)
            continue
        higher = total > best
        winner = torch.where(higher, value, winner)
        best = torch.where(higher, total, best)
    out.view(-1).copy_(winner)


def keeps_intervals(accumulated: Tensor, options: Options) -> bool:
    """Whether `select_again` is there for such a layer, and selects faster than `select`."""
    worth = options.count > KEEPS_INTERVALS_ABOVE and options.connections <= MOST_CONNECTIONS
    return worth and fused(accumulated, options) is not None


@torch.no_grad()
def select_again(
    accumulated: Tensor, scale: Tensor, options: Options, out: Tensor, intervals: tuple[Tensor, Tensor]
) -> None:
    """Write into `out` the values that `select` does, looking only at connections that left their interval.

    out: what the last call wrote; intervals: their lower and upper ends (`trainers.kernels.winners`), kept up to date.
    """
    from trainers.kernels import triton_intervals

    assert isinstance(options, LayerOptions), "keeps_intervals"
    triton_intervals.select_again(accumulated, scale, options, out, *intervals)


@torch.no_grad()
def sample(accumulated: Tensor, scale: Tensor, options: Options, noise_key: Tensor) -> Tensor:
    """A value for every connection, option k with probability softmax_k(c·s_k(0) + w_k·B). Of B's shape.

    noise_key: an int64 on B's device, the key of a stream with a number in (0, 1) for each connection; the option is
    the first whose cumulative probability exceeds it. Where the scores are not numbers, neither is the value.
    """
    if (kernels := fused(accumulated, options)) is not None:
        return kernels.sample(accumulated, scale, options, noise_key)  # type: ignore[no-any-return]
    flat = accumulated.detach().reshape(-1)
    found = torch.empty_like(flat)
    size = SAMPLED_AT_ONCE if flat.is_cpu else flat.numel()
    for first in range(0, flat.numel(), size):
        last = min(first + size, flat.numel())
        piece = flat[first:last]
        lines = [options.line(option, flat.device, first, last) for option in range(options.count)]
        scores = torch.stack([(scale.detach() * score + value * piece).expand(last - first) for value, score in lines])
        numbers = uniform(noise_key + torch.arange(first, last, device=flat.device) * signed(GOLDEN), flat.dtype)
        option = sampled_option(scores, numbers)
        values = torch.stack([value.expand(last - first) for value, _ in lines])
        found[first:last] = values.gather(0, option[None])[0].masked_fill_(~scores.isfinite().all(0), torch.nan)
    return found.view(accumulated.shape)


def fused(accumulated: Tensor, options: Options) -> ModuleType | None:
    """The Triton kernels where they can be used: on CUDA, for drawn options of float32 layers, if it compiles."""
    drawn = isinstance(options, LayerOptions) and options.dtype == torch.float32 and options.drawn_alike
    return _triton_kernels(accumulated.device) if accumulated.is_cuda and drawn else None


@functools.cache
def _triton_kernels(device: torch.device) -> ModuleType | None:
    if importlib.util.find_spec("triton") is None:
        return None
    from trainers.kernels import triton_kernels

    if reason := triton_kernels.why_not(device):
        log.warning("Triton cannot compile (%s): selection runs through torch, slower", reason)
        return None
    return triton_kernels


def sampled_option(scores: Tensor, noise: Tensor) -> Tensor:
    """Options drawn by softmax over the first dimension of `scores` (K, n), by inversion of `noise` (n,)."""
    cumulative = (scores - scores.amax(0)).exp_().cumsum(0)
    return (cumulative[:-1] <= noise * cumulative[-1]).sum(0)
