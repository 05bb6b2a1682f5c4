"""Re-selecting only what left its interval equals evaluating all K, in NumPy and compiled."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.trainers.kernels.given_options import GivenOptions
from trainers.kernels import native
from trainers.kernels import torch_kernels as kernels
from trainers.kernels.options import LayerOptions
from trainers.kernels.winners import order_keys
from trainers.methods.slot_machine.weight import SlotWeight

N = 60


def brute_force(values: np.ndarray, scores: np.ndarray, b: np.ndarray, c: float) -> np.ndarray:
    """The selected value of every connection by the definition: arg-max over k of c·s + w·B, ties to the lowest k."""
    totals = scores.astype(np.float64) * c + values.astype(np.float64) * b.astype(np.float64)[:, None]
    return np.broadcast_to(values, totals.shape)[np.arange(len(b)), totals.argmax(1)]


def slot(options: LayerOptions, compiled: bool, monkeypatch: pytest.MonkeyPatch) -> SlotWeight:
    if not compiled:
        monkeypatch.setattr(native, "library", lambda: None)
    elif native.library() is None:
        pytest.skip("no C compiler on this machine")
    return SlotWeight(options, torch.empty(options.connections, dtype=options.dtype))


def walk(rng: np.random.Generator, size: float) -> np.ndarray:
    """A path of B: small steps, some large ones, some back to exactly 0."""
    steps = rng.normal(size=(25, N)) * size * 10.0 ** rng.integers(-4, 1, size=(25, 1))
    path = np.concatenate([np.zeros((1, N)), steps.cumsum(0)])
    path[rng.random(path.shape) < 0.05] = 0.0
    return path.astype(np.float32)


@pytest.mark.parametrize("compiled", [True, False])
@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 64),
    shared=st.booleans(),
    score_range=st.sampled_from([0.0, 1e-3, 0.07, 5.0]),
    size=st.sampled_from([1e-6, 1e-2, 1.0, 100.0, 1e6]),
    scales=st.lists(st.sampled_from([1.0, 0.999, 0.5, 1e-3, 0.0, -1e-3, -2.0]), min_size=1, max_size=4),
    seed=st.integers(0, 2**32),
)
def test_drawn_options_are_selected_as_if_all_were_evaluated(compiled, count, shared, score_range, size, scales, seed):
    with pytest.MonkeyPatch.context() as patch:
        options = LayerOptions(count, N, 0.07, score_range, seed, seed + 1 if shared else seed, shared)
        machine = slot(options, compiled, patch)
        values, scores = options.lines(np.arange(N))
        for number, b in enumerate(walk(np.random.default_rng(seed), size)):
            c = np.float32(scales[number * len(scales) // 26])
            machine.scale.data.fill_(float(c))
            found = machine.selected(torch.from_numpy(b)).numpy()
            np.testing.assert_array_equal(found, brute_force(values, scores, b, float(c)))


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 12), levels=st.integers(1, 5), seed=st.integers(0, 2**32))
def test_ties_between_given_options_go_to_the_lowest(count, levels, seed):
    """Values and scores of few levels: equal lines, equal slopes, and crossings exactly where B lands."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-levels, levels + 1, size=(N, count)).astype(np.float32)
    scores = rng.integers(0, levels + 1, size=(N, count)).astype(np.float32)
    machine = SlotWeight(GivenOptions(torch.from_numpy(values), torch.from_numpy(scores)), torch.empty(N))
    for b in rng.integers(-3, 4, size=(20, N)).astype(np.float32) / 2:
        found = machine.selected(torch.from_numpy(b)).numpy()
        np.testing.assert_array_equal(found, brute_force(values, scores, b, 1.0))


def test_one_pass_over_all_options_selects_the_same():
    options = LayerOptions(8, 5000, 0.07, 0.07, 1, 1, False)
    b, c = torch.randn(5000, generator=torch.Generator().manual_seed(0)), torch.tensor(0.9)
    out = torch.empty(5000)
    kernels.select(b, c, options, out)
    values, scores = options.lines(np.arange(5000))
    np.testing.assert_array_equal(out.numpy(), brute_force(values, scores, b.numpy(), c.item()))


