"""Searches, rungs and limits on the scheduler that releases stages, without training."""

import pytest

from search_spaces.spec import Limits, Rungs
from sweeper.stages.faults import Failure, Fault
from sweeper.stages.status import Status
from tests.sweeper.launch.fake_launch import FakeLaunch, FakeStore
from tests.sweeper.stages.test_forest import recipe

NO = Failure(Fault.BUG, "no", "a.py:1")
DIVERGED = Failure(Fault.NOT_A_NUMBER, "not a number")


class ListedSearch:
    """Asks for these points, each with its seeds, and writes down what it is told."""

    def __init__(self, *points):
        self.points = list(points)
        self.open = []
        self.told = {}

    @property
    def exhausted(self):
        return not self.points

    def left(self):
        return [len(self.points)]

    def ask(self):
        recipes = self.points.pop(0)
        self.open.append(recipes[0].arm_hash())
        return recipes

    def unsettled(self):
        return list(self.open)

    def tell(self, arm, results, rungs):
        self.open.remove(arm)
        self.told[arm] = ([result.status for result in results], rungs)

    def number(self, arm):
        return 7


def seeds(count=2, **fields):
    return [recipe(seed=seed, **fields) for seed in range(count)]


def statuses(launch):
    return [launch.status(trial) for trial in launch.forest.trials]


# Searches


def test_a_search_is_asked_once_nothing_else_is_ready_and_told_once_all_seeds_ended():
    search = ListedSearch(seeds(slot_epochs=3), seeds(slot_epochs=3, finetune_epochs=2), seeds(options=4))
    launch = FakeLaunch(seeds(method="learned", slot_epochs=0, finetune_epochs=3), search=search)
    first = [launch.next_order(), launch.next_order()]
    assert len(launch.forest.trials) == 2 and not search.open
    launch.next_order()
    assert len(launch.forest.trials) == 4 and len(search.open) == 1
    for order in first:
        launch.finish(order.stage["key"])
    assert search.told == {}
    launch.run(workers=3) if not launch.schedule.running else [launch.finish(key) for key in launch.schedule.running]
    launch.run(workers=3)
    assert search.exhausted and search.open == []
    assert [states for states, _ in search.told.values()] == [[Status.COMPLETED] * 2] * 3
    assert launch.sweep_status() is Status.COMPLETED
    assert launch.result(2).search_trial == 7


def test_points_of_a_search_share_stages_that_have_run():
    search = ListedSearch([recipe(slot_epochs=6)], [recipe(slot_epochs=4, finetune_epochs=2)])
    launch = FakeLaunch([], search=search)
    launch.run()
    assert sum(stage.epochs for stage in launch.forest.stages.values()) == 8
    assert launch.forest.epochs_alone == 12


def test_a_failed_seed_makes_its_point_fail_and_a_point_that_is_stored_costs_nothing():
    store = FakeStore()
    FakeLaunch(seeds(slot_epochs=3), store=store).run()
    search = ListedSearch(seeds(slot_epochs=3), seeds(slot_epochs=5))
    launch = FakeLaunch([], search=search, store=store)
    order = launch.next_order()
    assert list(search.told.values()) == [([Status.COMPLETED] * 2, {})]
    launch.fail(order.stage["key"], DIVERGED)
    launch.run()
    assert sorted(next(reversed(search.told.values()))[0]) == [Status.COMPLETED, Status.FAILED]
    assert launch.sweep_status() is Status.FAILED


def test_nothing_is_asked_for_while_a_stage_waits_to_run_alone():
    search = ListedSearch([recipe(slot_epochs=3)])
    launch = FakeLaunch(seeds(slot_epochs=2), search=search)
    one, other = launch.next_order(), launch.next_order()
    launch.fail(one.stage["key"], Failure(Fault.OUT_OF_MEMORY, "full"))
    assert launch.next_order() is None and not search.exhausted
    launch.finish(other.stage["key"])
    launch.finish(launch.next_order().stage["key"])  # what goes on from it
    assert launch.next_order().stage["key"] == one.stage["key"]
    assert not search.exhausted


# Rungs

RUNGS = Rungs(rule="asha", epochs=[2, 4], reduction=2, min_trials=1)


def by_options(recipe, epoch):
    return recipe.options / 100


