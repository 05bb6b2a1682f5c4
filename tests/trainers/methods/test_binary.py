"""Binary weights against the paper's equations: in NumPy, and with autograd over a whole training, in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainers.errors import InvalidInput
from trainers.methods.base import attach, selected_weights
from trainers.methods.binary.card import BinaryWeights
from trainers.methods.binary.weight import tau_at
from trainers.recipe.recipe import Recipe
from trainers.recipe.stretches import stretches

STEPS, RATE, MOMENTUM, DECAY = 60, 0.01, 0.9, 5e-4
GIVEN = {"network": "lenet", "dataset": "mnist", "method": "binary"}


def layer_of(shape: tuple[int, ...]) -> nn.Module:
    torch.manual_seed(3)
    layer = nn.Conv2d(shape[1], shape[0], 3, bias=False) if len(shape) == 4 else nn.Linear(shape[1], shape[0], False)
    attach(nn.Sequential(layer.double()), BinaryWeights(tau_start=0.7, tau_end=0.99), seed=5)
    return layer


def standardised(shadow: np.ndarray) -> np.ndarray:
    flat = shadow.reshape(len(shadow), -1)
    return (flat - flat.mean(1, keepdims=True)) / np.sqrt(flat.var(1, ddof=1, keepdims=True) + 1e-5) * math.sqrt(8)


@pytest.mark.parametrize("shape", [(4, 9), (5, 3, 3, 3)])
def test_weights_and_gradients_are_those_of_plain_numpy(shape):
    layer = layer_of(shape)
    ((_, selection, original),) = selected_weights(nn.Sequential(layer))
    shadow, scales = original.detach().numpy().copy(), selection.scales.detach().numpy().copy()
    np.testing.assert_allclose(scales, np.abs(shadow.reshape(len(shadow), -1)).mean(1), rtol=1e-12)
    u = standardised(shadow)
    signs = np.where(u >= 0, 1.0, -1.0)
    np.testing.assert_allclose(layer.weight.detach().numpy().reshape(u.shape), signs * scales[:, None], rtol=1e-12)
    upstream = np.random.default_rng(0).normal(size=shape)
    (layer.weight * torch.tensor(upstream)).sum().backward()
    reach = -np.abs(u).mean() * math.log(2 - 2 * 0.7)
    beyond = np.abs(u) > reach
    assert 0 < beyond.mean() < 0.8
    flat = upstream.reshape(u.shape)
    np.testing.assert_allclose(selection.scales.grad.numpy(), (flat * signs).sum(1), rtol=1e-10)

    def surrogate(values: np.ndarray) -> float:
        """What is differentiated where the sign passes gradients straight through and the reach is a constant."""
        return float((flat * scales[:, None] * np.clip(standardised(values), -reach, reach)).sum())

    step = 1e-6
    for place in np.ndindex(shape):
        moved = np.zeros(shape)
        moved[place] = step
        slope = (surrogate(shadow + moved) - surrogate(shadow - moved)) / (2 * step)
        assert original.grad[place].item() == pytest.approx(slope, rel=1e-5, abs=1e-7)


def test_training_flips_the_signs_that_the_papers_equations_flip():
    torch.manual_seed(7)
    labels = torch.arange(16) % 4
    images = torch.randn(16, 2, 8, 8, dtype=torch.float64) + labels[:, None, None, None] * 0.3
    ours = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(384, 4, bias=False)
    ).double()
    attach(ours, BinaryWeights(tau_start=0.85, tau_end=0.99), seed=5)
    layers = [(selection, shadow) for _, selection, shadow in selected_weights(ours)]
    shadows = [shadow.detach().clone().requires_grad_() for _, shadow in layers]
    scales = [selection.scales.detach().clone().requires_grad_() for selection, _ in layers]
    optimizer = torch.optim.SGD(ours.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    theirs = torch.optim.SGD([*shadows, *scales], lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)

    def binary(shadow: Tensor, scale: Tensor, tau: float) -> Tensor:
        flat = shadow.flatten(1)
        centred = flat - flat.mean(1, keepdim=True)
        standard = centred / ((centred.var(1, keepdim=True) + 1e-5).sqrt() / 2 / math.sqrt(2))
        reach = (-standard.abs().mean() * math.log(2 - 2 * tau)).item()
        clamped = standard.clamp(-reach, reach)
        signs = torch.where(clamped >= 0, 1.0, -1.0).double()
        return ((signs + clamped - clamped.detach()) * scale[:, None]).view_as(shadow)

    begun = [selection.chosen(shadow).clone() for selection, shadow in layers]
    for step in range(STEPS):  # at larger rates roundings soon part the two: a weight may be beyond Q or not by one
        share = step // 20 / 3  # three epochs
        tau = 0.14 / (math.e - 1) * math.e**share + 0.85 - 0.14 / (math.e - 1)
        for selection, _ in layers:
            selection.begin_epoch(share)
        optimizer.zero_grad()
        functional.cross_entropy(ours(images), labels).backward()
        weights = [binary(shadow, scale, tau) for shadow, scale in zip(shadows, scales, strict=True)]
        hidden = functional.relu(functional.conv2d(images, weights[0], padding=1)).flatten(1)
        theirs.zero_grad()
        functional.cross_entropy(hidden @ weights[1].T, labels).backward()
        optimizer.step()
        theirs.step()
        for (selection, shadow), other, scale in zip(layers, shadows, scales, strict=True):
            torch.testing.assert_close(shadow.detach(), other.detach(), rtol=0, atol=1e-11)
            torch.testing.assert_close(selection.scales.detach(), scale.detach(), rtol=0, atol=1e-11)
            assert torch.equal(selection.chosen_weight(selection.chosen(shadow)), selection.selected(shadow))
    flipped = sum(int((selection.chosen(shadow) != first).sum()) for (selection, shadow), first in zip(
        layers, begun, strict=True))  # fmt: skip
    assert flipped > 10  # else the comparison would say little


def test_the_quantile_goes_from_the_first_to_the_last_as_an_exponential_does():
    found = [tau_at(share, 0.85, 0.99) for share in (0.0, 0.5, 1.0)]
    half = 0.85 + 0.14 * (math.sqrt(math.e) - 1) / (math.e - 1)
    assert found == pytest.approx([0.85, half, 0.99], abs=1e-15) and found[1] < 0.92


@pytest.mark.parametrize("schedule", ["constant", "cosine", "cooldown"])
def test_a_phase_shares_nothing_with_a_shorter_one_unless_the_quantile_stays(schedule):
    told = {"slot_schedule": schedule, **({"slot_schedule_epochs": 2} if schedule == "cooldown" else {})}

    def begun(epochs: int, **fields: float) -> object:
        first = stretches(Recipe.complete({**GIVEN, **told, "slot_epochs": epochs, **fields}))[0]
        return first.start, first.fields

    assert begun(10) != begun(11)
    assert (begun(10, tau_end=0.85) == begun(11, tau_end=0.85)) == (schedule != "cosine")


def test_the_published_rate_is_for_networks_with_batch_norm():
    found = [
        Recipe.complete({"network": network, "dataset": "cifar10", "method": "binary"}).slot_learning_rate
        for network in ("resnet18", "vgg19", "conv2", "lenet")
    ]
    assert found == [0.1, 0.1, 0.01, 0.01]
    tuned = Recipe.complete({**GIVEN, "preset": "tuned"})
    assert (tuned.batch_size, tuned.slot_learning_rate, tuned.slot_schedule) == (128, 0.01, "cosine")


def test_a_quantile_that_falls_is_refused():
    with pytest.raises(InvalidInput, match=r"tau_end: at least tau_start, which is 0.9, not 0.8"):
        Recipe.complete({**GIVEN, "tau_start": 0.9, "tau_end": 0.8})
    with pytest.raises(InvalidInput, match=r"tau_start.*0.5"):
        Recipe.complete({**GIVEN, "tau_start": 0.5})
