"""Checks of the GPU's kernels that Triton interprets on the CPU, each against all options and the C files.

TRITON_INTERPRET=1 python -m tests.trainers.kernels.interpreted_selection CHECK...
"""

from __future__ import annotations

import ctypes
import json
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.trainers.tiny import data_for, same_state, tiny_recipe
from trainers.kernels import native, triton_intervals, triton_kernels
from trainers.kernels import torch_kernels as kernels
from trainers.kernels.options import LayerOptions
from trainers.kernels.winners import NOWHERE
from trainers.methods.slot_machine.weight import SlotWeight
from trainers.methods.snapshots import options_in_use
from trainers.training import TrainingRun

N = 40
# The interpreter takes as long for a large piece as for a small one; two programs have to share what is found.
triton_intervals.AT_ONCE = 1 << 11
triton_intervals.MOST_PROGRAMS = 2


def layer(count: int, connections: int, shared: bool, *, bound=0.07, score_range=0.05, key=2**63 + 12345):
    return LayerOptions(count, connections, bound, score_range, key, 999 if shared else key, shared)


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Equal bit for bit, but that a number which is none may be any such."""
    return torch.equal(one.nan_to_num(9.0).view(torch.int32), other.nan_to_num(9.0).view(torch.int32)) and torch.equal(
        one.isnan(), other.isnan()
    )


@contextmanager
def as_on_a_gpu() -> Iterator[None]:
    """Layers take the kernels of GPUs, which are interpreted, and nothing of the C files."""
    before = kernels.fused, SlotWeight._on_cpu, native.library_for
    kernels.fused = lambda accumulated, options: triton_kernels
    SlotWeight._on_cpu = staticmethod(lambda tensor: False)
    native.library_for = lambda *tensors: None
    yield
    kernels.fused, SlotWeight._on_cpu, native.library_for = before[0], staticmethod(before[1]), before[2]


def evaluated(b: Tensor, scale: Tensor, options: LayerOptions) -> Tensor:
    """What the definition selects: all options, compared in float64."""
    expected = torch.empty_like(b)
    kernels.select(b, scale, options, expected)
    return expected


def crossings(options: LayerOptions, c: float, choice: np.random.Generator) -> Tensor:
    """For each connection a B within two float32 of where a winner's line meets that of the next winner."""
    values, scores = (lines.astype(np.float64) for lines in options.lines(np.arange(options.connections)))
    values = np.broadcast_to(values, scores.shape)
    found = np.zeros(options.connections, np.float32)
    for row, (w, s) in enumerate(zip(values, scores, strict=True)):
        b = choice.normal() * options.score_range / options.value_bound
        top = int(np.argmax(w * b + s * c))
        with np.errstate(all="ignore"):
            meets = (s[top] - s) * c / (w - w[top])
        after = np.where((meets > b) & np.isfinite(meets), meets, np.inf)
        b = after.min() if np.isfinite(after).any() else b
        found[row] = np.float32(b)
    with np.errstate(all="ignore"):
        for _ in range(2):
            found = np.where(choice.random(len(found)) < 0.5, found, np.nextafter(found, np.float32(choice.normal())))
    return torch.from_numpy(found.astype(np.float32))