def test_arms_that_do_badly_stop_with_all_their_seeds_and_keep_their_curve_and_cost():
    arms = [one for options in (8, 4, 16) for one in seeds(options=options, slot_epochs=6)]
    launch = FakeLaunch(arms, rungs=RUNGS, accuracy=by_options)
    launch.run()
    assert statuses(launch) == [Status.COMPLETED] * 2 + [Status.STOPPED_EARLY] * 2 + [Status.COMPLETED] * 2
    stopped = launch.result(2)
    assert len(stopped.epochs) == 2 and stopped.finals["epochs"] == 2.0 and "test_accuracy" not in stopped.finals
    assert not stopped.is_final
    assert launch.sweep_status() is Status.COMPLETED
    assert launch.schedule.epochs_left() == 0


def test_a_seed_waits_at_the_rung_for_the_others_and_not_for_one_that_failed():
    launch = FakeLaunch(seeds(slot_epochs=6), rungs=RUNGS)
    first, second = launch.next_order().stage["key"], launch.next_order().stage["key"]
    launch.finish(first)
    assert launch.next_order() is None and not launch.is_over
    launch.fail(second, NO)
    assert launch.next_order().stage["start"] == 2


def test_a_shared_stage_runs_on_as_long_as_one_of_its_trials_does():
    splits = [recipe(slot_epochs=4, finetune_epochs=2), recipe(slot_epochs=6)]
    better = recipe(slot_epochs=6, options=16)

    def accuracy(recipe, epoch):
        return 0.1 if recipe.finetune_epochs else recipe.options / 100

    late = Rungs(rule="asha", epochs=[2, 5], reduction=2, min_trials=1)
    launch = FakeLaunch([better, *splits], rungs=late, accuracy=accuracy)
    launch.run()
    # At epoch 2 the two splits are one, and are stopped together.
    assert statuses(launch) == [Status.COMPLETED, Status.STOPPED_EARLY, Status.STOPPED_EARLY]
    only_late = Rungs(rule="asha", epochs=[5], reduction=2, min_trials=1)
    launch = FakeLaunch([splits[1], splits[0]], rungs=only_late, accuracy=lambda recipe, epoch: 0.1)
    launch.run()
    shared = launch.forest.trials[0].stages[0]
    assert launch.schedule.status(shared) == "done" and len(launch.records[shared].epochs) == 4


def test_what_was_decided_holds_in_the_next_launch_and_goes_on_without_rungs(tmp_path):
    arms = [recipe(options=options, slot_epochs=6) for options in (8, 4)]
    store = FakeStore()
    FakeLaunch(arms, rungs=RUNGS, accuracy=by_options, store=store, folder=tmp_path).run()
    again = FakeLaunch(arms, rungs=RUNGS, accuracy=by_options, store=store, folder=tmp_path)
    assert again.is_over
    assert statuses(again) == [Status.COMPLETED, Status.STOPPED_EARLY]
    without = FakeLaunch(arms, accuracy=by_options, store=store)
    without.run()
    assert statuses(without) == [Status.COMPLETED] * 2


def test_what_was_decided_of_arms_that_no_longer_belong_competes_with_nobody(tmp_path):
    better, worse = ([recipe(options=options, slot_epochs=6) for options in of] for of in ((64, 32, 48), (8, 4, 16)))
    alone = FakeLaunch(worse, rungs=RUNGS, accuracy=by_options)
    alone.run()
    FakeLaunch(better, rungs=RUNGS, accuracy=by_options, folder=tmp_path).run()
    after = FakeLaunch(worse, rungs=RUNGS, accuracy=by_options, folder=tmp_path)
    after.run()
    assert Status.COMPLETED in statuses(alone) and statuses(after) == statuses(alone)


def test_a_search_is_told_of_what_rungs_stopped_with_the_accuracies_there():
    points = [[recipe(options=options, slot_epochs=6)] for options in (8, 4)]
    search = ListedSearch(*points)
    launch = FakeLaunch([], search=search, rungs=RUNGS, accuracy=by_options)
    launch.run()
    (completed, first), (stopped, second) = search.told.values()
    assert (completed, stopped) == ([Status.COMPLETED], [Status.STOPPED_EARLY])
    assert first == {2: pytest.approx(0.08), 4: pytest.approx(0.08)} and second == {2: pytest.approx(0.04)}


# Limits


def test_what_is_begun_is_finished_and_what_does_not_fit_is_told_by_arm():
    launch = FakeLaunch([recipe(slot_epochs=4, seed=seed) for seed in range(5)], Limits(epochs=10))
    assert len(launch.run(workers=2)) == 2
    assert launch.limits_reached == ["epochs: 10"]
    assert list(launch.not_run().values()) == [3]
    assert launch.sweep_status() is Status.STOPPED_EARLY
    assert statuses(launch) == [Status.COMPLETED] * 2 + [Status.PENDING] * 3


