"""Learned weights: where they start, and that nothing else about them is special."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from tests.trainers.tiny import data_for, timeless, tiny_recipe
from trainers.methods.base import attach, selected_weights
from trainers.methods.learned.card import LearnedWeights
from trainers.methods.slot_machine.card import SlotMachine
from trainers.training import TrainingRun

GLOROT, KAIMING = LearnedWeights("glorot", None, None), LearnedWeights("kaiming", None, None)


def random_option(options: int, value_bound: str = "glorot_uniform") -> LearnedWeights:
    return LearnedWeights("random_option", options, value_bound)


def start(method: LearnedWeights, seed: int = 0, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    net = nn.Sequential(nn.Conv2d(4, 30, 3, groups=2), nn.Flatten(), nn.Linear(300, 120)).to(dtype)
    attach(net, method, seed)
    assert not list(selected_weights(net))
    return {name: parameter.detach() for name, parameter in net.named_parameters()}


def test_glorot_weights_are_uniform_up_to_the_glorot_bound():
    weights = start(GLOROT)
    for name, fans in (("0.weight", 2 * 9 + 30 * 9), ("2.weight", 300 + 120)):
        bound = math.sqrt(6 / fans)
        numbers = weights[name].flatten().double().numpy()
        assert abs(numbers).max() <= bound
        assert stats.kstest(numbers, stats.uniform(-bound, 2 * bound).cdf).pvalue > 1e-3
    reference = nn.init.xavier_uniform_(torch.empty(120, 300))
    assert weights["2.weight"].std().item() == pytest.approx(reference.std().item(), rel=0.02)


def test_kaiming_weights_are_normal_and_as_wide_as_their_inputs_ask():
    weights = start(KAIMING)
    for name, fan_in in (("0.weight", 2 * 9), ("2.weight", 300)):
        numbers = weights[name].flatten().double().numpy()
        assert stats.kstest(numbers, stats.norm(0, math.sqrt(2 / fan_in)).cdf).pvalue > 1e-3


@pytest.mark.parametrize("options", [1, 2, 8])
@pytest.mark.parametrize("value_bound", ["glorot_uniform", "glorot_normal"])
def test_a_random_option_is_one_of_the_slot_machines_and_each_as_often(options, value_bound):
    learned = start(random_option(options, value_bound), seed=4)
    net = nn.Sequential(nn.Conv2d(4, 30, 3, groups=2), nn.Flatten(), nn.Linear(300, 120))
    attach(net, SlotMachine(options, "greedy", "none", value_bound, 1.0, 1.0, "argmax"), seed=4)
    for name, selection, original in selected_weights(net):
        values = torch.stack([selection.options.line(k, original.device)[0] for k in range(options)])
        taken = learned[f"{name}.weight"].flatten() == values
        assert torch.equal(taken.sum(0), torch.ones(original.numel(), dtype=torch.int64))
        assert options == 1 or stats.chisquare(taken.sum(1).numpy()).pvalue > 1e-3


@pytest.mark.parametrize("method", [GLOROT, KAIMING, random_option(8)])
def test_starts_are_keyed_by_seed_and_layer_and_leave_biases_alone(method):
    torch.manual_seed(0)
    first = start(method, seed=1)
    torch.manual_seed(0)
    again, other = start(method, seed=1), start(method, seed=2)
    assert all(torch.equal(first[name], again[name]) for name in ("0.weight", "2.weight", "0.bias"))
    assert not any(torch.equal(first[name], other[name]) for name in ("0.weight", "2.weight"))
    same_size = nn.Sequential(nn.Linear(9, 9), nn.Linear(9, 9))
    attach(same_size, method, 0)
    assert not torch.equal(same_size[0].weight, same_size[1].weight)


def test_wider_types_start_from_the_same_numbers():
    narrow, wide = start(GLOROT), start(GLOROT, dtype=torch.float64)
    torch.testing.assert_close(narrow["2.weight"].double(), wide["2.weight"], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("fields", [{}, {"start": "random_option"}])
def test_weights_are_learned_from_the_first_epoch_on(fields):
    recipe = tiny_recipe(method="learned", finetune_epochs=4, finetune_learning_rate=0.05, **fields)
    run = TrainingRun(recipe, data_for(recipe))
    assert (run.phase, run.epoch) == ("finetune", 0)
    records = [timeless(record) for record in run.epochs()]
    assert [(record["phase"], record["epoch"], record["total_epoch"]) for record in records] == [
        ("finetune", epoch, epoch) for epoch in (1, 2, 3, 4)
    ]
    assert records[-1]["train_loss"] < 0.8 * records[0]["train_loss"]
    assert {record["changed_fraction"] for record in records} == {0.0}
    assert run.costs()["stored_bits_per_weight"] >= 32
