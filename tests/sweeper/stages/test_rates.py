"""Stages are told by the rates that they train at: recipes share what they train alike, whatever their schedules."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.stages.planting import grow, plant
from sweeper.stages.points import earlier_points, points
from tests.sweeper.stages.forests import DIGESTS, MemoryStore, assert_sound, recipe
from tests.trainers.tiny import copied, data_for, tiny_recipe
from trainers.optimization import learning_rate
from trainers.recipe.choices import SCHEDULE_FIELDS
from trainers.training import TrainingRun

LONGEST = 14


@st.composite
def schedules(draw):
    """The fields of a slot phase of which only the schedule is drawn. Cycles of up to three epochs are no cycles: their
    rates are simple fractions, as those of others are."""
    schedule = draw(st.sampled_from(sorted(SCHEDULE_FIELDS)))
    told = SCHEDULE_FIELDS[schedule]
    shortest = 4 if schedule in ("cosine", "warm_restarts") else 1
    return {
        "slot_epochs": draw(st.integers(shortest, LONGEST)),
        "slot_learning_rate": draw(st.sampled_from([0.1, 0.2])),
        "slot_schedule": schedule,
        "slot_schedule_epochs": draw(st.integers(shortest, LONGEST)) if "epochs" in told else None,
        "slot_schedule_factor": draw(st.sampled_from([1.0, 2.0, 3.0])) if "factor" in told else None,
    }


def rates(one):
    return [learning_rate(one, phase, epoch) for phase, epochs in one.phases() for epoch in range(epochs)]


def agreeing(first, second):
    """How many of their first entries are equal."""
    differ = (number for number, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)
    return next(differ, min(len(first), len(second)))


def shared(a, b):
    """How many epochs a forest trains once for both."""
    forest = plant([a, b], DIGESTS)
    assert_sound(forest, [a, b])
    return forest.epochs_alone - forest.epochs_shared


@given(schedules(), schedules())
@settings(max_examples=400)
def test_slot_phases_share_their_epochs_as_long_as_their_rates_agree(one, other):
    a, b = recipe(**one), recipe(**other)
    agree = agreeing(rates(a), rates(b))
    # Where a fall begins, its first epoch may have a rate that another schedule has, too: in one, or in both.
    assert agree - 2 <= shared(a, b) <= agree
    if one["slot_schedule"] == other["slot_schedule"] in ("constant", "steps"):
        assert shared(a, b) == agree


STEPS = [{"slot_schedule": "steps", "slot_schedule_epochs": at, "slot_schedule_factor": 0.1} for at in (20, 40, 60, 80)]


def test_steps_share_the_epochs_before_the_first_of_them():
    steps = [recipe(slot_epochs=100, **fields) for fields in STEPS]
    assert plant(steps, DIGESTS).epochs_shared == 80 + 80 + 60 + 40 + 20
    constant = recipe(slot_epochs=100, slot_schedule="constant")
    assert plant([*steps, constant], DIGESTS).epochs_shared == 100 + 80 + 60 + 40 + 20
    # A step that a phase does not come to is none, and one by 1 is none either.
    never = recipe(slot_epochs=100, **{**STEPS[0], "slot_schedule_epochs": 100})
    flat = recipe(slot_epochs=100, **{**STEPS[0], "slot_schedule_factor": 1.0})
    assert points(never, "d") == points(flat, "d") == points(constant, "d")


def test_cycles_share_the_first_of_them_and_the_epoch_after_it():
    restarts = {"slot_schedule": "warm_restarts", "slot_schedule_epochs": 25}
    two, three = (recipe(slot_epochs=200, slot_schedule_factor=factor, **restarts) for factor in (2.0, 3.0))
    cosine = recipe(slot_epochs=25, slot_schedule="cosine")
    assert plant([two, three, cosine], DIGESTS).epochs_shared == 26 + 2 * 174
    assert len(plant([two], DIGESTS).stages) == 1, "of the presets' cycles none ends a stage"


KINDS = {
    "constant": {"slot_schedule": "constant"},
    "steps": {"slot_schedule": "steps", "slot_schedule_epochs": 3, "slot_schedule_factor": 0.5},
    "steps of another factor": {"slot_schedule": "steps", "slot_schedule_epochs": 3, "slot_schedule_factor": 0.25},
    "cooldown": {"slot_schedule": "cooldown", "slot_schedule_epochs": 2},
    "staircase": {"slot_schedule": "staircase", "slot_schedule_epochs": 2, "slot_schedule_factor": 0.5},
    "cosine": {"slot_schedule": "cosine"},
    "warm restarts": {"slot_schedule": "warm_restarts", "slot_schedule_epochs": 3, "slot_schedule_factor": 2.0},
    "warm restarts, slower": {"slot_schedule": "warm_restarts", "slot_schedule_epochs": 3, "slot_schedule_factor": 3.0},
}


def trained(**fields):
    none = {"slot_schedule_epochs": None, "slot_schedule_factor": None}
    return tiny_recipe(**{"method": "slot_machine", "finetune_epochs": 1, "slot_epochs": 6, **none, **fields})


def run(one, state=None):
    fresh = TrainingRun(one, data_for(one))
    if state is not None:
        fresh.load_state_dict(copied(state))
    return fresh


def same(first, second):
    """Whether two states are equal bit for bit, but for what their memory cost."""
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items() if name != "costs")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_trial_of_stages_that_others_trained_equals_one_alone_bit_for_bit(kind):
    """Every stage is trained by the recipe that the forest has for it, as a worker does."""
    own = trained(**KINDS[kind])
    others = [trained(**fields, slot_epochs=epochs) for fields in KINDS.values() for epochs in (4, 6, 7)]
    forest = plant([own, *others], DIGESTS)
    states = {}
    for key in forest.trials[0].stages:
        stage = forest.stages[key]
        going = run(stage.recipe, states.get(stage.parent))
        if stage.turns:
            going.turn_to("finetune")
        for _ in range(stage.epochs):
            going.train_epoch()
        states[key] = going.state_dict()
    alone = run(own)
    list(alone.epochs())
    assert same(alone.state_dict(), states[forest.trials[0].stages[-1]])
    if kind != "cosine":  # nobody else's cycle is as long
        assert any(forest.stages[key].recipe != own for key in forest.trials[0].stages)


@pytest.mark.parametrize("pair", [("constant", "steps"), ("steps", "steps of another factor"), ("constant", "cosine")])
def test_what_parts_was_trained_to_other_states(pair):
    """So that the tests above cannot pass because training did not depend on the rate."""
    first, second = (run(trained(**KINDS[kind])) for kind in pair)
    agree = agreeing(*(rates(one.recipe) for one in (first, second)))
    for epoch in range(1, 7):
        first.train_epoch()
        second.train_epoch()
        assert same(first.state_dict(), second.state_dict()) is (epoch <= agree)


class Earlier(MemoryStore):
    """A store of a version that told stages by the fields of schedules."""

    def __init__(self, *recipes):
        super().__init__()
        for one in recipes:
            for point in earlier_points(one, DIGESTS[one.dataset])[-1]:
                self.held.setdefault(point.lineage, {})[point.epoch] = point.begin


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_earlier_versions_stored_is_found_and_gone_on_from(kind):
    seeds = [recipe(slot_epochs=9, finetune_epochs=epochs, seed=7, **KINDS[kind]) for epochs in (0, 4)]
    forest = plant(seeds, DIGESTS, Earlier(*seeds))
    assert forest.epochs_left == 0
    begun = plant(seeds, DIGESTS, Earlier(seeds[0]))
    assert begun.epochs_left == 4, "the slot phase is there"
    more = plant([*seeds, recipe(slot_epochs=9, seed=8, **KINDS[kind])], DIGESTS, Earlier(*seeds))
    assert more.epochs_left == 9
    assert more.trials[-1].stages[-1] == points(more.trials[-1].recipe, DIGESTS["digits"])[-1].key


def test_a_forest_grows_beside_trials_that_have_keys_of_earlier_versions():
    old = recipe(slot_epochs=9, **KINDS["steps"])
    store = Earlier(old)
    forest = plant([old], DIGESTS, store)
    grown = grow(forest, [recipe(slot_epochs=9, finetune_epochs=2, **KINDS["steps"])], DIGESTS, store)
    assert (grown.epochs_left, grown.trials[0]) == (2, forest.trials[0])


def test_a_field_that_does_nothing_parts_no_trials():
    ranges = [recipe(score_range_conv=value) for value in (1.0, 0.5, 0.1)]
    assert plant(ranges, DIGESTS).epochs_shared == 4
    assert len({one.arm_hash() for one in ranges}) == 3, "they stay arms of their own"
    conv = [recipe(network="conv2", dataset="cifar10", score_range_conv=value) for value in (1.0, 0.5)]
    assert plant(conv, {"cifar10": "d"}).epochs_shared == 8
    first, second = (run(trained(**KINDS["constant"], score_range_conv=value)) for value in (1.0, 0.5))
    for _ in zip(first.epochs(), second.epochs(), strict=True):
        assert same(first.state_dict(), second.state_dict())
