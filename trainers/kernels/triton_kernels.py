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

from trainers.kernels.options import OPTION_BITS, LayerOptions
from trainers.streams import GOLDEN, MIX_1, MIX_2, signed

BLOCK = 512  # connections a program

GOLDEN_ = tl.constexpr(signed(GOLDEN))
MIX_1_ = tl.constexpr(signed(MIX_1))
MIX_2_ = tl.constexpr(signed(MIX_2))
OPTION_BITS_ = tl.constexpr(OPTION_BITS)


@triton.jit
def _mixed(word):
    """SplitMix64's mixing of int64 words; the masks undo the sign that int64 shifts copy down."""
    word = (word ^ ((word >> 30) & 0x3FFFFFFFF)) * MIX_1_
    word = (word ^ ((word >> 27) & 0x1FFFFFFFFF)) * MIX_2_
    return word ^ ((word >> 31) & 0x1FFFFFFFF)


@triton.jit
def _line(words, option, value_step, score_step, shared, SHARED: tl.constexpr):
    """Value and initial score of one option of each connection. By way of int32: GPUs turn int64 into floats slowly."""
    bits = _mixed(words + option.to(tl.int64) * GOLDEN_)
    score = ((bits >> 8) & 0xFFFFFF).to(tl.int32).to(tl.float32) * score_step
    if SHARED:  # a branch at compile time
        value = tl.load(shared + option) + tl.zeros_like(score)
    else:
        value = ((bits >> 39) | 1).to(tl.int32).to(tl.float32) * value_step
    return value, score


@triton.jit
def _select(
    b_ptr, scale_ptr, out_ptr, shared, count, key, value_step, score_step,
    option_count, SHARED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = rows < count
    b = tl.load(b_ptr + rows, mask=inside, other=0.0).to(tl.float64)
    scale = tl.load(scale_ptr).to(tl.float64)
    words = (rows << OPTION_BITS_) * GOLDEN_ + key
    best = tl.full((BLOCK,), -float("inf"), tl.float64)
    winner = tl.full((BLOCK,), float("nan"), tl.float32)
    for option in range(option_count):
        value, score = _line(words, option + tl.zeros((), tl.int32), value_step, score_step, shared, SHARED)
        total = value.to(tl.float64) * b + score.to(tl.float64) * scale
        higher = (total > best) | ((option == 0) & (total == total))
        best = tl.where(higher, total, best)
        winner = tl.where(higher, value, winner)
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
        value, score = _line(words, option + tl.zeros((), tl.int32), value_step, score_step, shared, SHARED)
        highest = tl.maximum(highest, scale * score + value * b)
    total = tl.zeros((BLOCK,), tl.float32)
    for option in range(option_count):
        value, score = _line(words, option + tl.zeros((), tl.int32), value_step, score_step, shared, SHARED)
        total += tl.exp(scale * score + value * b - highest)
    odd = (_mixed(rows * GOLDEN_ + tl.load(noise_ptr)) >> 39) | 1
    target = total * (odd.to(tl.int32).to(tl.float32) * 2.9802322387695312e-08 + 0.5)
    running = tl.zeros((BLOCK,), tl.float32)
    found = tl.zeros((BLOCK,), tl.float32)
    for option in range(option_count):
        value, score = _line(words, option + tl.zeros((), tl.int32), value_step, score_step, shared, SHARED)
        found = tl.where((running <= target) | (option == 0), value, found)
        running += tl.exp(scale * score + value * b - highest)
    tl.store(out_ptr + rows, tl.where(total == total, found, float("nan")), mask=inside)


def select(accumulated: Tensor, scale: Tensor, options: LayerOptions, out: Tensor) -> None:
    """`trainers.kernels.torch_kernels.select` of float32 layers, in one pass."""
    _launch(_select, accumulated, scale, options, out)


def sample(accumulated: Tensor, scale: Tensor, options: LayerOptions, noise_key: Tensor) -> Tensor:
    """`trainers.kernels.torch_kernels.sample` of float32 layers, in one pass."""
    out = torch.empty_like(accumulated)
    _launch(_sample, accumulated, scale, options, out, noise_key)
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


def _launch(kernel: Any, b: Tensor, scale: Tensor, options: LayerOptions, out: Tensor, *more: Tensor) -> None:
    count = b.numel()
    shared = options.shared_values(b.device) if options.shared else b
    with torch.cuda.device_of(b):  # type: ignore[no-untyped-call]  # Triton launches on the current device, wherever the tensors are
        kernel[(triton.cdiv(count, BLOCK),)](
            b, scale, out, shared, count, signed(options.scores_key), options.value_step, options.score_step,
            options.count, *more, SHARED=options.shared, BLOCK=BLOCK,
            enable_fp_fusion=False,  # or what is sampled changes with Triton's version
        )  # fmt: skip
