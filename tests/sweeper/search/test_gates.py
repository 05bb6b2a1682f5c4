"""What pauses at rungs goes on when it is among the best, and what never is has been stopped in the end."""

import pytest

from search_spaces.spec import Limits, Rungs
from sweeper.search.rungs import RungBook
from sweeper.stages.faults import Failure, Fault
from sweeper.stages.status import Status
from sweeper.storage.folder import Folder
from tests.sweeper.launch.fake_launch import FakeLaunch, FakeStore
from tests.sweeper.stages.forests import recipe

ASHA = Rungs(rule="asha", epochs=[2], reduction=2, min_trials=1)
SYNCHRONOUS = Rungs(rule="synchronous", epochs=[2], reduction=2)
STOP = Rungs(rule="stop", epochs=[2], reduction=2, min_trials=1)
NO = Failure(Fault.BUG, "no", "a.py:1")


def by_options(recipe, epoch):
    return recipe.options / 100


def arms(*options, epochs=6, **more):
    return [recipe(options=number, slot_epochs=epochs, **more) for number in options]


def completed(launch):
    trials = launch.forest.trials
    return {trial.recipe.options for trial in trials if launch.status(trial) is Status.COMPLETED}


def run(rungs, options, workers=1):
    launch = FakeLaunch(arms(*options), rungs=rungs, accuracy=by_options)
    launch.run(workers)
    assert {launch.status(trial) for trial in launch.forest.trials} <= {Status.COMPLETED, Status.STOPPED_EARLY}
    assert launch.sweep_status() is Status.COMPLETED and launch.schedule.epochs_left() == 0
    return launch


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("rungs", [ASHA, SYNCHRONOUS], ids=["asha", "synchronous"])
def test_of_17_arms_the_best_8_complete_in_whatever_order_they_come(rungs, workers):
    options = list(range(2, 19))
    for order in (options, options[::-1], [*options[1::2], *options[::2]]):
        found = completed(run(rungs, order, workers))
        assert found >= set(options[-8:])
        assert len(found) == 8 or (rungs is ASHA and len(found) < 8 + workers), "a free worker waits for nobody"


def test_by_the_stopping_rule_the_order_decides():
    options = list(range(2, 19))
    assert [len(completed(run(STOP, order))) for order in (options, options[::-1])] == [17, 1]


def test_what_pauses_goes_on_once_others_that_came_later_make_it_one_of_the_best():
    launch = FakeLaunch(arms(8, 4, 3, 2), rungs=ASHA, accuracy=by_options)
    gone_on = []
    while order := launch.next_order():
        gone_on += [order.stage["recipe"]["options"]] if order.stage["start"] else []
        launch.finish(order.stage["key"])
    assert sorted(gone_on) == [4, 8], "the stopping rule stops 4 for good, for it comes second"


def test_few_arms_leave_one_and_a_second_rung_judges_those_that_came_to_it():
    two = Rungs(rule="asha", epochs=[2, 4], reduction=4, min_trials=4)
    launch = run(two, [3, 5, 4])
    assert completed(launch) == {5}
    assert sum(len(record.epochs) for record in launch.records.values()) == 3 * 2 + 4
    launch = run(two, range(2, 34))
    assert completed(launch) == {33, 32}
    assert sum(len(record.epochs) for record in launch.records.values()) == 32 * 2 + 8 * 2 + 2 * 2


def test_a_rung_at_which_all_seeds_failed_stops_nobody_else():
    launch = FakeLaunch(arms(4, 8), rungs=SYNCHRONOUS, accuracy=by_options)
    launch.fail(launch.next_order().stage["key"], NO)
    launch.run()
    assert completed(launch) == {8}


def test_what_paused_goes_on_in_a_later_launch_whose_arms_are_more(tmp_path):
    store = FakeStore()
    first = FakeLaunch(arms(8, 6, 4), rungs=ASHA, accuracy=by_options, store=store, folder=tmp_path)
    first.run()
    assert completed(first) == {8} and first.sweep_status() is Status.COMPLETED
    kept = set(store.records)
    same = FakeLaunch(arms(8, 6, 4), rungs=ASHA, accuracy=by_options, store=store, folder=tmp_path)
    same.run()
    assert completed(same) == {8} and set(store.records) == kept
    more = FakeLaunch(arms(8, 6, 4, 2), rungs=ASHA, accuracy=by_options, store=store, folder=tmp_path)
    more.run()
    assert completed(more) == {8, 6}
    assert kept < set(store.records)


