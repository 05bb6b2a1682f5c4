"""A launch's bookkeeping: what is handed out, what is taken in, what is remembered."""

import re
from dataclasses import replace

import pytest

from reports.analysis.statistics import estimate
from search_spaces.expansion import expand
from search_spaces.loading import load_spec
from sweeper.cli.display import NowAndThen, shown
from sweeper.cli.progress import Progress
from sweeper.cli.summary import by_this_launch
from sweeper.launch.launch import Launch
from sweeper.launch.orders import Step
from sweeper.records.trial_result import arm_results, spent
from sweeper.stages.faults import Failure, Fault
from sweeper.stages.schedule import RetryRule
from sweeper.stages.status import StageStatus, Status
from sweeper.storage.base import StoreError
from tests.sweeper.small_sweeps import a_launch, train

FLAKY = Failure(Fault.INFRASTRUCTURE, "its worker process died")
BUG = Failure(Fault.BUG, "ValueError: no", "a.py:1")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Notes:
    """A watcher that writes down what it hears."""

    def __init__(self):
        self.heard = []

    def stage_started(self, stage):
        self.heard.append(("started", stage.key))

    def epochs_ended(self, stage, epochs):
        self.heard.append(("epochs", stage.key, len(epochs)))

    def stage_done(self, stage):
        self.heard.append(("done", stage.key))

    def stage_failed(self, stage, failure, again):
        self.heard.append(("failed", stage.key, again))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def launch(tiny, tmp_path, clock) -> Launch:
    return a_launch(tiny, tmp_path / "storage", clock=clock, rule=RetryRule(max_retries=1, back_off_seconds=2.0))


def epochs(count, start=0, seconds=2.0):
    timed = {"train_seconds": 0.75 * seconds, "evaluation_seconds": 0.25 * seconds}
    return [{"epoch": start + number + 1, **timed} for number in range(count)]


def test_watchers_hear_of_everything_once(launch):
    notes = Notes()
    launch.watchers.append(notes)
    key = launch.next_order().stage["key"]
    launch.take(key, Step(epochs(1), 0))
    train(launch, key)
    launch.take(key, Step([], launch.forest.stages[key].end, done=True))
    failing = launch.next_order().stage["key"]
    launch.take(failing, Step([], 0, done=True, failure=FLAKY))
    kinds = [(note[0], note[1]) for note in notes.heard]
    assert kinds == [("started", key), ("epochs", key), ("done", key), ("started", failing), ("failed", failing)]
    assert notes.heard[-1] == ("failed", failing, True)


def test_an_answer_that_comes_after_its_stage_was_given_up_changes_nothing(launch, clock):
    key = launch.next_order().stage["key"]
    launch.fail(key, FLAKY)
    launch.take(key, Step(epochs(1), 1, done=True))
    launch.fail(key, BUG)
    assert launch.schedule.failure(key) is None
    assert key not in launch.records


def test_only_saved_epochs_are_shown_to_others(launch):
    order = launch.next_order()
    key, start = order.stage["key"], order.stage["start"]
    launch.take(key, Step(epochs(2, start), start + 1))
    assert [epoch["epoch"] for epoch in launch.saved[key]] == [start + 1]


def test_a_stage_that_says_done_without_a_record_in_the_store_has_failed(launch, monkeypatch):
    key = launch.next_order().stage["key"]
    launch.take(key, Step([], 0, done=True))
    assert key not in launch.schedule.running
    assert not launch.schedule.failures  # it is tried again

    def unreadable(key):
        raise StoreError("storage: cannot read")

    other = launch.next_order().stage["key"]
    monkeypatch.setattr(launch.store, "read", unreadable)
    launch.take(other, Step([], 0, done=True))
    assert other not in launch.schedule.running


def test_launching_again_tries_what_may_pass_and_leaves_what_would_fail_again(launch, tiny, clock):
    failing = {}
    for failure in (FLAKY, BUG):
        key = launch.next_order().stage["key"]
        launch.fail(key, failure)
        failing[failure.fault] = key
    clock.now = 10.0
    while (order := launch.next_order()) is not None and order.stage["key"] != failing[Fault.INFRASTRUCTURE]:
        pass
    launch.fail(failing[Fault.INFRASTRUCTURE], FLAKY)  # for the second time, and no retry is left
    assert set(launch.store.failures()) == set(failing.values())
    looking = a_launch(tiny, launch.store.root, read_only=True)
    assert set(looking.schedule.failures) >= set(failing.values())
    again = a_launch(tiny, launch.store.root)
    assert again.schedule.failure(failing[Fault.INFRASTRUCTURE]) is None
    assert again.schedule.failure(failing[Fault.BUG]) == BUG
    assert set(again.store.failures()) == {failing[Fault.BUG]}


