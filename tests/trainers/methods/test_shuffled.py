"""Finetuning from shuffled weights: each layer keeps what it has selected, and loses where."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.trainers.tiny import copied, data_for, same_state, timeless, tiny_recipe
from trainers.errors import InvalidInput
from trainers.methods.base import selected_weights
from trainers.recipe.recipe import Recipe
from trainers.recipe.stretches import stretches
from trainers.training import TrainingRun

SHUFFLED = {"method": "slot_machine", "finetune_start": "shuffled"}


def turned(**fields: int) -> tuple[list[Tensor], list[Tensor]]:
    """What each layer had selected, and what it starts to finetune from."""
    recipe = tiny_recipe(**SHUFFLED, **fields)
    run = TrainingRun(recipe, data_for(recipe))
    run.train_epoch()
    selected = [selection.selected(original) for _, selection, original in selected_weights(run.network)]
    run.turn_to("finetune")
    return selected, [weight.detach().clone() for weight in run.network.parameters()]


def test_each_layer_keeps_its_values_in_an_order_of_its_own():
    (selected, found), (_, again), (other, others) = turned(), turned(), turned(seed=1)
    for before, after in zip(selected, found, strict=True):
        assert torch.equal(before.flatten().sort().values, after.flatten().sort().values)
        assert (before != after).float().mean() > 0.9
    assert all(torch.equal(one, two) for one, two in zip(found, again, strict=True))

    def order(before: Tensor, after: Tensor) -> list[int]:
        places = {value: place for place, value in enumerate(before.flatten().tolist())}
        return [places[value] for value in after.flatten().tolist()]

    assert order(selected[0], found[0]) != order(other[0], others[0]), "another seed has another order"


def test_a_fork_equals_the_same_trial_run_alone_and_shares_its_slot_phase():
    shuffled, plain = tiny_recipe(**SHUFFLED), tiny_recipe(method="slot_machine")
    assert stretches(shuffled)[0] == stretches(plain)[0] and stretches(shuffled)[-1] != stretches(plain)[-1]
    shared = TrainingRun(plain, data_for(plain))
    for _ in range(plain.slot_epochs):
        shared.train_epoch()
    fork = TrainingRun(shuffled, data_for(shuffled))
    fork.load_state_dict(copied(shared.state_dict()))
    alone = TrainingRun(shuffled, data_for(shuffled))
    records = [timeless(record) for record in alone.epochs()]
    assert [timeless(record) for record in fork.epochs()] == records[plain.slot_epochs :]
    assert same_state(fork.state_dict(), alone.state_dict())


def test_as_selected_is_what_is_left_out_and_other_phases_are_needed():
    given = {"network": "lenet", "dataset": "mnist", "method": "slot_machine", "slot_epochs": 2, "finetune_epochs": 2}
    assert Recipe.complete({**given, "finetune_start": "selected"}) == Recipe.complete(given)
    with pytest.raises(InvalidInput, match=r"finetune_start: it needs slot_epochs and finetune_epochs above 0.*shuff"):
        Recipe.complete({**given, "finetune_epochs": 0, "finetune_start": "shuffled"})
    with pytest.raises(InvalidInput, match=r"finetune_start: 'shufled' is not one of selected, shuffled"):
        Recipe.complete({**given, "finetune_start": "shufled"})