def test_who_only_looks_on_sees_what_the_launch_left(tmp_path):
    store = FakeStore()
    launch = FakeLaunch(arms(8, 6, 4), rungs=ASHA, accuracy=by_options, store=store, folder=tmp_path)
    for _ in range(2):
        launch.finish(launch.next_order().stage["key"])
    look = FakeLaunch(arms(8, 6, 4), rungs=ASHA, store=store, folder=tmp_path, read_only=True)
    assert [look.status(trial) for trial in look.forest.trials] == [Status.STOPPED_EARLY] * 2 + [Status.PENDING]
    launch.run()
    look = FakeLaunch(arms(8, 6, 4), rungs=ASHA, store=store, folder=tmp_path, read_only=True)
    assert [look.status(trial) for trial in look.forest.trials] == [Status.COMPLETED] + [Status.STOPPED_EARLY] * 2


def test_what_was_decided_as_asha_before_holds_for_stop_and_pauses_for_asha(tmp_path):
    FakeLaunch(arms(8, 6), rungs=STOP, accuracy=by_options, folder=tmp_path).run()
    books = [RungBook(rungs, Folder(tmp_path)).judgements for rungs in (STOP, ASHA, SYNCHRONOUS)]
    assert [[one.goes_on for one in book.values()] for book in books] == [[True, False], [True, False], []]


# Cells of a search


class CellsOfSearch:
    """A search that has asked for everything, in two cells."""

    exhausted = True

    def __init__(self, cells):
        self.cells, self.paused = cells, {}

    def left(self):
        return [0, 0]

    def ask(self, fits):
        return []

    def unsettled(self):
        return []

    def pause(self, arm, rungs):
        self.paused[arm] = rungs

    def number(self, arm):
        return 0

    def cell(self, arm):
        return self.cells[arm]


def two_cells(rungs):
    """Ten points of each of two selections, which are three points of accuracy apart."""
    recipes = [
        recipe(options=number, slot_epochs=6, selection=selection)
        for number in range(2, 12)
        for selection in ("greedy", "probabilistic")
    ]
    search = CellsOfSearch({one.arm_hash(): one.selection for one in recipes})

    def accuracy(one, epoch):
        return one.options / 1000 + (0.03 if one.selection == "greedy" else 0.0)

    launch = FakeLaunch(recipes, rungs=rungs, search=search, accuracy=accuracy)
    launch.run()
    done = [trial.recipe for trial in launch.forest.trials if launch.status(trial) is Status.COMPLETED]
    assert len(search.paused) == (20 if rungs.pauses else 0)
    return sorted((one.selection, one.options) for one in done)


@pytest.mark.parametrize("rule", ["asha", "synchronous"])
def test_points_are_compared_within_their_cell_unless_the_spec_says_across(rule):
    within = Rungs(rule=rule, epochs=[2], reduction=5)
    assert two_cells(within) == [("greedy", 10), ("greedy", 11), ("probabilistic", 10), ("probabilistic", 11)]
    across = Rungs(rule=rule, epochs=[2], reduction=5, across=True)
    assert two_cells(across) == [("greedy", 8), ("greedy", 9), ("greedy", 10), ("greedy", 11)]


def test_the_median_is_that_of_the_cell():
    within = Rungs(rule="median", epochs=[2], min_trials=1)
    assert {selection for selection, _ in two_cells(within)} == {"greedy", "probabilistic"}
    assert len(two_cells(within)) == 20, "in ascending order nobody is below the median of those before"
    across = Rungs(rule="median", epochs=[2], min_trials=1, across=True)
    assert {selection for selection, _ in two_cells(across)} == {"greedy"}


def test_arms_of_several_cells_that_share_all_up_to_a_rung_go_on_together():
    """Two cells, of two splits: what one of them lets go on has to be trained for the other anyway."""
    recipes = [recipe(options=number, slot_epochs=split, finetune_epochs=6 - split)
               for number in (8, 6, 4, 2) for split in (4, 5)]  # fmt: skip
    search = CellsOfSearch({one.arm_hash(): str(one.slot_epochs) for one in recipes})
    launch = FakeLaunch(recipes, rungs=SYNCHRONOUS, search=search, accuracy=by_options)
    launch.run()
    assert completed(launch) == {8, 6}
    assert [launch.status(trial) for trial in launch.forest.trials] == (
        [Status.COMPLETED] * 4 + [Status.STOPPED_EARLY] * 4
    )


# Limits


def test_what_pauses_gives_its_promise_up_and_takes_it_back_when_it_goes_on():
    launch = FakeLaunch(arms(8, 7, 6, 5), Limits(epochs=8 + 4 + 4), ASHA, accuracy=by_options)
    launch.run()
    assert completed(launch) == {8, 7}
    assert {launch.status(trial) for trial in launch.forest.trials} == {Status.COMPLETED, Status.STOPPED_EARLY}
    assert launch.limits_reached == []


def test_with_little_left_the_best_of_those_that_came_is_completed():
    launch = FakeLaunch(arms(4, 8, 7, 6), Limits(epochs=9), SYNCHRONOUS, accuracy=by_options)
    launch.run()
    assert completed(launch) == {8}
    assert launch.spent().epochs == 8
    assert [launch.status(trial) for trial in launch.forest.trials][2:] == [Status.PENDING] * 2