def test_a_failure_that_cannot_be_written_down_ends_nothing_else(launch, monkeypatch):
    def full(key, fields):
        raise StoreError("storage: cannot write: No space left on device")

    monkeypatch.setattr(launch.store, "write_failure", full)
    key = launch.next_order().stage["key"]
    launch.fail(key, BUG)
    assert launch.schedule.failure(key) == BUG
    assert launch.next_order() is not None


def test_a_launch_that_is_told_to_stop_hands_out_nothing_more(launch):
    key = launch.next_order().stage["key"]
    launch.stop()
    assert launch.next_order() is None
    assert not launch.is_over  # one stage is still running
    launch.fail(key, FLAKY)
    assert launch.is_over
    assert launch.sweep_status() is Status.RUNNING


def test_what_another_sweep_trained_is_not_spent_by_this_one(trained, tmp_path):
    launch = a_launch(*trained, read_only=True)
    assert spent(launch.forest, launch.records, launch.is_own)[0] == launch.forest.epochs_shared
    others = {
        key: replace(record, environment={**record.environment, "sweep": "another"})
        for key, record in launch.records.items()
    }
    assert spent(launch.forest, others, launch.is_own) == (0, 0)


def test_a_launch_tells_its_own_epochs_from_those_of_the_launches_before_it(launch):
    assert by_this_launch(launch, 2) == " This launch trained nothing."
    order = launch.next_order()
    launch._found[order.stage["key"]] = 1  # an epoch that the launch before it had saved
    launch.take(order.stage["key"], Step(epochs(2), order.stage["start"] + 2))
    assert launch.trained_here() == (1, 2.0)
    assert by_this_launch(launch, 1) == ""
    assert by_this_launch(launch, 3) == " This launch: 1 epochs, 2 s of training."


def test_arms_average_their_completed_trials_only(trained):
    results = a_launch(*trained, read_only=True).results()
    whole = arm_results(results)
    assert [arm.completed for arm in whole] == [2] * 5
    begun = [replace(result, status=Status.RUNNING).at_rest() for result in results[1:]]
    assert {result.status for result in begun} == {Status.INTERRUPTED}
    assert replace(results[0], status=Status.RUNNING, epochs=()).at_rest().status is Status.PENDING
    cut = [*results[:1], *begun]
    first = next(arm for arm in arm_results(cut) if arm.label == results[0].label)
    assert (first.completed, first.trials) == (1, 2)
    assert first.test_accuracies == (results[0].test_accuracy,)
    assert {arm.test_accuracies for arm in arm_results(cut) if arm.label != results[0].label} == {()}


# Progress


def test_progress_in_words(launch, clock, tmp_path):
    progress = Progress(launch, clock)
    launch.watchers.append(progress)
    assert progress.stand().line() == "0/18 stages done, 0 running; starting"
    order = launch.next_order()
    clock.now = 2.0
    launch.take(order.stage["key"], Step(epochs(1), 0))
    assert progress.stand().line() == "0/18 stages done, 1 running; 0.5 epochs/s, 50 s left"
    launch.fail(launch.next_order().stage["key"], BUG)
    assert "failed: bug: ValueError: no" in progress.news[0]
    assert ", 1 running, " in progress.stand().line() and " failed; " in progress.stand().line()


def test_epochs_that_are_saved_and_the_start_of_workers_do_not_count_as_speed(launch, clock):
    """A grid that is resumed: its workers take eight seconds to come up, and an epoch takes two."""
    progress = Progress(launch, clock)
    launch.watchers.append(progress)
    whole = progress.stand().epochs_left
    for key in launch.forest.stages:
        launch.saved[key] = epochs(launch.forest.stages[key].epochs - 1)
    assert progress.stand().epochs_left == len(launch.forest.stages) < whole
    launch.next_order()
    order = launch.next_order()
    clock.now = 10.0
    launch.take(order.stage["key"], Step(epochs(3), 3))
    assert progress.rate == pytest.approx(0.5)
    clock.now = 12.0
    launch.take(order.stage["key"], Step(epochs(1), 3))
    assert progress.rate == pytest.approx(0.5)


