"""The ranks of the values in use on a GPU: one pass over all options, which keeps none of them."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

import torch
import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]
from torch import Tensor

from trainers.kernels.options import LayerOptions
from trainers.kernels.triton_kernels import GOLDEN_, OPTION_BITS_, bits_of, launch, line_of


@triton.jit
def _value_ranks(
    weight_ptr, totals_ptr, below_ptr, shared, count, key, value_step, score_step,
    option_count, SHARED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Writes ranks; adds how many connections have moved, and the sum of their |values| in steps, to the totals."""
    rows = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = rows < count
    weight = tl.load(weight_ptr + rows, mask=inside, other=0.0)
    words = (rows << OPTION_BITS_) * GOLDEN_ + key
    below = tl.zeros((BLOCK,), tl.int32)
    steps = tl.zeros((BLOCK,), tl.int64)
    best = tl.full((BLOCK,), -1.0, tl.float32)  # below all: scores are not negative
    best_value = tl.zeros((BLOCK,), tl.float32)
    for option in range(option_count):
        number = option + tl.zeros((), tl.int32)
        steps += tl.abs(((bits_of(words, number) >> 39) | 1).to(tl.int32)).to(tl.int64)
        value, score = line_of(words, number, value_step, score_step, shared, SHARED)
        below += (value < weight).to(tl.int32)
        best_value = tl.where(score > best, value, best_value)
        best = tl.maximum(best, score)
    tl.store(below_ptr + rows, below, mask=inside)
    tl.atomic_add(totals_ptr, tl.sum(((best_value != weight) & inside).to(tl.int64), 0))
    tl.atomic_add(totals_ptr + 1, tl.sum(tl.where(inside, steps, 0), 0))


def value_ranks(options: LayerOptions, weight: Tensor) -> tuple[Tensor, int, float]:
    """`trainers.methods.snapshots.value_ranks` of float32 layers, in one pass: the numbers of ranks.c."""
    below = torch.empty(weight.shape, dtype=torch.int32, device=weight.device)
    totals = torch.zeros(2, dtype=torch.int64, device=weight.device)
    launch(_value_ranks, weight, totals, options, below)
    moved, steps = totals.tolist()
    if options.shared:
        return below, moved, sum(map(abs, options.shared_values().tolist())) * len(weight)
    return below, moved, steps * options.value_step
