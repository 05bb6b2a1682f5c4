"""What gets selected: which of a connection's values are in use, layer by layer, after an epoch.

A slot machine's value is ranked among its connection's K, the smallest first. The score of option k is
c·s_k(0) + w_k·B, so a connection whose |B| grows ends with its largest value (B > 0) or its smallest (B < 0); the
counts by quartile of |B| say how far that has come. Looking consumes no randomness and changes nothing.
"""

from __future__ import annotations

import base64
import ctypes
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainers.kernels import native, torch_kernels
from trainers.kernels.options import LayerOptions, Options
from trainers.kernels.ranks import option_blocks

MOST_RANKS = 64  # of more options, neighbouring ranks are counted together
SAMPLED = 1024  # connections of a layer whose ranks are kept, evenly spaced: to compare runs with
COUNTED_AT_ONCE = 1 << 20  # connections
DIGITS = 6  # that means are kept to


@dataclass(frozen=True)
class LayerSelection:
    """What one layer has selected. Counts are of connections; magnitudes are mean |values|, relative to the layer's.

    That is for options the bound of their values, for a mask the root mean square of its fixed weights.
    """

    layer: str
    connections: int
    changed: int  # whose selected weight is another than an epoch ago
    counts: list[int]  # by the rank of the value in use, smallest first; of a mask: dropped, kept
    selected_magnitude: float | None  # None where nothing is selected
    unselected_magnitude: float | None
    sample: str  # ranks (or 0 and 1 of a mask) of SAMPLED connections: a byte each, in base64
    moved: int | None = None  # whose option is another than it began with; None for a mask
    # The rest is of options only. Quarters of the connections by |B|, the smallest first:
    pull_quartiles: list[float] = field(default_factory=list)  # the three |B|/c between them
    by_pull: list[list[int]] = field(default_factory=list)  # of each: inner values, the other extreme, B's extreme

    @property
    def extreme(self) -> int | None:
        """How many use their smallest or their largest value; None for a mask."""
        return sum(other + own for _, other, own in self.by_pull) if self.by_pull else None


def total_fractions(layers: Iterable[LayerSelection]) -> dict[str, float | None]:
    """Over all layers: the share that changed, the share of extreme values, the mean |value| in use."""
    layers = list(layers)
    connections = sum(layer.connections for layer in layers)
    extremes = [layer.extreme for layer in layers if layer.extreme is not None]
    weighed = [
        (sum(layer.counts) if layer.by_pull else layer.counts[1], layer.selected_magnitude)
        for layer in layers
        if layer.selected_magnitude is not None
    ]
    selected = sum(count for count, _ in weighed)
    return {
        "changed_fraction": sum(layer.changed for layer in layers) / connections if layers else 0.0,
        "extreme_fraction": sum(extremes) / connections if extremes else None,
        "selected_magnitude": (
            round(sum(count * magnitude for count, magnitude in weighed) / selected, DIGITS) if selected else None
        ),
    }


def options_in_use(options: Options, accumulated: Tensor, scale: float, weight: Tensor) -> dict[str, Any]:
    """What `LayerSelection` says of a slot machine. accumulated: B; scale: c; weight: the values in use."""
    flat, pull = weight.detach().reshape(-1).contiguous(), accumulated.detach().reshape(-1)
    ranks, moved, all_magnitudes = value_ranks(options, flat)
    selected = float(flat.abs().sum(dtype=torch.float64))
    unselected = len(flat) * (options.count - 1)
    quartiles = _quartiles(pull.abs())
    counts, by_pull = _counted(ranks, options.count, pull, quartiles)
    return {
        "counts": counts.tolist(),
        "selected_magnitude": round(selected / (len(flat) * options.value_bound), DIGITS),
        "unselected_magnitude": (
            round((all_magnitudes - selected) / (unselected * options.value_bound), DIGITS) if unselected else None
        ),
        "sample": sampled(ranks, options.count),
        "moved": moved,
        "pull_quartiles": [round(quartile / abs(scale), DIGITS) for quartile in quartiles] if scale else [],
        "by_pull": by_pull.view(4, 3).tolist(),
    }


