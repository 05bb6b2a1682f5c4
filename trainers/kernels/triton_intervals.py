"""The intervals of `trainers.kernels.winners` on a GPU: find the connections that left theirs, and select them again.

Both kernels have a grid that depends on the layer alone, and how many were found stays on the device: a CUDA graph can
hold them. Winners, interval ends and what is found are those of selection.c, bit for bit.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

import torch
import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]
from torch import Tensor

from trainers.kernels.options import LayerOptions, check_order
from trainers.kernels.triton_kernels import GOLDEN_, OPTION_BITS_, line_of, shared_pointer
from trainers.kernels.winners import NOWHERE
from trainers.streams import signed

CHECKED = 1024  # connections whose intervals one program checks
AT_ONCE = 256  # connections x options that one program evaluates at a time
OPTIONS_AT_ONCE = 64
MOST_PROGRAMS = 1056  # that select again, eight for each multiprocessor of an H100; each goes on until none is left

NO_LOWER_ = tl.constexpr(NOWHERE[0])
NO_UPPER_ = tl.constexpr(NOWHERE[1])


@triton.jit
def _order_key(number):
    """`trainers.kernels.winners.order_keys`, as int32."""
    bits = number.to(tl.int32, bitcast=True)
    size = ((bits & 0x7FFFFFFF) >> 13) - 114688  # 112 << 10
    size = tl.minimum(tl.maximum(size, 0), 0x7FFE)
    return size ^ (bits >> 31)


@triton.jit
def _find(b_ptr, scale_ptr, lower_ptr, upper_ptr, found_ptr, counter_ptr, count, BLOCK: tl.constexpr):
    """Writes which connections are outside of their interval, in any order, and adds how many to the counter."""
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = rows < count
    scale = tl.load(scale_ptr)
    inverse = (1.0 / scale.to(tl.float64)).to(tl.float32)
    key = _order_key(tl.load(b_ptr + rows, mask=inside, other=0.0) * inverse)
    lower = tl.load(lower_ptr + rows, mask=inside, other=0).to(tl.int32)
    upper = tl.load(upper_ptr + rows, mask=inside, other=0).to(tl.int32)
    everywhere = scale + tl.zeros((BLOCK,), tl.float32) <= 0
    stale = ((everywhere | (key <= lower) | (key >= upper)) & inside).to(tl.int32)
    total = tl.sum(stale, 0)
    if total > 0:
        place = tl.atomic_add(counter_ptr, total) + tl.cumsum(stale, 0) - 1
        tl.store(found_ptr + place, rows, mask=stale > 0)


@triton.jit
def _piece(words, first, b, scale, value_step, score_step, shared, option_count, SHARED: tl.constexpr, K: tl.constexpr):
    """Of K options from `first` on: their numbers, values and scores, (rows, K). The last fills up."""
    option = tl.minimum(first + tl.arange(0, K), option_count - 1)[None, :]
    value, score = line_of(words[:, None], option, value_step, score_step, shared, SHARED)
    slope = value.to(tl.float64)
    total = slope * b[:, None] + score.to(tl.float64) * scale
    return option, slope, tl.where(total == total, total, -float("inf"))


@triton.jit
def _winner(words, b, scale, value_step, score_step, shared, option_count, SHARED: tl.constexpr, K: tl.constexpr):
    """Value and score of the first option with the highest score, and whether the first's is a number."""
    value, score = line_of(words, tl.zeros((), tl.int32), value_step, score_step, shared, SHARED)
    slope = value.to(tl.float64)
    best = slope * b + score.to(tl.float64) * scale
    is_number = best == best
    best = tl.where(is_number, best, -float("inf"))
    for first in range(0, option_count, K):
        option, slopes, totals = _piece(
            words, first, b, scale, value_step, score_step, shared, option_count, SHARED, K
        )  # fmt: skip
        highest = tl.max(totals, 1)
        top = tl.min(tl.where(totals == highest[:, None], option, option_count), 1)
        of_top = tl.max(tl.where(option == top[:, None], slopes, -float("inf")), 1)
        slope = tl.where(highest > best, of_top, slope)
        best = tl.maximum(best, highest)
    return slope, best, is_number