def test_a_shorter_trial_that_still_fits_is_taken_instead():
    launch = FakeLaunch([recipe(slot_epochs=6), recipe(slot_epochs=9, seed=1), recipe(slot_epochs=3, seed=2)],
                        Limits(epochs=9))  # fmt: skip
    launch.run()
    assert statuses(launch) == [Status.COMPLETED, Status.PENDING, Status.COMPLETED]


def test_limits_count_over_launches_and_what_another_sweep_trained_costs_nothing():
    recipes = [recipe(slot_epochs=4, seed=seed) for seed in range(4)]
    store = FakeStore()
    FakeLaunch(recipes[:1], store=store).run()
    launch = FakeLaunch(recipes, Limits(epochs=8, trials=3), store=store)
    launch.run()
    assert statuses(launch) == [Status.COMPLETED] * 2 + [Status.PENDING] * 2  # the first was its own, too
    others = FakeStore()
    another = FakeLaunch(recipes[:1], store=others)
    another.sweep = "another"
    another.run()
    launch = FakeLaunch(recipes, Limits(epochs=8), store=others)
    launch.run()
    assert statuses(launch) == [Status.COMPLETED] * 3 + [Status.PENDING]


@pytest.mark.parametrize(("limits", "completed"), [(Limits(trials=2), 2), (Limits(flops=900.0), 2), (Limits(), 4)])
def test_trials_and_flops_are_limits_too(limits, completed):
    launch = FakeLaunch([recipe(slot_epochs=4, seed=seed) for seed in range(4)], limits)
    launch.run()
    assert statuses(launch).count(Status.COMPLETED) == completed
    assert bool(launch.limits_reached) is (completed < 4)


def test_what_rungs_stop_makes_room_within_the_limits():
    arms = [recipe(options=options, slot_epochs=6) for options in (16, 4, 3, 2)]
    launch = FakeLaunch(arms, Limits(epochs=14), RUNGS, accuracy=by_options)
    launch.run()
    assert statuses(launch) == [Status.COMPLETED, Status.STOPPED_EARLY, Status.STOPPED_EARLY, Status.PENDING]


def test_a_search_stops_at_the_limit_and_what_did_not_fit_waits_for_a_higher_one():
    search = ListedSearch(*([recipe(slot_epochs=4, seed=seed)] for seed in range(5)))
    launch = FakeLaunch([], Limits(epochs=9), search=search)
    launch.run()
    assert statuses(launch) == [Status.COMPLETED] * 2 + [Status.PENDING]
    assert len(search.points) == 2
    assert launch.sweep_status() is Status.STOPPED_EARLY
    search = ListedSearch(*([recipe(slot_epochs=4, seed=seed)] for seed in range(5)))
    launch = FakeLaunch([], Limits(trials=2), search=search)
    launch.run()
    assert len(search.points) == 3 and launch.limits_reached == ["trials: 2"]


def test_stages_that_take_much_longer_than_estimated_are_saved_where_they_are():
    from sweeper.launch.orders import Step

    launch = FakeLaunch([recipe(slot_epochs=4)], Limits(device_hours=6 / 3600))
    key = launch.next_order().stage["key"]
    launch.take(key, Step([{"train_seconds": 3.0, "evaluation_seconds": 0.0}], 0))
    assert not launch.stop_requested
    launch.take(key, Step([{"train_seconds": 3.5, "evaluation_seconds": 0.0}], 0))
    assert launch.stop_requested
    assert launch.out_of.startswith("device_hours")


def test_what_a_lost_attempt_had_saved_is_spent_once_and_not_reserved_again():
    from sweeper.launch.orders import Step

    epochs = [{"train_seconds": 0.75, "evaluation_seconds": 0.25} for _ in range(10)]
    launch = FakeLaunch([recipe(slot_epochs=10)], Limits(epochs=11))
    key = launch.next_order().stage["key"]
    launch.take(key, Step(epochs[:6], 5))
    launch.fail(key, Failure(Fault.INFRASTRUCTURE, "its worker process died"))
    assert launch.spent().epochs == 6
    launch.clock = lambda: 1e9
    assert launch.next_order().stage["key"] == key, "five more, and one that was lost"
    launch.take(key, Step(epochs[:7], 6))  # from the fifth on: the first step tells of those, too
    launch.fail(key, Failure(Fault.INFRASTRUCTURE, "its worker process died"))
    assert launch.spent().epochs == 8
    launch.clock = lambda: 2e9
    assert launch.next_order() is None, "four more would be twelve"
    assert launch.limits_reached == ["epochs: 11"]
