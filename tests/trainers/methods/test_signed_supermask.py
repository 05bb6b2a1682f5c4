"""Signed supermasks against the paper's equations, written out with autograd in float64."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainers.methods.base import attach, selected_weights
from trainers.methods.signed_supermask.card import SignedSupermask
from trainers.recipe.recipe import Recipe

STEPS = 60
RATE, MOMENTUM, DECAY = 0.05, 0.9, 0.01


def network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.ELU(), nn.Flatten(), nn.Linear(384, 4, bias=False)
    ).double()


def test_training_drops_and_inverts_what_the_papers_equations_do():
    torch.manual_seed(7)
    labels = torch.arange(16) % 4
    images = torch.randn(16, 2, 8, 8, dtype=torch.float64) + labels[:, None, None, None] * 0.3
    ours = network()
    attach(ours, SignedSupermask(threshold_fraction=0.75, mask_decay=DECAY), seed=5)
    layers = [(selection, mask) for _, selection, mask in selected_weights(ours)]
    masks = [mask.detach().clone().requires_grad_() for _, mask in layers]
    thresholds = [0.75 * float(mask.detach().abs().max()) for mask in masks]
    velocities = [torch.zeros_like(mask) for mask in masks]
    fixed = [selection.fixed.clone() for selection, _ in layers]
    assert [weight.abs().unique().tolist() for weight in fixed] == [[math.sqrt(3 / 18)], [math.sqrt(3 / 384)]]
    optimizer = torch.optim.SGD([mask for _, mask in layers], lr=RATE, momentum=MOMENTUM, nesterov=True)

    def hard(number: int) -> Tensor:
        mask = masks[number].detach()
        return (mask > thresholds[number]).double() - (mask < -thresholds[number]).double()

    begun = [hard(number) for number in range(2)]
    for step in range(STEPS):
        optimizer.zero_grad()
        functional.cross_entropy(ours(images), labels).backward()
        weights = [
            fixed[number] * (hard(number) + masks[number] - masks[number].detach()) for number in range(2)
        ]  # straight through: the gradient of the choice is that of the identity
        hidden = functional.elu(functional.conv2d(images, weights[0], padding=1)).flatten(1)
        gradients = torch.autograd.grad(functional.cross_entropy(hidden @ weights[1].T, labels), masks)
        optimizer.step()
        with torch.no_grad():
            for mask, velocity, gradient in zip(masks, velocities, gradients, strict=True):
                velocity.mul_(MOMENTUM).add_(gradient)
                mask.mul_(1 - DECAY).sub_(RATE * (gradient + MOMENTUM * velocity))
        for number, (selection, mask) in enumerate(layers):
            torch.testing.assert_close(mask.detach(), masks[number].detach(), rtol=0, atol=1e-12)
            assert torch.equal(selection.selected(mask), fixed[number] * hard(number)), f"step {step}"
            assert torch.equal(selection.chosen_weight(selection.chosen(mask)), selection.selected(mask))
    changed = torch.cat([(hard(number) != begun[number]).flatten() for number in range(2)])
    inverted = torch.cat([(hard(number) < 0).flatten() for number in range(2)])
    assert changed.sum() > 10 and inverted.any()  # else the comparison would say little


def test_the_preset_is_that_of_the_paper_where_a_network_has_an_activation():
    given = {"dataset": "cifar10", "method": "signed_supermask"}
    recipe = Recipe.complete({"network": "conv2", **given})
    schedule = (recipe.slot_schedule, recipe.slot_schedule_epochs, recipe.slot_schedule_factor)
    assert (recipe.activation, recipe.slot_nesterov, schedule) == ("elu", True, ("staircase", 10, 0.9))
    assert Recipe.complete({"network": "vgg19", **given}).activation is None
