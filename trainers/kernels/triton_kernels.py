"""Selection on a GPU: one kernel that draws all K options of a connection as it goes, and reads nothing but B.

The same arithmetic as selection.c, connection by connection; greedy selection is exact, so both select the same. With
TRITON_INTERPRET=1 these kernels run on the CPU, which is how they are tested without a GPU.
"""

from __future__ import annotations

from typing import Any

import torch
import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]
from torch import Tensor

from trainers.kernels.options import OPTION_BITS, LayerOptions
from trainers.streams import GOLDEN, MIX_1, MIX_2, signed

BLOCK = 512  # connections a program

GOLDEN_ = tl.constexpr(signed(GOLDEN))
MIX_1_ = tl.constexpr(signed(MIX_1))
MIX_2_ = tl.constexpr(signed(MIX_2))
OPTION_BITS_ = tl.constexpr(OPTION_BITS)


@triton.jit  # type: ignore[untyped-decorator]
def _mixed(word: Any) -> Any:
    """SplitMix64's mixing of int64 words; the masks undo the sign that int64 shifts copy down."""
    word = (word ^ ((word >> 30) & 0x3FFFFFFFF)) * MIX_1_
    word = (word ^ ((word >> 27) & 0x1FFFFFFFFF)) * MIX_2_
    return word ^ ((word >> 31) & 0x1FFFFFFFF)


@triton.jit  # type: ignore[untyped-decorator]
def _line(words: Any, option: Any, value_step: Any, score_step: Any, shared: Any, SHARED: tl.constexpr) -> Any:
    """Value and initial score of one option of each connection."""
    bits = _mixed(words + option.to(tl.int64) * GOLDEN_)
    score = ((bits >> 8) & 0xFFFFFF).to(tl.float32) * score_step
    if SHARED:  # noqa: SIM108 - a branch at compile time
        value = tl.load(shared + option) + tl.zeros_like(score)
    else:
        value = ((bits >> 39) | 1).to(tl.float32) * value_step
    return value, score


@triton.jit  # type: ignore[untyped-decorator]
def _select(
    b_ptr: Any, scale_ptr: Any, out_ptr: Any, shared: Any, count: Any, key: Any, value_step: Any, score_step: Any,
    options: Any, SHARED: tl.constexpr, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    rows = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = rows < count
    b = tl.load(b_ptr + rows, mask=inside, other=0.0).to(tl.float64)
    scale = tl.load(scale_ptr).to(tl.float64)
    words = (rows << OPTION_BITS_) * GOLDEN_ + key
    best = tl.full((BLOCK,), -float("inf"), tl.float64)
    winner = tl.zeros((BLOCK,), tl.float32)
    for option in range(options):
        value, score = _line(words, option + tl.zeros((), tl.int32), value_step, score_step, shared, SHARED)
        total = value.to(tl.float64) * b + score.to(tl.float64) * scale
        higher = total > best
        best = tl.where(higher, total, best)
        winner = tl.where(higher, value, winner)
    tl.store(out_ptr + rows, winner, mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _sample(
    b_ptr: Any, scale_ptr: Any, out_ptr: Any, shared: Any, count: Any, key: Any, value_step: Any, score_step: Any,
    options: Any, noise_ptr: Any, SHARED: tl.constexpr, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    rows = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = rows < count
    b = tl.load(b_ptr + rows, mask=inside, other=0.0)
    scale = tl.load(scale_ptr)
    words = (rows << OPTION_BITS_) * GOLDEN_ + key
    highest = tl.full((BLOCK,), -float("inf"), tl.float32)
    for option in range(options):
        value, score = _line(words, option + tl.zeros((), tl.int32), value_step, score_step, shared, SHARED)
        highest = tl.maximum(highest, scale * score + value * b)
    total = tl.zeros((BLOCK,), tl.float32)
    for option in range(options):
        value, score = _line(words, option + tl.zeros((), tl.int32), value_step, score_step, shared, SHARED)
        total += tl.exp(scale * score + value * b - highest)
    noise = ((_mixed(rows * GOLDEN_ + tl.load(noise_ptr)) >> 39) | 1).to(tl.float32) * 2.9802322387695312e-08 + 0.5
    target = total * noise
    running = tl.zeros((BLOCK,), tl.float32)
    found = tl.zeros((BLOCK,), tl.float32)
    for option in range(options):
        value, score = _line(words, option + tl.zeros((), tl.int32), value_step, score_step, shared, SHARED)
        found = tl.where((running <= target) | (option == 0), value, found)
        running += tl.exp(scale * score + value * b - highest)
    tl.store(out_ptr + rows, found, mask=inside)


def select(accumulated: Tensor, scale: Tensor, options: LayerOptions, out: Tensor) -> None:
    """`trainers.kernels.torch_kernels.select` of float32 layers, in one pass."""
    _launch(_select, accumulated, scale, options, out)


def sample(accumulated: Tensor, scale: Tensor, options: LayerOptions, noise_key: Tensor) -> Tensor:
    """`trainers.kernels.torch_kernels.sample` of float32 layers, in one pass."""
    out = torch.empty_like(accumulated)
    _launch(_sample, accumulated, scale, options, out, noise_key)
    return out


def _launch(kernel: Any, b: Tensor, scale: Tensor, options: LayerOptions, out: Tensor, *more: Tensor) -> None:
    count = b.numel()
    shared = options.shared_values(b.device) if options.shared else b
    kernel[(triton.cdiv(count, BLOCK),)](
        b, scale, out, shared, count, signed(options.scores_key), options.value_step, options.score_step,
        options.count, *more, SHARED=options.shared, BLOCK=BLOCK,
    )  # fmt: skip
