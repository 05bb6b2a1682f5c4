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

from trainers.kernels import native
from trainers.kernels.options import Options
from trainers.kernels.ranks import option_blocks

MOST_RANKS = 64  # of more options, neighbouring ranks are counted together
SAMPLED = 1024  # connections of a layer whose ranks are kept, evenly spaced: to compare runs with
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
    quartiles, by_pull = _extremes_by_pull(ranks, options.count, pull)
    groups = min(options.count, MOST_RANKS)
    grouped = ranks if groups == options.count else ranks.long() * groups // options.count
    return {
        "counts": torch.bincount(grouped, minlength=groups).tolist(),
        "selected_magnitude": round(selected / (len(flat) * options.value_bound), DIGITS),
        "unselected_magnitude": (
            round((all_magnitudes - selected) / (unselected * options.value_bound), DIGITS) if unselected else None
        ),
        "sample": sampled(grouped),
        "moved": moved,
        "pull_quartiles": [round(quartile / abs(scale), DIGITS) for quartile in quartiles] if scale else [],
        "by_pull": by_pull,
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


def sampled(ranks: Tensor) -> str:
    """The ranks of SAMPLED evenly spaced connections (of all, where there are fewer), a byte each, in base64."""
    taken = min(SAMPLED, len(ranks))
    rows = torch.arange(taken, device=ranks.device) * len(ranks) // taken
    return base64.b64encode(ranks[rows].cpu().numpy().astype(np.uint8).tobytes()).decode()


def _extremes_by_pull(ranks: Tensor, options: int, pull: Tensor) -> tuple[list[float], list[list[int]]]:
    """The quartiles of |B|, and in each quarter how many use inner values, the other extreme, and B's own extreme."""
    size = pull.abs()
    places = [len(size) * quarter // 4 for quarter in (1, 2, 3)]
    if size.is_cpu:  # sorting takes ten times as long there
        quartiles = np.partition(size.numpy(), places)[places].tolist()
    else:
        quartiles = size.sort().values[places].tolist()
    quarter = torch.zeros(ranks.shape, dtype=torch.int64, device=ranks.device)
    for quartile in quartiles:
        quarter += size >= quartile
    smallest, largest = ranks == 0, ranks == options - 1
    own = (largest & (pull > 0)) | (smallest & (pull < 0))
    kind = (smallest | largest).long() + own
    counts = torch.bincount(quarter * 3 + kind, minlength=12).view(4, 3)
    return quartiles, counts.tolist()