@settings(max_examples=40, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
@given(
    count=st.sampled_from([1, 2, 3, 8]),
    shared=st.booleans(),
    bound=st.sampled_from([0.07, 1e-30, 1e-36, 1e19, 1e38]),
    score_range=st.sampled_from([0.0, 0.05, 1e-40, 1e-30, 1e30, 1e38]),
    scale=st.sampled_from([1.0, 0.9, 1e-3, 0.0, -1.0, 1e-40, 1e30]),
    how=st.sampled_from(["crossings", "crossings", "zero", "denormal", "huge", "any", "no numbers"]),
    seed=st.integers(0, 2**32),
)
def winners_near_each_other(count, shared, bound, score_range, scale, how, seed):
    options = layer(count, N, shared, bound=bound, score_range=score_range, key=seed)
    choice, c = np.random.default_rng(seed), torch.tensor(scale)
    b = torch.from_numpy(choice.normal(size=N).astype(np.float32))
    if how == "crossings":
        b = crossings(options, scale, choice)
    elif how == "no numbers":
        b[::3], b[1::3], b[2::3] = torch.nan, torch.inf, -torch.inf
    else:
        b *= {"zero": 0.0, "denormal": 1e-40, "huge": 1e37, "any": 1.0}[how]
    found = torch.empty(N)
    triton_kernels.select(b, c, options, found)
    assert same_bits(found, evaluated(b, c, options))


def near_winners_many_times() -> None:
    """Of connections where two lines meet, float32 alone would select another option for a third.

    In programs of two connections, as one that ties calls for float64 for all connections of its program.
    """
    block, triton_kernels.BLOCK = triton_kernels.BLOCK, 2
    for shared in (False, True):
        options = layer(8, 128, shared)
        b, found = crossings(options, 0.9, np.random.default_rng(0)), torch.empty(128)
        triton_kernels.select(b, torch.tensor(0.9), options, found)
        assert same_bits(found, evaluated(b, torch.tensor(0.9), options)), shared
    triton_kernels.BLOCK = block


def float64_for_near_ones_alone() -> None:
    """Where no two scores are near each other nothing is compared in float64; one connection calls for its program."""
    calls, compared = [], triton_kernels._compared_in_float64
    triton_kernels._compared_in_float64 = lambda *given: calls.append(1) or compared(*given)
    options, c = layer(8, 4 * triton_kernels.BLOCK, False), torch.tensor(0.9)
    b = torch.randn(options.connections, generator=torch.Generator().manual_seed(0))
    for near, programs in ((0, 0), (1, 1)):
        b[:near] = torch.nan
        calls.clear()
        triton_kernels.select(b, c, options, torch.empty_like(b))
        assert len(calls) == programs, (near, len(calls))
    triton_kernels._compared_in_float64 = compared


def kept_by_c(options: LayerOptions, kept: tuple[Tensor, ...], b: Tensor, c: float) -> int:
    library, drawn = native.library(), options.native()
    assert library is not None and drawn is not None
    pointers = (tensor.data_ptr() for tensor in kept)
    return int(library.slot_select(ctypes.byref(drawn[0]), 0, len(b), b.data_ptr(), c, *pointers))


def nowhere(connections: int) -> tuple[Tensor, ...]:
    ends = (torch.full((connections,), int(key), dtype=torch.int16) for key in NOWHERE)
    return (torch.zeros(connections), *ends)


@settings(max_examples=20, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
@given(
    count=st.sampled_from([1, 2, 17, 64, 70, 130]),
    shared=st.booleans(),
    score_range=st.sampled_from([0.0, 1e-3, 0.05, 5.0]),
    size=st.sampled_from([1e-6, 1e-2, 1.0, 1e6]),
    scales=st.lists(st.sampled_from([1.0, 0.999, 0.5, 1e-3, 0.0, -2.0]), min_size=1, max_size=3),
    seed=st.integers(0, 2**32),
)
def walks(count, shared, score_range, size, scales, seed):
    options = layer(count, N, shared, score_range=score_range, key=seed)
    choice = np.random.default_rng(seed)
    steps = choice.normal(size=(8, N)) * size * 10.0 ** choice.integers(-4, 1, size=(8, 1))
    path = np.concatenate([np.zeros((1, N)), steps.cumsum(0)]).astype(np.float32)
    path[choice.random(path.shape) < 0.05] = 0.0
    ours, theirs = nowhere(N), nowhere(N)
    for number, b in enumerate(map(torch.from_numpy, path)):
        c = torch.tensor(scales[number * len(scales) // len(path)])
        found = int(triton_intervals.select_again(b, c, options, *ours))
        assert found == kept_by_c(options, theirs, b, c.item())
        assert same_bits(ours[0], evaluated(b, c, options))
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def long_walk() -> None:
    """Many small steps and a decaying c: few connections are looked at, and all select what all options would."""
    connections = 3 * triton_intervals.CHECKED - 5
    options, generator = layer(20, connections, False), torch.Generator().manual_seed(0)
    ours, theirs, b, c, looked_at = nowhere(connections), nowhere(connections), torch.zeros(connections), 1.0, 0
    for step in range(30):
        b, c = b + 0.005 * torch.randn(connections, generator=generator), float(np.float32(c * 0.999))
        found = int(triton_intervals.select_again(b, torch.tensor(c), options, *ours))
        assert found == kept_by_c(options, theirs, b, c)
        assert same_bits(ours[0], evaluated(b, torch.tensor(c), options)), step
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True)), step
        looked_at += found if step else 0
    assert 0 < looked_at < connections * 29 / 10, looked_at


def numbers_again() -> None:
    """A connection whose score was no number is selected as soon as it is one again."""
    options, c = layer(20, N, False), torch.tensor(1.0)
    kept, b = nowhere(N), torch.randn(N, generator=torch.Generator().manual_seed(0))
    broken = b.clone()
    broken[::3], broken[1::3], broken[2::3] = torch.nan, torch.inf, -torch.inf
    for now in (b, broken, b):
        triton_intervals.select_again(now, c, options, *kept)
        assert same_bits(kept[0], evaluated(now, c, options))
    triton_intervals.select_again(b, torch.tensor(torch.nan), options, *kept)
    assert kept[0].isnan().all()
    triton_intervals.select_again(b, c, options, *kept)
    assert same_bits(kept[0], evaluated(b, c, options))


def a_run_as_on_a_gpu() -> None:
    """Two epochs of training select, lose and describe what the C files do, with intervals (K = 20) and without."""
    for fields in ({"options": 20}, {"options": 20, "sharing": "layer"}, {"options": 4}):
        recipe = tiny_recipe(method="slot_machine", finetune_epochs=0, batch_size=500, **fields)
        plain, other = (TrainingRun(recipe, data_for(recipe)) for _ in range(2))
        for _ in range(2):
            epoch = plain.train_epoch()
            with as_on_a_gpu():
                interpreted = other.train_epoch()
            assert [asdict(layer) for layer in epoch.layers] == [asdict(layer) for layer in interpreted.layers]
            states = [run.state_dict() for run in (plain, other)]
            for state in states:
                del state["costs"]  # memory among them, and the kernels take other memory
            assert same_state(*states)


class Operations(TorchDispatchMode):
    """Counts operations, and those among them that wait for the device."""

    all = waits = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.all += 1
        self.waits += function.overloadpacket.__name__ == "_local_scalar_dense"
        return function(*args, **(kwargs or {}))


def described_in_one_pass() -> None:
    """What is said of a layer's selection is what ranks.c says, and takes as many operations however many options."""
    operations = set()
    for shared in (False, True):
        for count in (1, 2, 5, 64, 70):
            options, c = layer(count, 700, shared, score_range=0.05), torch.tensor(0.9)
            b = torch.randn(700, generator=torch.Generator().manual_seed(count))
            weight = evaluated(b, c, options)
            expected = options_in_use(options, b, c.item(), weight)
            options.shared_values() if shared else None
            with as_on_a_gpu(), Operations() as seen:
                found = options_in_use(options, b, c.item(), weight)
            assert found == expected, (shared, count)
            operations.add((shared, count > 64, seen.all, seen.waits))
    assert len(operations) == 4, operations
    assert max(number for *_, number, _ in operations) < 80, operations
    assert max(waits for *_, waits in operations) <= 2, operations


def another_order_is_refused() -> None:
    """Connections are numbered in the order that they lie in: where that is another one, nothing is selected."""
    options, c = layer(20, 2 * 3 * 4 * 4, False), torch.tensor(1.0)
    b = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    kept = nowhere(b.numel())
    for select in (
        lambda: triton_kernels.select(b, c, options, torch.empty(2, 3, 4, 4)),
        lambda: triton_kernels.sample(b, c, options, torch.tensor(3)),
        lambda: triton_intervals.select_again(b, c, options, *kept),
    ):
        try:
            select()
        except ValueError as error:
            assert str(error).startswith("B: must be contiguous"), error
        else:
            raise AssertionError("it was selected")


CHECKS = {
    check.__name__: check
    for check in (
        winners_near_each_other, near_winners_many_times, float64_for_near_ones_alone, walks, long_walk, numbers_again,
        a_run_as_on_a_gpu, described_in_one_pass, another_order_is_refused,
    )
}  # fmt: skip

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    faults = {}
    for name in sys.argv[1:] or CHECKS:
        try:
            CHECKS[name]()
            faults[name] = ""
        except Exception:
            faults[name] = traceback.format_exc()
    print(json.dumps(faults))
