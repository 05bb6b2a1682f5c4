"""Planting: every trial gets exactly its epochs, nothing is trained twice, and the store is used for all it holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.stages.planting import plant
from sweeper.stages.points import point_key, points
from tests.sweeper.stages.forests import DIGESTS, MemoryStore, assert_sound, distinct_epochs, recipe, some_recipes


@given(some_recipes)
def test_every_trial_gets_exactly_its_epochs_from_its_root_to_its_leaf(recipes):
    assert_sound(plant(recipes, DIGESTS), recipes)


@given(some_recipes)
def test_no_epoch_is_trained_twice(recipes):
    forest = plant(recipes, DIGESTS)
    assert forest.epochs_shared == distinct_epochs(recipes) == forest.epochs_left
    assert forest.epochs_alone == sum(one.budget_epochs for one in recipes) >= forest.epochs_shared


@given(some_recipes)
def test_with_everything_stored_nothing_is_left_to_do(recipes):
    first = plant(recipes, DIGESTS)
    again = plant(recipes, DIGESTS, MemoryStore(first.stages.values()))
    assert again.stages == first.stages
    assert again.stored == set(first.stages)
    assert again.epochs_left == 0


@given(some_recipes, some_recipes)
def test_a_later_sweep_trains_only_what_is_new(before, after):
    store = MemoryStore(plant(before, DIGESTS).stages.values())
    forest = plant(after, DIGESTS, store)
    assert_sound(forest, after)
    new = distinct_epochs([*before, *after]) - distinct_epochs(before)
    # Where a stored stage passes a point that is needed now, the way to that point is trained for itself.
    assert forest.epochs_left >= new
    assert forest.epochs_shared == distinct_epochs(after)


@given(some_recipes, st.randoms(use_true_random=False))
def test_whatever_the_store_has_lost_is_trained_again_and_nothing_else(recipes, random):
    whole = plant(recipes, DIGESTS)
    kept = [stage for stage in whole.stages.values() if random.random() < 0.6]
    forest = plant(recipes, DIGESTS, MemoryStore(kept))
    assert_sound(forest, recipes)
    assert forest.stages == whole.stages
    assert forest.stored == {stage.key for stage in kept}


def test_splits_of_one_budget_cost_the_longest_slot_phase_and_every_rest():
    splits = [2, 5, 9, 20]
    recipes = [recipe(slot_epochs=split, finetune_epochs=20 - split) for split in splits]
    forest = plant(recipes, DIGESTS)
    assert forest.epochs_shared == 20 + sum(20 - split for split in splits)
    assert forest.epochs_alone == 80
    assert forest.sharing == 80 / forest.epochs_shared
    slot = [stage for stage in forest.stages.values() if stage.phase == "slot"]
    assert [(stage.start, stage.end) for stage in slot] == [(0, 2), (2, 5), (5, 9), (9, 20)]


def test_a_stage_turns_exactly_where_a_slot_phase_is_baked_in():
    forest = plant([recipe(slot_epochs=3, finetune_epochs=2), recipe(slot_epochs=3, finetune_epochs=5)], DIGESTS)
    turns = [(stage.phase, stage.start, stage.turns) for stage in forest.stages.values()]
    assert turns == [("slot", 0, False), ("finetune", 0, True), ("finetune", 2, False)]
    learned = plant([recipe(method="learned", slot_epochs=0, finetune_epochs=4)], DIGESTS)
    assert [stage.turns for stage in learned.stages.values()] == [False]


def test_a_slot_machine_without_slot_epochs_is_finetuned_from_its_first_selection():
    recipes = [
        recipe(slot_epochs=0, finetune_epochs=4),
        recipe(slot_epochs=0, finetune_epochs=4, selection="probabilistic"),
    ]
    forest = plant(recipes, DIGESTS)
    assert_sound(forest, recipes)
    assert forest.epochs_shared == 8
    assert all(stage.parent is None and not stage.turns for stage in forest.stages.values())


def test_budgets_nested_in_one_another_share():
    forest = plant([recipe(slot_epochs=10), recipe(slot_epochs=20)], DIGESTS)
    assert forest.epochs_shared == 20


@pytest.mark.parametrize("schedule, shared", [("constant", 20), ("warm_restarts", 20), ("cosine", 30)])
def test_slot_phases_are_shared_unless_their_schedule_looks_at_their_length(schedule, shared):
    more = {"slot_schedule_epochs": 5, "slot_schedule_factor": 2.0} if schedule == "warm_restarts" else {}
    recipes = [recipe(slot_epochs=epochs, slot_schedule=schedule, **more) for epochs in (10, 20)]
    assert plant(recipes, DIGESTS).epochs_shared == shared


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"options": 4}, {"batch_size": 64}, {"dataset": "mnist"}, {"slot_learning_rate": 0.3}]
)
def test_what_changes_a_result_changes_the_key(change):
    a, b = (points(one, DIGESTS[one.dataset])[0] for one in (recipe(), recipe(**change)))
    assert a.lineage != b.lineage and a.key != b.key


def test_data_and_numerics_are_part_of_the_key(monkeypatch):
    before = points(recipe(), "d1")[0].key
    assert points(recipe(), "d2")[0].key != before
    monkeypatch.setattr("sweeper.stages.points.NUMERICS_VERSION", -1)
    assert points(recipe(), "d1")[0].key != before


def test_labels_and_the_fields_of_a_phase_that_never_runs_are_not():
    assert points(recipe(finetune_learning_rate=0.5), "d")[0] == points(recipe(), "d")[0]
    assert points(recipe(slot_epochs=4, **filled_by_hand()), "d") == points(recipe(), "d")


def filled_by_hand():
    """What the preset would fill, stated."""
    complete = recipe().model_dump(exclude_none=True)
    return {name: complete[name] for name in recipe().filled if name not in ("filled", "slot_epochs")}


def test_the_key_of_a_point_is_pinned_so_that_stores_outlive_versions():
    slot, _ = points(recipe(finetune_epochs=2), "digest")
    assert slot.key == point_key(slot.lineage, 4)
    assert point_key("0" * 64, 7) == "1ab4d7bd41f7201f3db11f4a37b77f022cb4c3aa1caa24fab66928522d5f2c87"


def test_a_stored_stage_keeps_the_start_that_it_has_in_the_store():
    (long,) = plant([recipe(slot_epochs=8)], DIGESTS).stages.values()
    forest = plant([recipe(slot_epochs=3), recipe(slot_epochs=8)], DIGESTS, MemoryStore([long]))
    assert [(s.start, s.end, s.key in forest.stored) for s in forest.stages.values()] == [(0, 3, False), (0, 8, True)]
    assert forest.epochs_left == 3
    assert forest.epochs_shared == 8


def test_a_stage_is_cut_where_the_store_can_start_it():
    (short,) = plant([recipe(slot_epochs=3)], DIGESTS).stages.values()
    forest = plant([recipe(slot_epochs=8)], DIGESTS, MemoryStore([short]))
    assert [(s.start, s.end) for s in forest.stages.values()] == [(0, 3), (3, 8)]
    assert forest.epochs_left == 5


def test_points_stored_beyond_what_is_needed_are_left_alone():
    (long,) = plant([recipe(slot_epochs=8)], DIGESTS).stages.values()
    forest = plant([recipe(slot_epochs=3)], DIGESTS, MemoryStore([long]))
    assert [(s.start, s.end) for s in forest.stages.values()] == [(0, 3)]


def test_a_lost_start_inside_a_stored_stage_is_trained_once_for_all_that_need_it():
    whole = plant([recipe(slot_epochs=2), recipe(slot_epochs=4)], DIGESTS)
    last = list(whole.stages.values())[-1]
    forest = plant([recipe(slot_epochs=3), recipe(slot_epochs=4)], DIGESTS, MemoryStore([last]))
    assert_sound(forest, [recipe(slot_epochs=3), recipe(slot_epochs=4)])
    assert {(s.start, s.end) for s in forest.stages.values()} == {(0, 2), (2, 3), (2, 4)}
    assert forest.epochs_left == 3


def test_a_parent_without_a_readable_state_is_trained_again():
    whole = plant([recipe(slot_epochs=2), recipe(slot_epochs=4)], DIGESTS)
    first, second = whole.stages.values()
    store = MemoryStore([first], without_state={first.key})
    forest = plant([recipe(slot_epochs=2), recipe(slot_epochs=4)], DIGESTS, store)
    assert forest.stored == frozenset()
    untouched = plant([recipe(slot_epochs=4)], DIGESTS, MemoryStore([first, second], without_state={first.key}))
    assert untouched.stored == {first.key, second.key}, "a state that nothing starts from is not even looked at"


def test_an_empty_sweep_is_an_empty_forest():
    forest = plant([], DIGESTS)
    assert (forest.stages, forest.trials, forest.epochs_shared, forest.sharing) == ({}, [], 0, 1.0)
