"""Which arms may be compared: alike in all but what is asked about."""

import numpy as np

from reports.analysis.arms import arms_of
from reports.analysis.likeness import Likeness
from reports.tracked.trials import trials_frame
from tests.reports.made_up import trial
from trainers.recipe.recipe import Recipe

SLOT = {"method": "slot_machine", "options": 8}


def alike(first, second, but_for):
    arms = arms_of(trials_frame([trial(first), trial(second)]), ("recipe_hash",))
    return len(Likeness(arms).comparable(0, np.arange(2), but_for)) == 2


def test_arms_that_differ_in_the_field_asked_about_are_alike_and_otherwise_not():
    assert alike({**SLOT, "options": 4}, {**SLOT, "options": 8}, {"options"})
    assert not alike({**SLOT, "options": 4}, {**SLOT, "options": 8, "sharing": "layer"}, {"options"})


def test_what_the_preset_fills_in_on_both_sides_is_alike_though_the_values_differ():
    greedy, probabilistic = {**SLOT, "selection": "greedy"}, {**SLOT, "selection": "probabilistic"}
    assert trial(greedy)["slot_learning_rate"] != trial(probabilistic)["slot_learning_rate"]
    assert trial(greedy)["slot_epochs"] != trial(probabilistic)["slot_epochs"]
    assert alike(greedy, probabilistic, {"selection"})


def test_a_field_that_the_presets_schedule_lacks_is_filled_in_too():
    tuned = {**SLOT, "preset": "tuned", "network": "lenet", "dataset": "mnist"}
    greedy, probabilistic = ({**tuned, "selection": each} for each in ("greedy", "probabilistic"))
    assert (trial(greedy)["slot_schedule_factor"], trial(probabilistic).get("slot_schedule_factor")) == (2.0, None)
    assert alike(greedy, probabilistic, {"selection"})
    whole = {**greedy, "slot_epochs": 25, "finetune_epochs": 0}
    assert alike({**whole, "slot_epochs": 18, "finetune_epochs": 7}, whole, {"slot_epochs", "finetune_epochs"})
    assert not alike({**greedy, "slot_schedule": "constant"}, probabilistic, {"selection"})


def test_a_stated_value_is_not_like_another_one_that_is_filled_in():
    greedy, probabilistic = {**SLOT, "selection": "greedy"}, {**SLOT, "selection": "probabilistic"}
    assert not alike({**greedy, "slot_epochs": 20}, probabilistic, {"selection"})
    assert not alike({**greedy, "slot_learning_rate": 0.3}, probabilistic, {"selection"})
    assert alike({**greedy, "slot_epochs": 20}, {**probabilistic, "slot_epochs": 20}, {"selection"})


def test_filled_values_of_different_presets_are_not_alike():
    assert not alike({**SLOT, "preset": "icml"}, {**SLOT, "preset": "authors_code"}, set())


def test_recipes_of_equal_values_are_alike_whatever_preset_they_name():
    recipe = Recipe.complete({**SLOT, "network": "lenet", "dataset": "digits", "preset": "icml"})
    stated = recipe.model_dump(exclude={"preset", "filled"})
    assert alike({**stated, "preset": "icml"}, {**stated, "preset": "authors_code"}, set())


def test_a_recipe_of_another_version_is_compared_by_its_values():
    arms = arms_of(trials_frame([trial(SLOT, network="lenet_9000"), trial(SLOT, network="lenet_9000", options="16")]))
    assert len(Likeness(arms).groups(np.arange(1), {"options"})) == 1


def test_every_arm_is_in_exactly_one_group():
    given = [{**SLOT, "options": k, "selection": s} for k in (2, 4, 8) for s in ("greedy", "probabilistic")]
    arms = arms_of(trials_frame([trial(each) for each in given]))
    groups = Likeness(arms).groups(np.arange(6), {"options"})
    assert sorted(len(group) for group in groups) == [3, 3]
    assert sorted(np.concatenate(groups)) == list(range(6))