def mask_in_use(fixed: Tensor, kept: Tensor) -> dict[str, Any]:
    """What `LayerSelection` says of a mask. kept: booleans of the fixed weights' shape."""
    sizes = fixed.abs().double()
    count, total, selected = int(kept.sum()), float(sizes.sum()), float((sizes * kept).sum())
    unit = float(fixed.double().square().mean().sqrt())
    return {
        "counts": [kept.numel() - count, count],
        "selected_magnitude": round(selected / (count * unit), DIGITS) if count else None,
        "unselected_magnitude": (
            round((total - selected) / ((kept.numel() - count) * unit), DIGITS) if count < kept.numel() else None
        ),
        "sample": sampled(kept.flatten()),
    }


def value_ranks(options: Options, weight: Tensor) -> tuple[Tensor, int, float]:
    """How many of a connection's values are below the one in use, (n,); how many connections do not use the option of
    their highest initial score; the sum of |values| over all options of all connections. weight: flat, contiguous."""
    if torch_kernels.fused(weight, options) is not None:
        from trainers.kernels import triton_ranks

        assert isinstance(options, LayerOptions), "fused"
        return triton_ranks.value_ranks(options, weight)
    below = torch.zeros(weight.shape, dtype=torch.int32, device=weight.device)
    if (library := native.library_for(weight)) is not None and (drawn := options.native()) is not None:
        total = ctypes.c_double()
        pointers = (weight.data_ptr(), below.data_ptr(), ctypes.byref(total))
        return below, library.slot_value_ranks(ctypes.byref(drawn[0]), len(weight), *pointers), total.value
    moved, all_magnitudes = 0, 0.0
    for first, last, values, scores in option_blocks(options, weight.device):
        piece, ranks = weight[first:last], below[first:last]
        best_value, best_score = values[0].expand(last - first), scores[0]
        for value, score in zip(values, scores, strict=True):
            ranks += value < piece
            higher = score > best_score
            best_value, best_score = torch.where(higher, value, best_value), torch.where(higher, score, best_score)
            all_magnitudes += float(value.abs().sum(dtype=torch.float64)) * (last - first) / len(value)
        moved += int((best_value != piece).sum())
    return below, moved, all_magnitudes


def sampled(ranks: Tensor, options: int = 0) -> str:
    """The ranks of SAMPLED evenly spaced connections (of all, where there are fewer), a byte each, in base64.

    Of more `options` than MOST_RANKS neighbouring ranks are one.
    """
    taken = min(SAMPLED, len(ranks))
    rows = torch.arange(taken, device=ranks.device) * len(ranks) // taken
    return base64.b64encode(_grouped(ranks[rows], options).cpu().numpy().astype(np.uint8).tobytes()).decode()


def _grouped(ranks: Tensor, options: int) -> Tensor:
    return ranks * MOST_RANKS // options if options > MOST_RANKS else ranks


def _quartiles(size: Tensor) -> list[float]:
    """The three numbers that part these into quarters."""
    places = [len(size) * quarter // 4 for quarter in (1, 2, 3)]
    if size.is_cpu:
        return np.partition(size.numpy(), places)[places].tolist()  # type: ignore[no-any-return]
    # Sorting would take 24 bytes a connection.
    return torch.stack([size.kthvalue(place + 1).values for place in places]).tolist()


def _counted(ranks: Tensor, options: int, pull: Tensor, quartiles: list[float]) -> tuple[Tensor, Tensor]:
    """How many connections have each rank; and how many, by quarter of |B|, use inner values, the other extreme, and
    B's own extreme, (12,). In pieces, which bounds the memory that this takes."""
    groups = min(options, MOST_RANKS)
    counts, by_pull = (torch.zeros(size, dtype=torch.int64, device=ranks.device) for size in (groups, 12))
    for rank, b in zip(torch.split(ranks, COUNTED_AT_ONCE), torch.split(pull, COUNTED_AT_ONCE), strict=True):
        counts += torch.bincount(_grouped(rank, options), minlength=groups)
        size, quarter = b.abs(), torch.zeros_like(rank)
        for quartile in quartiles:
            quarter += size >= quartile
        smallest, largest = rank == 0, rank == options - 1
        own = (largest & (b > 0)) | (smallest & (b < 0))
        by_pull += torch.bincount(quarter * 3 + (smallest | largest) + own, minlength=12)
    return counts, by_pull
