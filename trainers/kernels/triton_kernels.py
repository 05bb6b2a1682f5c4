"""Selection on a GPU: one kernel that draws all K options of a connection as it goes, and reads nothing but B.

The same arithmetic as selection.c, connection by connection; greedy selection is exact, so both select the same. With
TRITON_INTERPRET=1 these kernels run on the CPU, and Triton compiles them for GPUs that are not there: both are tested.
Triton evaluates the annotations of a jitted function and adds a parameter `options` to it: these here have neither.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

import subprocess
from typing import Any

import torch
import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]
from torch import Tensor
from triton.errors import TritonError  # type: ignore[import-untyped]

from trainers.kernels.options import OPTION_BITS, STEPS, LayerOptions, check_order
from trainers.streams import GOLDEN, MIX_1, MIX_2, signed

BLOCK = 512  # connections a program

GOLDEN_ = tl.constexpr(signed(GOLDEN))
MIX_1_ = tl.constexpr(signed(MIX_1))
MIX_2_ = tl.constexpr(signed(MIX_2))
OPTION_BITS_ = tl.constexpr(OPTION_BITS)
STEPS_ = tl.constexpr(float(STEPS))  # no |value| and no initial score is more than so many steps
EIGHT_ROUNDINGS_ = tl.constexpr(2.0**-21)
LEAST_APART_ = tl.constexpr(2.0**-120)


@triton.jit
def _mixed(word):
    """SplitMix64's mixing of int64 words; the masks undo the sign that int64 shifts copy down."""
    word = (word ^ ((word >> 30) & 0x3FFFFFFFF)) * MIX_1_
    word = (word ^ ((word >> 27) & 0x1FFFFFFFFF)) * MIX_2_
    return word ^ ((word >> 31) & 0x1FFFFFFFF)


@triton.jit
def bits_of(words, option):
    """The random word of one option of each connection; words: those of their first options."""
    return _mixed(words + option.to(tl.int64) * GOLDEN_)


@triton.jit
def line_of(words, option, value_step, score_step, shared, SHARED: tl.constexpr):
    """Value and initial score of one option of each connection. By way of int32: GPUs turn int64 into floats slowly."""
    bits = bits_of(words, option)
    score = ((bits >> 8) & 0xFFFFFF).to(tl.int32).to(tl.float32) * score_step
    if SHARED:  # a branch at compile time
        value = tl.load(shared + option) + tl.zeros_like(score)
    else:
        value = ((bits >> 39) | 1).to(tl.int32).to(tl.float32) * value_step
    return value, score


@triton.jit
def _compared_in_float64(words, b, scale, value_step, score_step, shared, option_count, SHARED: tl.constexpr):
    """The value with the highest score, as selection.c compares them; not a number where the scores are none."""
    b, scale = b.to(tl.float64), scale.to(tl.float64)
    value, score = line_of(words, tl.zeros((), tl.int32), value_step, score_step, shared, SHARED)
    best = value.to(tl.float64) * b + score.to(tl.float64) * scale
    winner = tl.where(best == best, value, float("nan"))
    for option in range(1, option_count):
        value, score = line_of(words, option + tl.zeros((), tl.int32), value_step, score_step, shared, SHARED)
        total = value.to(tl.float64) * b + score.to(tl.float64) * scale
        higher = total > best
        best = tl.where(higher, total, best)
        winner = tl.where(higher, value, winner)
    return winner