@triton.jit
def _select_again(
    b_ptr, scale_ptr, out_ptr, lower_ptr, upper_ptr, shared, found_ptr, counter_ptr, key, value_step, score_step,
    option_count, programs, SHARED: tl.constexpr, ROWS: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    """Evaluates all options of the found connections, and writes winners and the ends of their intervals."""
    found = tl.load(counter_ptr)
    scale = tl.load(scale_ptr).to(tl.float64)
    for start in range(tl.program_id(0) * ROWS, found, programs * ROWS):
        index = start + tl.arange(0, ROWS)
        there = index < found
        row = tl.load(found_ptr + index, mask=there, other=0)
        b = tl.load(b_ptr + row, mask=there, other=0.0).to(tl.float64)
        words = (row.to(tl.int64) << OPTION_BITS_) * GOLDEN_ + key
        slope, best, is_number = _winner(
            words, b, scale, value_step, score_step, shared, option_count, SHARED, K
        )  # fmt: skip
        above, below = tl.zeros((ROWS,), tl.float64), tl.zeros((ROWS,), tl.float64)
        for first in range(0, option_count, K):
            _, slopes, totals = _piece(
                words, first, b, scale, value_step, score_step, shared, option_count, SHARED, K
            )  # fmt: skip
            steeper = slopes - slope[:, None]
            nearness = steeper / (best[:, None] - totals)
            nearness = tl.where((steeper != 0) & (nearness == nearness), nearness, 0.0)
            above = tl.maximum(above, tl.max(nearness, 1))
            below = tl.minimum(below, tl.min(nearness, 1))
        down = tl.where(below < 0, -1.0 / below, float("inf"))
        up = tl.where(above > 0, 1.0 / above, float("inf"))
        left, right = (b - down) / scale, (b + up) / scale
        kept = is_number & (scale + tl.zeros_like(b) > 0) & (left == left) & (right == right)
        lower = tl.where(kept, _order_key(left.to(tl.float32)) + 1, NO_LOWER_)
        upper = tl.where(kept, _order_key(right.to(tl.float32)) - 1, NO_UPPER_)
        tl.store(out_ptr + row, tl.where(is_number, slope, float("nan")).to(tl.float32), mask=there)
        tl.store(lower_ptr + row, lower.to(tl.int16), mask=there)
        tl.store(upper_ptr + row, upper.to(tl.int16), mask=there)


def select_again(b: Tensor, scale: Tensor, options: LayerOptions, out: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Re-selects, in place, the connections whose b / scale left its interval. How many, as an int32 on the device."""
    check_order(b, out)
    count, columns = b.numel(), min(OPTIONS_AT_ONCE, triton.next_power_of_2(options.count))
    rows = AT_ONCE // columns
    programs = min(MOST_PROGRAMS, triton.cdiv(count, rows))
    found = torch.empty(count, dtype=torch.int32, device=b.device)
    counter = torch.zeros((), dtype=torch.int32, device=b.device)
    with torch.cuda.device_of(b):  # type: ignore[no-untyped-call]  # Triton launches on the current device, wherever the tensors are
        _find[(triton.cdiv(count, CHECKED),)](
            b, scale, lower, upper, found, counter, count, BLOCK=CHECKED, enable_fp_fusion=False
        )
        _select_again[(programs,)](
            b, scale, out, lower, upper, shared_pointer(options, b), found, counter, signed(options.scores_key),
            options.value_step, options.score_step, options.count, programs,
            SHARED=options.shared, ROWS=rows, K=columns, enable_fp_fusion=False,
        )  # fmt: skip
    return counter
