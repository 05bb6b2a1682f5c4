"""Which option every connection uses, as a rank: its place among the connection's options by initial score, from 0.

Training leaves many connections with the option they began with, and most others with one that was close behind. So
small ranks are frequent, where the options' numbers are all alike: ranks take fewer bits once they are entropy-coded.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import torch
from torch import Tensor

from trainers.kernels import native
from trainers.kernels.options import Options

NO_OPTION = "weight: a connection has none of the values of its options"
AT_ONCE_IN_CACHE, AT_ONCE_ELSEWHERE = 1 << 17, 1 << 23  # connections x options: values and scores take 64 MiB
LEAST_AT_ONCE = 128  # connections: a call an option is dear too


def option_ranks(options: Options, weight: Tensor) -> Tensor:
    """The rank of the option whose value each connection of the weight has, flattened. Of equal values, the first's.

    Raises ValueError where a connection has none of its options' values.
    """
    flat = weight.detach().reshape(-1).contiguous()
    ranks = torch.empty(flat.shape, dtype=torch.int32, device=flat.device)
    if (library := native.library_for(flat)) is not None and (drawn := options.native()) is not None:
        if library.slot_ranks(ctypes.byref(drawn[0]), len(flat), flat.data_ptr(), ranks.data_ptr()) != len(flat):
            raise ValueError(NO_OPTION)
        return ranks
    for first, last, values, scores in option_blocks(options, flat.device):
        used = torch.full((last - first,), options.count, dtype=torch.int32, device=flat.device)
        used_score = torch.zeros_like(scores[0])
        for option in reversed(range(options.count)):
            hit = values[option] == flat[first:last]
            used.masked_fill_(hit, option)
            used_score = torch.where(hit, scores[option], used_score)
        if (used == options.count).any():
            raise ValueError(NO_OPTION)
        ahead = torch.zeros_like(used)
        for option, score in enumerate(scores):
            ahead += (score > used_score) | ((score == used_score) & (used > option))
        ranks[first:last] = ahead
    return ranks


def ranked_values(options: Options, ranks: Tensor) -> Tensor:
    """The values of the options of these ranks, one a connection: what `option_ranks` was given, flattened."""
    if ranks.is_cpu and (library := native.library()) is not None and (drawn := options.native()) is not None:
        ranks, weight = ranks.to(torch.int32).contiguous(), torch.empty(len(ranks))
        done = library.slot_ranked_values(ctypes.byref(drawn[0]), len(ranks), ranks.data_ptr(), weight.data_ptr())
        assert done == 0, "there is memory for the options of one connection"
        return weight
    found = []
    for first, last, values, scores in option_blocks(options, ranks.device):
        best_value, best_score = values[0].expand(last - first), scores[0]
        for value, score in zip(values[1:], scores[1:], strict=True):
            higher = score > best_score
            best_value = torch.where(higher, value, best_value)
            best_score = torch.where(higher, score, best_score)
        moved = ranks[first:last].nonzero()[:, 0]
        order = torch.stack([score[moved] for score in scores], dim=1).sort(dim=1, descending=True, stable=True).indices
        option = order.gather(1, ranks[first:last][moved, None].long())
        theirs = torch.stack([value.expand(last - first)[moved] for value in values], dim=1)
        found.append(best_value.index_copy(0, moved, theirs.gather(1, option)[:, 0]))
    return torch.cat(found)


def option_blocks(options: Options, device: torch.device) -> Iterator[tuple[int, int, list[Tensor], list[Tensor]]]:
    """First and last connection of a block, and its options' values and initial scores, (n,) each or values (1,)."""
    size = max(LEAST_AT_ONCE, (AT_ONCE_IN_CACHE if device.type == "cpu" else AT_ONCE_ELSEWHERE) // options.count)
    for first in range(0, options.connections, size):
        last = min(first + size, options.connections)
        lines = [options.line(option, device, first, last) for option in range(options.count)]
        yield first, last, [value for value, _ in lines], [score for _, score in lines]