@triton.jit
def _select(
    b_ptr, scale_ptr, out_ptr, shared, count, key, value_step, score_step,
    option_count, SHARED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Scores in float32, and in float64 only in programs where a connection's two highest are near each other.

    Why the winner is that of float64, whose products of float32 are exact. With u = 2**-24, a score w·B + s·c whose two
    products and sum are rounded to float32 is off by at most (2u + u²)(|w·B| + |s·c|) + 2**-148; so two of them are off
    by less than 4.1u·M + 2**-147 together, where M = max|w|·|B| + max|s|·|c|, and rounding in float64 adds 2**-52·M. M
    itself is off by 3u·M and 2**-148. Scores that are further apart than 8u·M + 2**-120 are in the order of float64.
    Where a score overflows so does M, and where one is no number M is none or infinite: nothing is further apart then.
    """
    rows = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = rows < count
    b = tl.load(b_ptr + rows, mask=inside, other=0.0)
    scale = tl.load(scale_ptr)
    words = (rows << OPTION_BITS_) * GOLDEN_ + key
    winner, score = line_of(words, tl.zeros((), tl.int32), value_step, score_step, shared, SHARED)
    best = winner * b + score * scale
    second = tl.full((BLOCK,), -float("inf"), tl.float32)
    for option in range(1, option_count):
        value, score = line_of(words, option + tl.zeros((), tl.int32), value_step, score_step, shared, SHARED)
        total = value * b + score * scale
        winner = tl.where(total > best, value, winner)
        second = tl.maximum(second, tl.minimum(best, total))
        best = tl.maximum(best, total)
    largest = tl.abs(b) * (value_step * STEPS_) + tl.abs(scale) * (score_step * STEPS_)
    apart = best - second > largest * EIGHT_ROUNDINGS_ + LEAST_APART_
    if tl.max((inside & (apart == 0)).to(tl.int32), 0) > 0:
        winner = _compared_in_float64(words, b, scale, value_step, score_step, shared, option_count, SHARED)
    tl.store(out_ptr + rows, winner, mask=inside)


@triton.jit
def _sample(
    b_ptr, scale_ptr, out_ptr, shared, count, key, value_step, score_step,
    option_count, noise_ptr, SHARED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = rows < count
    b = tl.load(b_ptr + rows, mask=inside, other=0.0)
    scale = tl.load(scale_ptr)
    words = (rows << OPTION_BITS_) * GOLDEN_ + key
    highest = tl.full((BLOCK,), -float("inf"), tl.float32)
    for option in range(option_count):
        value, score = line_of(words, option + tl.zeros((), tl.int32), value_step, score_step, shared, SHARED)
        highest = tl.maximum(highest, scale * score + value * b)
    total = tl.zeros((BLOCK,), tl.float32)
    for option in range(option_count):
        value, score = line_of(words, option + tl.zeros((), tl.int32), value_step, score_step, shared, SHARED)
        total += tl.exp(scale * score + value * b - highest)
    odd = (_mixed(rows * GOLDEN_ + tl.load(noise_ptr)) >> 39) | 1
    target = total * (odd.to(tl.int32).to(tl.float32) * 2.9802322387695312e-08 + 0.5)
    running = tl.zeros((BLOCK,), tl.float32)
    found = tl.zeros((BLOCK,), tl.float32)
    for option in range(option_count):
        value, score = line_of(words, option + tl.zeros((), tl.int32), value_step, score_step, shared, SHARED)
        found = tl.where((running <= target) | (option == 0), value, found)
        running += tl.exp(scale * score + value * b - highest)
    tl.store(out_ptr + rows, tl.where(total == total, found, float("nan")), mask=inside)


def select(accumulated: Tensor, scale: Tensor, options: LayerOptions, out: Tensor) -> None:
    """`trainers.kernels.torch_kernels.select` of float32 layers, in one pass."""
    check_order(accumulated, out)
    launch(_select, accumulated, scale, options, out)


def sample(accumulated: Tensor, scale: Tensor, options: LayerOptions, noise_key: Tensor) -> Tensor:
    """`trainers.kernels.torch_kernels.sample` of float32 layers, in one pass."""
    check_order(accumulated)
    out = torch.empty_like(accumulated)
    launch(_sample, accumulated, scale, options, out, noise_key)
    return out


def why_not(device: torch.device) -> str:
    """What keeps Triton from compiling for this device, found by a launch; empty where nothing does.

    Triton wants a C compiler and Python's headers when it first launches a kernel, and knows GPUs from some age on.
    """
    b, scale = torch.zeros(1, device=device), torch.ones((), device=device)
    try:
        select(b, scale, LayerOptions(1, 1, 1.0, 1.0, 0, 0, shared=False), torch.empty_like(b))
    except (OSError, subprocess.SubprocessError, RuntimeError, AssertionError, TritonError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def launch(kernel: Any, b: Tensor, scale: Tensor, options: LayerOptions, out: Tensor, *more: Tensor) -> None:
    """Runs a kernel with a program for each BLOCK connections of the layer."""
    count = b.numel()
    with torch.cuda.device_of(b):  # type: ignore[no-untyped-call]  # Triton launches on the current device, wherever the tensors are
        kernel[(triton.cdiv(count, BLOCK),)](
            b, scale, out, shared_pointer(options, b), count, signed(options.scores_key), options.value_step,
            options.score_step, options.count, *more, SHARED=options.shared, BLOCK=BLOCK,
            enable_fp_fusion=False,  # or what is sampled changes with Triton's version
        )  # fmt: skip


def shared_pointer(options: LayerOptions, beside: Tensor) -> Tensor:
    """The values that connections share, on that tensor's device; else any tensor, which is not read."""
    return options.shared_values(beside.device) if options.shared else beside
