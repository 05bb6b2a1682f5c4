"""Supermasks against the paper's equations, with numbers drawn by a generator written out here."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from trainers.kernels import native
from trainers.methods.base import attach, bake, selected_weights
from trainers.methods.supermask.card import Supermask
from trainers.methods.supermask.weight import MaskedWeight, bernoulli

STEPS = 120
compiled = pytest.mark.skipif(native.library() is None, reason="no C compiler, so there is one implementation only")


def network(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1, stride=2, bias=False),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=2, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(96, 12, bias=False),
        nn.ReLU(),
        nn.Linear(12, 4, bias=False),
    ).to(dtype)


def images_and_labels(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    torch.manual_seed(7)
    labels = torch.arange(16) % 4
    return torch.randn(16, 2, 8, 8, dtype=dtype) + labels[:, None, None, None] * 0.3, labels


def optimizer(parameters: list[Tensor], nesterov: bool = False) -> torch.optim.SGD:
    return torch.optim.SGD(parameters, lr=100.0, momentum=0.9, weight_decay=1e-3, nesterov=nesterov)


def chances(count: int, key: int) -> Tensor:
    """SplitMix64's numbers 1/2**24 apart in [0, 1), one for each connection."""
    word = np.arange(count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(key % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        word = (word ^ word >> np.uint64(shift)) * np.uint64(factor)
    return torch.from_numpy((word >> np.uint64(8) & np.uint64(0xFFFFFF)) / 2**24)


class PaperLayer(nn.Module):
    """The paper's layer with the straight-through mask of the authors' code, left to autograd."""

    def __init__(self, layer: nn.Module, fixed: Tensor, rescale: bool, keys: list[Tensor]):
        super().__init__()
        self.layer, self.fixed, self.rescale, self.keys = layer, fixed.clone(), rescale, keys
        self.logits = nn.Parameter(torch.zeros_like(fixed))
        self.weight = fixed

    def forward(self, inputs: Tensor) -> Tensor:
        probability = self.logits.sigmoid()
        sample = (chances(self.fixed.numel(), int(self.keys.pop(0))).view_as(probability) < probability).to(probability)
        mask = sample + (probability - probability.detach())
        self.weight = self.fixed * mask
        if self.rescale:
            self.weight = self.weight * (mask.numel() / mask.sum())
        if isinstance(self.layer, nn.Linear):
            return functional.linear(inputs, self.weight)
        layer = self.layer
        return functional.conv2d(inputs, self.weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)


@pytest.mark.parametrize(
    ("weight_init", "rescale", "nesterov"),
    [("signed_constant", False, False), ("signed_constant", True, False), ("glorot_normal", True, True)],
)
def test_training_samples_and_learns_what_the_papers_equations_do_at_every_step(
    monkeypatch, weight_init, rescale, nesterov
):
    drawn = []
    noise_key = MaskedWeight.noise_key
    monkeypatch.setattr(
        MaskedWeight, "noise_key", lambda masked, device: drawn.append(noise_key(masked, device)) or drawn[-1]
    )
    ours, plain = network(), network()
    attach(ours, Supermask(weight_init, rescale, "threshold"), seed=5)
    papers = []
    for name, selection, _ in selected_weights(ours):
        papers.append(PaperLayer(plain.get_submodule(name), selection.fixed, rescale, drawn))
        plain[int(name)] = papers[-1]
    steppers = [optimizer([p for _, _, p in selected_weights(ours)], nesterov)]
    steppers.append(optimizer([layer.logits for layer in papers], nesterov))
    images, labels = images_and_labels()
    used = []
    for selection in (selection for _, selection, _ in selected_weights(ours)):
        selection.register_forward_hook(lambda *call: used.append(call[-1].detach().clone()))
    torch.manual_seed(1)
    for step in range(STEPS):
        used.clear()
        for net, stepper in zip((ours, plain), steppers, strict=True):
            stepper.zero_grad()
            functional.cross_entropy(net(images), labels).backward()
        for weight, layer in zip(used, papers, strict=True):
            assert torch.equal(weight != 0, layer.weight.detach().abs() > 1e-12), f"step {step}"
            torch.testing.assert_close(weight, layer.weight.detach(), rtol=0, atol=1e-12)
        for stepper in steppers:
            stepper.step()
        for (_, _, logits), layer in zip(selected_weights(ours), papers, strict=True):
            torch.testing.assert_close(logits.detach(), layer.logits.detach(), rtol=1e-10, atol=1e-10)
    spread = torch.cat([layer.logits.detach().flatten() for layer in papers]).abs()
    assert spread.max() > 0.5 and not drawn  # else the comparison would say little


@given(st.integers(-(2**63), 2**63 - 1), st.floats(0, 1, width=32))
def test_a_connection_is_kept_where_its_number_is_below_its_probability(key, probability):
    kept = bernoulli(torch.full((20,), probability), torch.tensor(key))
    assert torch.equal(kept, chances(20, key) < probability)


@pytest.mark.parametrize("probability", [0.0, 1e-3, 0.3, 0.5, 0.999, 1.0])
def test_connections_are_kept_as_often_as_their_probability_says(probability):
    count = 400_000
    kept = int(bernoulli(torch.full((count,), probability), torch.tensor(11)).sum())
    assert abs(kept - count * probability) <= 5 * math.sqrt(count * probability * (1 - probability))


@compiled
@pytest.mark.parametrize("rescale", [False, True])
def test_compiled_and_plain_code_train_alike_bit_for_bit(monkeypatch, rescale):
    images, labels = images_and_labels(torch.float32)
    ends = []
    for library in (native.library(), None):
        monkeypatch.setattr(native, "library", lambda library=library: library)
        net = network(torch.float32)
        attach(net, Supermask("glorot_normal", rescale, "mean_of_samples"), seed=1)
        stepper = optimizer([logits for _, _, logits in selected_weights(net)])
        torch.manual_seed(2)
        for _ in range(40):
            stepper.zero_grad()
            functional.cross_entropy(net(images.to(memory_format=torch.channels_last)), labels).backward()
            stepper.step()
        ends.append([logits.detach().clone() for _, _, logits in selected_weights(net)])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def masked(fixed: list[float], *, rescale: bool = False, sample: bool = False) -> MaskedWeight:
    return MaskedWeight(torch.tensor(fixed), rescale=rescale, sample_at_evaluation=sample)


def test_the_threshold_keeps_positive_logits_and_so_none_at_the_start():
    logits = torch.tensor([-1.0, 0.0, 1e-30, 5.0])
    assert masked([1.0, 2, 3, 4]).selected(logits).tolist() == [0, 0, 3, 4]
    assert masked([1.0, 2, 3, 4], rescale=True).selected(logits).tolist() == [0, 0, 6, 8]
    net = network()
    attach(net, Supermask("signed_constant", True, "threshold"), seed=0)
    assert not any(logits.any() or selection.selected(logits).any() for _, selection, logits in selected_weights(net))


def test_evaluation_by_threshold_and_baking_use_the_very_same_weights():
    net = network(torch.float32)
    attach(net, Supermask("glorot_normal", True, "threshold"), seed=0)
    with torch.no_grad():
        for _, _, logits in selected_weights(net):
            logits.normal_()
    images, _ = images_and_labels(torch.float32)
    before = net.eval()(images)
    bake(net)
    assert torch.equal(net(images), before)


def test_a_layer_that_keeps_nothing_is_zero_and_has_finite_gradients():
    for fixed in (torch.ones(50), torch.ones(50, dtype=torch.float64)):
        layer = MaskedWeight(fixed, rescale=True, sample_at_evaluation=True)
        logits = torch.full_like(fixed, -200.0).requires_grad_()
        weight = layer(logits)
        weight.sum().backward()
        assert not weight.any() and logits.grad.isfinite().all()


def test_every_training_pass_samples_afresh_from_torchs_generator():
    layer = masked([1.0] * 200, sample=False)
    logits = torch.zeros(200, requires_grad=True)
    torch.manual_seed(4)
    first, second = layer(logits), layer(logits)
    torch.manual_seed(4)
    assert torch.equal(layer(logits), first) and not torch.equal(first, second)
    layer.eval()
    assert torch.equal(layer(logits), layer(logits))
    sampling = masked([1.0] * 200, sample=True).eval()
    assert not torch.equal(sampling(logits), sampling(logits))
    assert (layer.evaluation_samples, sampling.evaluation_samples) == (10, 10)


def test_rescaling_makes_the_weights_in_use_add_up_as_if_all_were_kept():
    layer = masked([1.0] * 500, rescale=True)
    weight = layer(torch.zeros(500, requires_grad=True)).detach()
    kept = int((weight != 0).sum())
    assert 200 < kept < 300
    torch.testing.assert_close(weight[weight != 0], torch.full((kept,), 500 / kept))


def test_fixed_weights_have_the_deviation_of_glorot_normal():
    for weight_init in ("glorot_normal", "signed_constant"):
        layer = nn.Conv2d(40, 60, 3, groups=2, bias=False)  # fan-in 20 · 9, fan-out 60 · 9
        attach(layer, Supermask(weight_init, False, "threshold"), seed=0)
        ((_, selection, _),) = selected_weights(layer)
        sigma = math.sqrt(2 / (180 + 540))
        if weight_init == "signed_constant":
            torch.testing.assert_close(selection.fixed.abs(), torch.full_like(selection.fixed, sigma))
        assert selection.fixed.std().item() == pytest.approx(sigma, rel=0.03)
        assert abs(selection.fixed.mean().item()) < 4 * sigma / math.sqrt(selection.fixed.numel())


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv1d(4, 6, 3, groups=2, stride=2), (2, 4, 9)),
        (nn.Conv3d(2, 4, 2, dilation=2), (2, 2, 4, 4, 4)),
        (nn.Linear(5, 7), (2, 5)),
    ],
)
def test_it_attaches_to_any_layer(layer, shape):
    attach(layer, Supermask("signed_constant", True, "threshold"), seed=0)
    inputs = torch.randn(shape)
    layer(inputs).square().sum().backward()
    ((_, _, logits),) = selected_weights(layer)
    assert logits.grad.shape == logits.shape and np.isfinite(logits.grad.numpy()).all() and logits.grad.any()


@pytest.mark.parametrize("rescale", [False, True])
def test_off_the_cpu_nothing_waits_for_the_host(rescale):
    """The meta device refuses to copy a number to the host, which a captured CUDA graph could not do either."""
    layer = MaskedWeight(torch.empty(6, 4, device="meta"), rescale=rescale, sample_at_evaluation=True)
    logits = torch.empty(6, 4, device="meta", requires_grad=True)
    layer(logits).sum().backward()
    assert logits.grad.shape == (6, 4)
