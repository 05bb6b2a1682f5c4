"""Limits: reserved before they are spent, never passed, and what they left out is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.spec import Limits
from sweeper.search.limits import MARGIN, Account, Amount
from sweeper.stages.faults import Failure, Fault
from sweeper.stages.planting import plant
from sweeper.stages.status import Status
from tests.sweeper.launch.fake_launch import FakeLaunch, Guess
from tests.sweeper.stages.forests import DIGESTS, recipe


def stages(*splits, budget=10):
    forest = plant([recipe(slot_epochs=split, finetune_epochs=budget - split) for split in splits], DIGESTS)
    return [[forest.stages[key] for key in trial.stages] for trial in forest.trials]


def account(seconds=1.0, **limits):
    return Account(Limits(**limits), Guess(seconds))


def test_a_trial_is_taken_on_with_all_it_needs_and_shared_stages_are_promised_once():
    first, second, third = stages(4, 6, 8)
    kept = account(epochs=16)
    assert kept.take_on(first)  # 4 + 6
    assert kept.take_on(second)  # 2 + 4 more
    assert not kept.take_on(third)  # 2 + 2 more
    assert kept.reached == ["epochs: 16"]
    assert kept.trials == 2


def test_what_takes_longer_than_estimated_is_estimated_longer_from_then_on():
    (first, second), _ = stages(4, 6)
    kept = account(device_hours=1)
    assert kept.price(second).seconds == pytest.approx(6 * MARGIN)
    kept.finished(first, Amount(4, 400, 8.0))
    assert kept.price(second).seconds == pytest.approx(2 * 6 * MARGIN)


def test_of_a_stage_on_its_way_the_rest_is_promised_and_what_is_saved_is_spent():
    ((stage,),) = stages(10)
    kept = account(epochs=10, flops=1000)
    kept.spent[stage.key] = Amount(4, 400, 4.0)
    assert kept.price(stage) == Amount(6, 600, pytest.approx(6 * MARGIN))
    assert kept.take_on([stage])
    assert kept.may_start(stage, [])


def test_epochs_of_a_lost_attempt_count_and_can_keep_another_from_starting():
    ((stage,),) = stages(10)
    kept = account(epochs=12)
    assert kept.take_on([stage]) and kept.may_start(stage, [])
    kept.lose(stage, 3, 3.0)
    assert kept.all_spent() == Amount(3, 300, 3.0)
    assert not kept.may_start(stage, [])


def test_hours_count_by_the_share_of_a_device_and_by_the_wall():
    ((stage,),) = stages(10)
    quarter = Account(Limits(device_hours=10 * MARGIN / 4 / 3600), Guess(), devices_per_trial=0.25)
    assert quarter.take_on([stage])
    whole = account(device_hours=10 * MARGIN / 4 / 3600)
    assert not whole.take_on([stage])
    late = Account(Limits(wall_hours=1), Guess(), wall_seconds=lambda: 3590.0)
    assert not late.take_on([stage])
    assert late.reached == ["wall_hours: 1"]


def test_where_nobody_can_tell_how_long_a_stage_takes_it_starts_and_is_watched():
    ((stage,),) = stages(10)
    kept = account(None, device_hours=5 / 3600)
    assert kept.take_on([stage])
    assert kept.exceeded(4.0) is None
    assert kept.exceeded(5.1) == "device_hours: 0.00138889"


@given(
    st.integers(1, 60),
    st.lists(st.integers(1, 10), min_size=1, max_size=8, unique=True),
    st.integers(1, 3),
    st.randoms(use_true_random=False),
)
def test_no_limit_of_epochs_is_ever_passed_and_all_that_fits_in_order_is_trained(limit, splits, workers, random):
    recipes = [recipe(slot_epochs=split, finetune_epochs=10 - split) for split in splits]
    launch = FakeLaunch(recipes, Limits(epochs=limit))
    running, trained = [], 0
    while not launch.is_over:
        while len(running) < workers and (order := launch.next_order()):
            running.append(order.stage["key"])
            assert trained + sum(launch.forest.stages[key].epochs for key in running) <= limit
        if running:
            key = running.pop(random.randrange(len(running)))
            if random.random() < 0.1:
                launch.fail(key, Failure(Fault.BUG, "no", "a.py:1"))
            else:
                trained += launch.forest.stages[key].epochs
                launch.finish(key)
    ended = [trial for trial in launch.forest.trials if launch.status(trial) in (Status.COMPLETED, Status.FAILED)]
    assert launch.records.keys() <= {key for trial in ended for key in trial.stages}, "what was begun was finished"
    if launch.not_run():
        assert launch.limits_reached == [f"epochs: {limit}"]
