"""The schedule: every stage runs once, after its parent, and faults end as they should."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from sweeper.stages.faults import Failure, Fault
from sweeper.stages.planting import plant
from sweeper.stages.schedule import RetryRule, Schedule
from sweeper.stages.status import StageStatus, Status
from tests.sweeper.stages.forests import DIGESTS, recipe
from trainers.recipe.recipe import Recipe

FLAKY = Failure(Fault.INFRASTRUCTURE, "its worker process died")
FULL = Failure(Fault.OUT_OF_MEMORY, "out of memory")
DIVERGED = Failure(Fault.NOT_A_NUMBER, "not a number in epoch 3")


def bug(place="module.py:7"):
    return Failure(Fault.BUG, "ValueError: no", place)


def forest(splits=(2, 4), budget=6, seeds=1):
    recipes = [
        Recipe.complete(
            {
                "network": "lenet",
                "dataset": "digits",
                "method": "slot_machine",
                "seed": seed,
                "slot_epochs": split,
                "finetune_epochs": budget - split,
            }
        )
        for seed in range(seeds)
        for split in splits
    ]
    return plant(recipes, {"digits": "d"})


def run_all(schedule, seconds=0.0):
    """Runs everything one after the other; returns the order."""
    order = []
    while (stage := schedule.next_stage(seconds)) is not None:
        order.append(stage)
        schedule.finish(stage.key)
    return order


def test_every_stage_runs_once_and_after_its_parent():
    planted = forest(splits=(1, 2, 3, 6), seeds=2)
    order = run_all(Schedule(planted))
    assert sorted(stage.key for stage in order) == sorted(planted.stages)
    done = set()
    for stage in order:
        assert stage.parent is None or stage.parent in done
        done.add(stage.key)


@given(st.sets(st.integers(1, 9), min_size=1), st.randoms())
def test_what_a_forest_has_left_is_what_a_schedule_of_it_has(splits, chance):
    planted = forest(splits=sorted(splits), budget=9, seeds=2)
    keys = list(planted.stages)
    stored = {key for key in keys if chance.random() < 0.3}
    failed = {key: DIVERGED for key in keys if chance.random() < 0.2}
    assert replace(planted, stored=frozenset(stored)).left(failed) == Schedule(planted, stored, failed).left()


@given(st.lists(st.sets(st.integers(1, 9), min_size=1), min_size=1, max_size=4), st.integers(1, 4), st.randoms())
def test_any_number_of_workers_ending_in_any_order_runs_every_stage_once(splits, workers, chance):
    planted = forest(splits=sorted(set().union(*splits)), budget=10, seeds=len(splits))
    schedule, running, ran = Schedule(planted), [], []
    while not schedule.is_over:
        while len(running) < workers and (stage := schedule.next_stage(0.0)):
            assert stage.parent is None or schedule.status(stage.parent) is StageStatus.DONE
            running.append(stage.key)
            ran.append(stage.key)
        schedule.finish(running.pop(chance.randrange(len(running))))
    assert sorted(ran) == sorted(planted.stages)
    assert {schedule.trial_status(trial) for trial in planted.trials} == {Status.COMPLETED}


def test_arms_get_the_first_half_of_their_seeds_evenly_then_the_longest_goes_first():
    arms = [(2, 6), (4, 2)]  # options, epochs
    planted = plant([recipe(options=k, slot_epochs=n, seed=s) for k, n in arms for s in (7, 1, 5, 3)], DIGESTS)
    schedule, order = Schedule(planted), []
    while (stage := schedule.next_stage(0.0)) is not None:
        order.append((stage.recipe.options, stage.recipe.seed))
        schedule.finish(stage.key)
    assert order == [(2, 7), (4, 7), (2, 1), (4, 1), (2, 5), (2, 3), (4, 5), (4, 3)]


def test_the_longest_remaining_path_goes_first():
    planted = forest(splits=(2, 4), budget=6)
    schedule = Schedule(planted)
    run = {stage.key: stage for stage in [schedule.next_stage(0.0)]}
    schedule.finish(*run)
    first, second = schedule.next_stage(0.0), schedule.next_stage(0.0)
    # Both paths have 4 epochs left; then the one that was cut later has less.
    assert schedule.remaining_cost(first.key) == schedule.remaining_cost(second.key) == 4
    uneven = forest(splits=(1,), budget=3).stages | forest(splits=(9,), budget=20).stages
    schedule = Schedule(type(planted)(uneven, [], 0, 0))
    assert schedule.next_stage(0.0).end == 9


def test_what_is_stored_is_not_run_again():
    planted = forest(splits=(2, 4))
    first = next(iter(planted.stages))
    order = run_all(Schedule(planted, done=[first]))
    assert first not in {stage.key for stage in order}
    assert len(order) == len(planted.stages) - 1


def test_infrastructure_faults_are_retried_after_pauses_that_double_and_then_no_more():
    planted = forest(splits=(6,))
    schedule = Schedule(planted, rule=RetryRule(max_retries=3, back_off_seconds=2.0))
    key, now = next(iter(planted.stages)), 0.0
    for pause in (2.0, 4.0, 8.0):
        assert schedule.next_stage(now).key == key
        assert schedule.fail(key, FLAKY, now)
        assert schedule.next_stage(now + pause - 0.1) is None
        assert not schedule.is_over
        now += pause
    assert schedule.next_stage(now).key == key
    assert not schedule.fail(key, FLAKY, now)
    assert schedule.is_over
    assert schedule.trial_status(planted.trials[0]) is Status.FAILED


def test_out_of_memory_is_tried_once_more_while_nothing_else_runs():
    planted = forest(splits=(6,), seeds=3)
    schedule = Schedule(planted)
    first, second = schedule.next_stage(0.0), schedule.next_stage(0.0)
    assert schedule.fail(first.key, FULL, 0.0)
    third = schedule.next_stage(0.0)
    assert third.key not in (first.key, second.key)
    schedule.finish(second.key)
    assert schedule.next_stage(0.0) is None  # the third still runs
    schedule.finish(third.key)
    assert schedule.next_stage(0.0).key == first.key
    assert not schedule.fail(first.key, FULL, 0.0)
    assert schedule.is_over


def test_nothing_starts_beside_a_stage_that_is_to_run_alone():
    planted = forest(splits=(2, 6), seeds=1)
    schedule = Schedule(planted)
    first = schedule.next_stage(0.0)
    schedule.fail(first.key, FULL, 0.0)
    assert schedule.next_stage(0.0).key == first.key
    assert schedule.next_stage(0.0) is None
    schedule.finish(first.key)
    assert schedule.next_stage(0.0) is not None
    assert schedule.next_stage(0.0) is not None


def test_a_stage_lost_or_held_back_before_it_ran_alone_runs_alone_the_next_time():
    for interrupted in ("lost", "held back"):
        schedule = Schedule(forest(splits=(6,), seeds=3))
        first = schedule.next_stage(0.0)
        schedule.fail(first.key, FULL, 0.0)
        for _ in range(2):
            schedule.finish(schedule.next_stage(0.0).key)
        assert schedule.next_stage(0.0).key == first.key
        if interrupted == "lost":
            assert schedule.fail(first.key, FLAKY, 0.0)
        else:
            schedule.withhold(first.key)
            schedule.release([first.key])
        schedule.grow(forest(splits=(6,), seeds=5))
        others = [schedule.next_stage(9.0), schedule.next_stage(9.0)]
        assert first.key not in {stage.key for stage in others}
        assert schedule.next_stage(9.0) is None, "the others still run"
        for stage in others:
            schedule.finish(stage.key)
        assert schedule.next_stage(9.0).key == first.key
        schedule.finish(first.key)
        assert schedule.is_over


def test_not_a_number_and_bugs_are_never_retried_and_end_only_their_descendants():
    for failure in (DIVERGED, bug()):
        planted = forest(splits=(2, 4), seeds=2)
        schedule = Schedule(planted)
        failing = schedule.next_stage(0.0)
        assert not schedule.fail(failing.key, failure, 0.0)
        run_all(schedule)
        assert schedule.is_over
        for trial in planted.trials:
            lost = failing.key in trial.stages
            assert schedule.trial_status(trial) is (Status.FAILED if lost else Status.COMPLETED)
            assert schedule.trial_failure(trial) == (failure if lost else None)


def test_the_sweep_stops_when_most_stages_die_of_the_same_bug():
    planted = forest(splits=(6,), seeds=8)
    schedule = Schedule(planted, rule=RetryRule(same_bug_limit=3))
    for place in ("a.py:1", "b.py:2", "a.py:1"):
        schedule.fail(schedule.next_stage(0.0).key, bug(place), 0.0)
    assert schedule.next_stage(0.0) is not None  # two at one place, one at another
    schedule.fail(schedule.running.__iter__().__next__(), bug("a.py:1"), 0.0)
    assert schedule.next_stage(0.0) is None
    assert schedule.is_over
    assert "3 stages died of the same bug" in schedule.given_up
    damaged = Schedule(planted, rule=RetryRule(same_bug_limit=3))
    for image in ("a.jpg", "b.jpg", "a.jpg", "a.jpg"):
        assert not damaged.fail(damaged.next_stage(0.0).key, Failure(Fault.DAMAGED_DATA, image), 0.0)
    assert damaged.given_up == "3 stages died of the same damage, a.jpg"


def test_one_broken_arm_does_not_stop_a_sweep_that_works():
    planted = forest(splits=(6,), seeds=9)
    schedule = Schedule(planted, rule=RetryRule(same_bug_limit=3))
    for _ in range(4):
        schedule.finish(schedule.next_stage(0.0).key)
    for _ in range(3):
        schedule.fail(schedule.next_stage(0.0).key, bug(), 0.0)
    assert not schedule.given_up
    assert len(run_all(schedule)) == 2


def test_a_failure_known_before_is_kept_with_its_descendants():
    planted = forest(splits=(2, 4))
    root = next(key for key, stage in planted.stages.items() if stage.parent is None)
    schedule = Schedule(planted, failed={root: DIVERGED})
    assert schedule.is_over
    assert schedule.epochs_left() == 0
    assert {schedule.trial_failure(trial) for trial in planted.trials} == {DIVERGED}


def test_a_trial_runs_from_its_first_shared_stage_on():
    planted = forest(splits=(2, 4))
    schedule = Schedule(planted)
    assert {schedule.trial_status(trial) for trial in planted.trials} == {Status.PENDING}
    root = schedule.next_stage(0.0)
    assert {schedule.trial_status(trial) for trial in planted.trials} == {Status.RUNNING}
    schedule.finish(root.key)
    assert {schedule.trial_status(trial) for trial in planted.trials} == {Status.RUNNING}
    assert schedule.epochs_left() == planted.epochs_shared - 2
