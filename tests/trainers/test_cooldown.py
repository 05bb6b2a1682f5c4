"""A phase that cools down: a constant rate, then a fall to 0 that fits the phase, whatever its length."""

from __future__ import annotations

import pytest
import torch

from tests.trainers.tiny import copied, data_for, tiny_recipe
from trainers.errors import InvalidInput
from trainers.optimization import learning_rate
from trainers.recipe.recipe import Recipe
from trainers.recipe.stretches import stretches
from trainers.training import TrainingRun

PARTS = {"method": "slot_machine", "options": 4, "slot_schedule": "cooldown", "slot_learning_rate": 0.5}


def cooling(epochs: int, last: int, **fields: object) -> Recipe:
    return tiny_recipe(
        **{**PARTS, "slot_schedule_factor": None, **fields}, slot_epochs=epochs, slot_schedule_epochs=last
    )


def rates(recipe: Recipe) -> list[float]:
    return [learning_rate(recipe, "slot", epoch) for epoch in range(recipe.slot_epochs)]


def test_the_rate_is_constant_and_falls_in_equal_steps_at_the_end():
    assert rates(cooling(7, 3)) == pytest.approx([0.5, 0.5, 0.5, 0.5, 0.375, 0.25, 0.125])
    assert rates(cooling(2, 1)) == pytest.approx([0.5, 0.25])


def test_a_phase_shorter_than_its_cooldown_falls_from_its_first_epoch():
    assert rates(cooling(2, 5)) == pytest.approx([0.5 * 2 / 3, 0.5 / 3])
    assert [part.start for part in stretches(cooling(2, 5)) if part.phase == "slot"] == [0]


def test_the_longer_phase_trains_the_shorter_one_up_to_where_that_cools_down():
    split, long = cooling(4, 2, finetune_epochs=1), cooling(6, 2, finetune_epochs=1)
    alone = TrainingRun(split, data_for(split))
    expected = [record.train_loss for record in alone.epochs()]
    longer = TrainingRun(long, data_for(split))
    shared = [longer.train_epoch().train_loss for _ in range(2)]
    fork = TrainingRun(split, data_for(split))
    fork.load_state_dict(copied(longer.state_dict()))
    assert [*shared, *(record.train_loss for record in fork.epochs())] == expected
    for name, tensor in alone.state_dict().items():
        assert name == "costs" or torch.equal(fork.state_dict()[name], tensor), name


def test_a_cooldown_has_a_length_and_no_factor():
    for fields, message in (
        ({"slot_schedule_epochs": None}, "slot_schedule_epochs: missing, and the schedule cooldown needs it"),
        (
            {"slot_schedule_factor": 2.0},
            "slot_schedule_factor: the schedule cooldown has no such field, so leave it out",
        ),
    ):
        with pytest.raises(InvalidInput, match=message):
            tiny_recipe(**{**PARTS, "slot_schedule_factor": None, "slot_schedule_epochs": 2, **fields})
