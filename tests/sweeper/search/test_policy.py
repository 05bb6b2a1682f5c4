"""Searches, rungs and limits on the scheduler that releases stages, without training."""

import pytest

from search_spaces.spec import Limits, Rungs
from sweeper.records.trial_result import arm_results
from sweeper.stages.faults import Failure, Fault
from sweeper.stages.status import Status
from tests.sweeper.launch.fake_launch import FakeLaunch, FakeStore
from tests.sweeper.stages.forests import recipe

NO = Failure(Fault.BUG, "no", "a.py:1")
DIVERGED = Failure(Fault.NOT_A_NUMBER, "not a number")


class ListedSearch:
    """Asks for these points, each with its seeds, and writes down what it is told."""

    def __init__(self, *points):
        self.points = list(points)
        self.open = []
        self.told = {}
        self.paused = {}
        self.cells = {}

    @property
    def exhausted(self):
        return not self.points

    def left(self):
        return [len(self.points)]

    def ask(self, fits):
        recipes = next((point for point in self.points if fits(point)), None)
        if recipes is None:
            return []
        self.points.remove(recipes)
        self.open.append(recipes[0].arm_hash())
        return recipes

    def unsettled(self):
        return list(self.open)

    def tell(self, arm, results, rungs):
        self.open.remove(arm)
        self.told[arm] = ([result.status for result in results], rungs)

    def pause(self, arm, rungs):
        self.paused[arm] = rungs

    def number(self, arm):
        return 7 if arm in self.open or arm in self.told else None

    def cell(self, arm):
        return self.cells.get(arm, "")


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


def test_of_a_point_that_diverged_no_more_seeds_begin_and_a_stored_one_costs_nothing():
    store = FakeStore()
    FakeLaunch(seeds(slot_epochs=3), store=store).run()
    search = ListedSearch(seeds(slot_epochs=3), seeds(slot_epochs=5))
    launch = FakeLaunch([], search=search, store=store)
    order = launch.next_order()
    assert list(search.told.values()) == [([Status.COMPLETED] * 2, {})]
    launch.fail(order.stage["key"], DIVERGED)
    launch.run()
    assert sorted(next(reversed(search.told.values()))[0]) == [Status.FAILED, Status.STOPPED_EARLY]
    again = FakeLaunch(seeds(slot_epochs=5), search=search, store=store)
    assert again.next_order() is None and search.points == []
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

RUNGS = Rungs(rule="stop", epochs=[2, 4], reduction=2, min_trials=1)


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

    late = Rungs(rule="stop", epochs=[2, 5], reduction=2, min_trials=1)
    launch = FakeLaunch([better, *splits], rungs=late, accuracy=accuracy)
    launch.run()
    # At epoch 2 the two splits are one, and are stopped together.
    assert statuses(launch) == [Status.COMPLETED, Status.STOPPED_EARLY, Status.STOPPED_EARLY]
    only_late = Rungs(rule="stop", epochs=[5], reduction=2, min_trials=1)
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
    assert statuses(launch) == [Status.COMPLETED] * 2
    assert len(search.points) == 3 and launch.limits_reached == ["epochs: 9"]
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


def test_when_a_point_does_not_fit_smaller_ones_are_asked_for():
    search = ListedSearch(*([recipe(slot_epochs=length, seed=length)] for length in (5, 9, 8, 4)))
    launch = FakeLaunch([], Limits(epochs=10), search=search)
    launch.run()
    assert [trial.recipe.slot_epochs for trial in launch.forest.trials] == [5, 4]
    assert statuses(launch) == [Status.COMPLETED] * 2


@pytest.mark.parametrize("ruled", ["rungs", "search"])
def test_seeds_of_an_arm_are_taken_on_together_where_they_are_judged_together(ruled):
    arms = [one for options in (8, 4) for one in seeds(options=options, slot_epochs=6)]
    passing = Rungs(rule="stop", epochs=[2], reduction=2, min_trials=9)
    search = ListedSearch(arms[:2], arms[2:]) if ruled == "search" else None
    launch = FakeLaunch([] if search else arms, Limits(epochs=20), passing if ruled == "rungs" else None, search)
    launch.run(workers=2)
    assert statuses(launch)[:2] == [Status.COMPLETED] * 2 and len(launch.records) == (4 if ruled == "rungs" else 12)
    assert set(statuses(launch)[2:]) <= {Status.PENDING}, "a seed alone would have fitted"


def test_after_a_raised_limit_what_has_begun_comes_first():
    short, long = recipe(slot_epochs=4), recipe(slot_epochs=6, seed=1)
    store, rungs = FakeStore(), Rungs(rule="stop", epochs=[2], reduction=2, min_trials=9)
    FakeLaunch([long], rungs=rungs, store=store).finish(long_first(long, store, rungs))
    launch = FakeLaunch([short, long], Limits(epochs=6), rungs, store=store)
    launch.run()
    assert statuses(launch) == [Status.PENDING, Status.COMPLETED]


def long_first(one, store, rungs):
    return FakeLaunch([one], rungs=rungs, store=store).next_order().stage["key"]


def test_epochs_in_flight_count_so_that_a_limit_is_passed_by_one_epoch_at_most():
    from sweeper.launch.orders import Step

    launch = FakeLaunch([recipe(slot_epochs=4, seed=seed) for seed in range(3)], Limits(device_hours=17 / 3600))
    keys = [launch.next_order().stage["key"] for _ in range(3)]
    six = [{"train_seconds": 4.0, "evaluation_seconds": 0.0}]  # four times as long as estimated
    launch.take(keys[0], Step(six, 0))
    assert not launch.stop_requested, "4 s, and 4 for each of the epochs in flight: the others are as late"
    launch.take(keys[1], Step(six, 0))
    assert launch.stop_requested, "8 s, and 12 more"


def test_an_arm_with_a_seed_stored_beyond_the_rung_is_stopped_with_all_its_seeds():
    store = FakeStore()
    worse = seeds(options=4, slot_epochs=6)
    FakeLaunch(worse[:1], store=store, accuracy=by_options).run()
    launch = FakeLaunch([*seeds(options=8, slot_epochs=6), *worse], rungs=RUNGS, accuracy=by_options, store=store)
    launch.run()
    assert statuses(launch) == [Status.COMPLETED] * 2 + [Status.STOPPED_EARLY] * 2
    (mean,) = [arm for arm in arm_results(launch.results()) if arm.completed == 0]
    assert (mean.trials, mean.test_accuracies) == (2, ())
    assert not launch.result(2).is_final and len(launch.result(2).epochs) == 6