def test_order_keys_never_turn_an_order_over():
    rng = np.random.default_rng(0)
    numbers = np.concatenate(
        [rng.normal(size=2000) * 10.0 ** rng.integers(-30, 30, 2000), [0.0, -0.0, np.inf, -np.inf, 1e-45, -1e-45]]
    ).astype(np.float32)
    # By their bits: a process whose arithmetic flushes denormal numbers (some library's doing) sorts them as zeros.
    bits = numbers.view(np.int32)
    ordered = numbers[np.argsort(bits ^ ((bits >> 31) & 0x7FFFFFFF))]
    assert (np.diff(order_keys(ordered).astype(int)) >= 0).all()
    assert order_keys(np.array([-1.0, 1.0], np.float32)).tolist() == [-15361, 15360]


def test_compiled_and_numpy_selection_keep_the_same_intervals():
    if native.library() is None:
        pytest.skip("no C compiler on this machine")
    options = LayerOptions(16, 4000, 0.07, 0.07, 1, 1, False)
    b = torch.randn(4000, generator=torch.Generator().manual_seed(0))
    kept = []
    for library in (native.library(), None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(native, "library", lambda library=library: library)
            machine = SlotWeight(options, torch.empty(4000))
            machine.selected(b)
            kept.append((machine.lower, machine.upper))
    assert all(torch.equal(a, b) for a, b in zip(*kept, strict=True))
    inside = (kept[0][0] < kept[0][1]).float().mean()
    assert inside > 0.99  # an interval that no x is in would be exact too, and slow


def test_a_machine_without_a_compiler_says_so_and_works(monkeypatch):
    monkeypatch.setattr(native.shutil, "which", lambda name: None)
    assert native.library.__wrapped__() is None


def test_a_source_that_does_not_compile_is_reported_and_not_fatal(monkeypatch, tmp_path, caplog):
    broken = tmp_path / "broken.c"
    broken.write_text("this is no C")
    monkeypatch.setattr(native, "SOURCES", (broken,))
    monkeypatch.setattr(native, "cache_folder", lambda: tmp_path)
    assert native.library.__wrapped__() is None
    assert "could not be compiled" in caplog.text


def test_linear_layers_of_other_types_are_selected_too():
    layer = nn.Linear(4, 3, bias=False).to(torch.bfloat16)
    machine = SlotWeight(LayerOptions(4, 12, 0.5, 0.5, 1, 1, False, dtype=torch.bfloat16), layer.weight)
    found = machine.selected(torch.zeros(3, 4, dtype=torch.bfloat16))
    assert found.dtype == torch.bfloat16


def test_intervals_are_kept_only_where_selection_on_cpu_wants_them():
    options, names = LayerOptions(4, 12, 0.5, 0.5, 1, 1, False), ["in_use", "lower", "upper"]
    for weight in (torch.zeros(3, 4, device="meta"), torch.zeros(3, 4, dtype=torch.bfloat16)):
        machine = SlotWeight(options, weight)
        machine.selected(weight)
        assert [name for name, _ in machine.named_buffers()] == ["in_use"]
    machine = SlotWeight(options, torch.zeros(3, 4))
    assert [name for name, _ in machine.named_buffers()] == names
    machine.to("meta")
    assert [name for name, _ in machine.named_buffers()] == ["in_use"]
    machine.to_empty(device="cpu").eval()
    with torch.inference_mode():
        machine(torch.zeros(3, 4))
    assert [name for name, _ in machine.named_buffers()] == names
    assert machine.lower is not None and not machine.lower.is_inference()


@pytest.mark.parametrize("how", ["compiled", "numpy", "torch"])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("count", [1, 8])
def test_scores_that_are_no_numbers_select_and_sample_no_number(how, shared, count, monkeypatch):
    options = LayerOptions(count, 700, 0.07, 0.05, 3, 4 if shared else 3, shared)
    machine = slot(options, how == "compiled", monkeypatch)
    b = torch.randn(700, generator=torch.Generator().manual_seed(0))
    b[::7], b[1::7] = torch.nan, -torch.nan
    if how == "torch":
        monkeypatch.setattr(SlotWeight, "_on_cpu", staticmethod(lambda tensor: False))
    for c in (1.0, -1.0):
        machine.scale.data.fill_(c)
        for found in (machine.selected(b), machine._sample(b)):
            assert torch.equal(found.isnan(), b.isnan())
            assert (found != 0).all()
    machine.scale.data.fill_(torch.nan)
    assert machine.selected(b).isnan().all() and machine._sample(b).isnan().all()