def test_the_best_arms_are_those_with_the_highest_mean_of_what_is_completed(trained):
    launch = a_launch(*trained, read_only=True)
    best = Progress(launch).standing.best
    arms = {arm.label: estimate(arm.validation_accuracies) for arm in arm_results(launch.results())}
    assert [arm.label for arm in best] == sorted(arms, key=lambda label: -arms[label].mean)
    assert all(arm.validation_accuracy == arms[arm.label] and arm.trials == 2 for arm in best)
    assert str(best[0]).endswith(" % validation (n = 2)") and " ± " in str(best[0])


def test_trials_that_come_while_it_runs_are_seen(trained, tmp_path):
    spec, storage = trained
    launch = a_launch(spec, storage, read_only=True)
    progress = Progress(launch)
    more = expand(load_spec(str(spec), ["seeds=[0, 1, 2]"]))
    launch.add(more)
    assert progress.stand().stages[StageStatus.READY] > 0
    assert {arm.trials for arm in progress.standing.best} == {3}
    assert {arm.validation_accuracy.n for arm in progress.standing.best} == {2}


def test_a_failure_is_told_by_the_name_of_its_trial(trained, tmp_path):
    launch = a_launch(trained[0], tmp_path / "storage")
    progress = Progress(launch)
    launch.watchers.append(progress)
    last = next(stage for stage in launch.forest.stages.values() if stage.recipe.method == "learned")
    progress.stage_failed(last, BUG, again=False)
    progress.stage_failed(last, BUG, again=False)
    assert progress.news[0] == "learned weights seed 0, finetune epochs 1 to 3: failed: bug: ValueError: no"
    assert progress.stand().causes == (("bug: ValueError: no", 2),)


def test_the_display_takes_a_small_share_of_the_time_however_long_counting_takes(launch, clock, monkeypatch):
    progress, counted = Progress(launch, clock), []
    monkeypatch.setattr(progress, "stand", lambda: (counted.append(clock.now), setattr(clock, "now", clock.now + 1.0)))
    now_and_then = NowAndThen(progress, clock)
    for _ in range(1100):
        now_and_then()
        clock.now += 0.1
    assert counted == pytest.approx([0.0, 51.0, 102.0], abs=0.2)


def test_epochs_that_take_minutes_still_have_a_speed(launch, clock):
    progress = Progress(launch, clock)
    launch.watchers.append(progress)
    order = launch.next_order()
    for number in range(1, 3):
        clock.now = 300.0 * number
        launch.take(order.stage["key"], Step(epochs(1, number, seconds=300.0), 0))
    assert progress.rate == pytest.approx(1 / 300)
    assert progress.stand().speed().startswith("0.2 epochs/min, ")


def test_plain_lines_come_now_and_then_and_news_at_once(launch, clock, capsys):
    progress = Progress(launch, clock)
    launch.watchers.append(progress)
    with shown(progress) as refresh:
        refresh()
        assert capsys.readouterr().out == ""
        clock.now = 11.0
        refresh()
        assert capsys.readouterr().out.endswith("0/18 stages done, 0 running; starting\n")
        refresh()
        clock.now = 22.0
        refresh()
        assert capsys.readouterr().out == ""  # nothing changed
        launch.fail(launch.next_order().stage["key"], BUG)
        refresh()
        assert "failed: bug: ValueError: no" in capsys.readouterr().out


def test_a_terminal_gets_a_live_display(launch, clock, terminal):
    progress = Progress(launch, clock)
    launch.watchers.append(progress)
    with shown(progress, terminal) as refresh:
        order = launch.next_order()
        clock.now = 1.0
        launch.take(order.stage["key"], Step(epochs(1), 0))
        launch.fail(order.stage["key"], BUG)
        refresh()
    text = re.sub(r"\x1b\[[\d;]*m", "", terminal.getvalue())
    assert "tiny: 0/18 stages done" in text
    assert "0/26 epochs" in text or "1/26 epochs" in text
    assert "failed: bug: ValueError: no" in text
    assert text.rstrip().endswith("\x1b[?25h") or "\x1b[?25h" in text  # the cursor is given back
