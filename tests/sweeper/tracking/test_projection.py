"""The projection to a real MLflow: complete, the same however often, and true after every interruption."""

import json
import shutil
import threading
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from sweeper.launch.orders import Step
from sweeper.launch.worker import DataShelf, StageWorker
from sweeper.records.stage_record import selection_text
from sweeper.records.trial_result import CURVES
from sweeper.stages.faults import Failure, Fault
from sweeper.stages.status import Status
from sweeper.tracking.mlflow_client import Refused, TrackingDown, client
from sweeper.tracking.projection import Projection
from sweeper.tracking.run_state import SweepFacts
from sweeper.tracking.tracker import Tracker
from tests.sweeper.small_sweeps import a_launch, train
from tests.sweeper.tracking.projected import project, projection
from tests.waiting import PATIENCE_SECONDS, wait_until


@pytest.fixture
def address(storage) -> str:
    return f"sqlite:///{storage}/mlflow.db"


@pytest.fixture
def whole_launch(trained):
    """All trained, nothing projected."""
    return a_launch(*trained, read_only=True)


@pytest.fixture
def launch(whole_launch):
    """The same with its first three trials only."""
    whole_launch.forest = replace(whole_launch.forest, trials=whole_launch.forest.trials[:3])
    whole_launch.labels = whole_launch.labels[:3]
    return whole_launch


def all_runs(address):
    mlflow = client(address)
    experiment = mlflow.get_experiment_by_name("tiny")
    return mlflow, mlflow.search_runs([experiment.experiment_id], max_results=1000)


def kind(runs, wanted):
    return [run for run in runs if run.data.tags["sweeper.kind"] == wanted]


def histories(address):
    """Everything measured, by run name."""
    mlflow, runs = all_runs(address)
    return {
        run.info.run_name: {
            name: [(point.step, point.value, point.timestamp - run.info.start_time) for point in points]
            for name in run.data.metrics
            if (points := mlflow.get_metric_history(run.info.run_id, name))
        }
        for run in kind(runs, "trial")
    }


def test_every_trial_has_a_run_with_its_recipe_its_whole_curve_and_its_own_costs(whole_launch, address, storage):
    project(address, storage, whole_launch)
    mlflow, runs = all_runs(address)
    (parent,) = kind(runs, "sweep")
    by_hash = {run.data.tags["sweeper.recipe_hash"]: run for run in kind(runs, "trial")}
    assert len(by_hash) == len(whole_launch.forest.trials) == 10
    for result in whole_launch.results():
        recipe = result.trial.recipe
        run = by_hash[recipe.content_hash()]
        assert (run.info.status, run.data.tags["sweeper.status"]) == ("FINISHED", "COMPLETED")
        assert run.info.run_name == f"{result.label} seed {recipe.seed}"
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.tags["sweeper.arm_hash"] == recipe.arm_hash()
        assert run.data.tags["sweeper.device"].startswith("cpu: ")
        assert {
            "sweeper.torch",
            "sweeper.python",
            "sweeper.data_digest",
            "sweeper.numerics_version",
        } <= run.data.tags.keys()
        fields = recipe.model_dump(mode="json", exclude_none=True, exclude={"filled"})
        assert run.data.params == {name: str(value) for name, value in fields.items()}
        for name in CURVES:
            points = mlflow.get_metric_history(run.info.run_id, name)
            assert [(point.step, point.value) for point in points] == [
                (epoch["total_epoch"], epoch[name]) for epoch in result.epochs if epoch[name] is not None
            ]
        assert [epoch["total_epoch"] for epoch in result.epochs] == [1, 2, 3]  # shared stages included
        assert {name: run.data.metrics[name] for name in result.finals} == result.finals
        assert ("slot_test_accuracy" in run.data.metrics) == (recipe.method == "slot_machine")
        assert run.info.end_time - run.info.start_time == round(1000 * result.seconds)


def test_a_trial_that_selects_has_what_it_selected_as_an_artifact(whole_launch, address, storage, tmp_path):
    project(address, storage, whole_launch)
    mlflow, runs = all_runs(address)
    by_hash = {run.data.tags["sweeper.recipe_hash"]: run for run in kind(runs, "trial")}
    for result in whole_launch.results():
        recipe = result.trial.recipe
        run_id = by_hash[recipe.content_hash()].info.run_id
        if recipe.method == "learned":
            assert mlflow.list_artifacts(run_id) == []
            continue
        text = Path(mlflow.download_artifacts(run_id, "selection.json", str(tmp_path))).read_text()
        assert text == selection_text(result.snapshots)
        snapshots = json.loads(text)
        assert [snapshot["epoch"] for snapshot in snapshots] == [1, 2][: recipe.slot_epochs]
        assert [["sample" in layer for layer in snapshot["layers"]] for snapshot in snapshots][-1] == [True] * 3
        last = {layer["layer"]: layer for layer in snapshots[-1]["layers"]}
        assert list(last) == ["fc1", "fc2", "fc3"] and all(sum(layer["counts"]) for layer in last.values())


def test_an_artifact_store_that_fails_keeps_no_numbers_away(launch, address, storage, monkeypatch):
    def fails(self, run_id, path, inside=None):
        raise OSError("no room for artifacts")

    monkeypatch.setattr("mlflow.MlflowClient.log_artifact", fails)
    tracker = project(address, storage, launch)
    assert tracker.problem == "" and tracker.behind() == 0
    assert {run.info.status for run in all_runs(address)[1]} == {"FINISHED"}


def test_the_parent_run_says_what_the_sweep_is_and_what_it_spent(whole_launch, address, storage):
    project(address, storage, whole_launch)
    mlflow, runs = all_runs(address)
    (parent,) = kind(runs, "sweep")
    assert (parent.info.run_name, parent.info.status) == ("tiny", "FINISHED")
    assert parent.data.tags["mlflow.note.content"] == "A tiny sweep."
    assert parent.data.tags["sweeper.git_commit"] == "c" * 40
    metrics = parent.data.metrics
    assert (metrics["trials"], metrics["trials_completed"], metrics["trials_failed"]) == (10, 10, 0)
    assert (metrics["epochs_alone"], metrics["epochs_shared"], metrics["epochs_spent"]) == (30, 26, 26)
    assert metrics["wall_seconds"] == 1.5
    assert [file.path for file in mlflow.list_artifacts(parent.info.run_id)] == ["spec.yaml"]


def test_projecting_again_changes_nothing(launch, address, storage, monkeypatch):
    project(address, storage, launch)
    before = histories(address)
    written: list[object] = []
    monkeypatch.setattr(Projection, "project_together", lambda self, results: written.extend(results) or 0)
    project(address, storage, launch)
    assert written == []
    assert histories(address) == before
    every_epoch = set(CURVES) - {"extreme_fraction", "selected_magnitude"}  # those are of slot epochs
    assert all(len(points) == 3 for run in before.values() for name, points in run.items() if name in every_epoch)


def test_a_projection_that_stops_anywhere_is_completed_by_the_next_without_doubles(launch, address, storage):
    project(address, storage, launch)
    whole = histories(address)
    shutil.copy(storage / "mlflow.db", storage / "other.db")
    results = launch.results()
    for stop_after in (1, 2):
        shutil.copy(storage / "other.db", storage / "mlflow.db")
        mlflow, runs = all_runs(address)
        for run in runs:
            mlflow.delete_run(run.info.run_id)
        broken = projection(address, storage)
        broken.connect()
        calls = iter(range(stop_after))
        log = broken._log

        def dies(run_id, metrics, tags, parameters=None, log=log, calls=calls):
            if next(calls, None) is None:
                raise ConnectionError("gone")
            log(run_id, metrics, {}, parameters)  # the tags are lost: the metrics were in another transaction

        broken._log = dies
        with pytest.raises(TrackingDown, match="gone"):
            for result in results:
                broken.project(result)
        project(address, storage, launch)
        assert {name: values for name, values in histories(address).items()} == whole


def test_a_running_trial_shows_what_is_saved_and_is_interrupted_when_its_launch_ends(
    trained, address, storage, tmp_path
):
    launch = a_launch(trained[0], tmp_path / "new", save_seconds=0.0)
    order = launch.next_order()
    worker = StageWorker(order, DataShelf())
    launch.take(order.stage["key"], worker.step())
    tracker = Tracker(projection(address, storage), launch, lambda: 1.0)
    tracker.catch_up(last=False)
    mlflow, runs = all_runs(address)
    running = kind(runs, "trial")
    through = [trial for trial in launch.forest.trials if order.stage["key"] in trial.stages]
    assert len(running) == len(through)
    assert {(run.info.status, run.data.tags["sweeper.status"]) for run in running} == {("RUNNING", "RUNNING")}
    assert len(mlflow.get_metric_history(running[0].info.run_id, "train_loss")) == 1
    tracker.start()
    tracker.close(PATIENCE_SECONDS)
    runs = all_runs(address)[1]
    assert {run.info.status for run in runs} == {"SCHEDULED"}
    assert {run.data.tags["sweeper.status"] for run in runs} == {"INTERRUPTED"}


class Seen:
    """Stands for a projection; remembers the trials that it was shown."""

    def __init__(self):
        self.names, self.down = [], False

    def connect(self):
        if self.down:
            raise TrackingDown("no answer")

    def forget_strangers(self, known):
        pass

    def project_sweep(self, status, totals, left_out=None):
        pass

    def settle(self, trials):
        pass

    def is_current(self, result):
        self.names.append(result.name)
        return True

    def since(self):
        names, self.names = set(self.names), []
        return names


@pytest.fixture
def seldom_whole(monkeypatch):
    """All trials are looked at once, and then not for a long while, as in a large sweep."""
    monkeypatch.setattr("sweeper.tracking.tracker.WHOLE_SHARE_OF_TIME", 1e-12)


def test_between_looks_at_all_trials_only_those_heard_of_are_looked_at(tiny, tmp_path, seldom_whole):
    launch = a_launch(tiny, tmp_path / "new")
    everything = {result.name for result in launch.results()}
    tracker = Tracker(Seen(), launch, lambda: 1.0)
    tracker.catch_up(last=False)
    assert tracker.projection.since() == everything
    tracker.catch_up(last=False)
    assert tracker.projection.since() == set()
    stage = launch.forest.stages[launch.next_order().stage["key"]]
    numbers = range(len(launch.forest.trials))
    through = {launch.result(n).name for n in numbers if stage.key in launch.forest.trials[n].stages}
    tracker.catch_up(last=False)
    assert tracker.projection.since() == through != everything
    train(launch, stage.key)
    launch.take(stage.key, Step([], stage.end, done=True))
    tracker.catch_up(last=False)
    assert tracker.projection.since() == through
    tracker.catch_up(last=True)
    assert tracker.projection.since() == everything


def test_a_trial_is_settled_only_once_its_run_shows_it(whole_launch):
    projection = Seen()
    projection.is_current = lambda result: False  # what was to be written did not arrive, and nothing was raised
    projection.project_together = len
    tracker = Tracker(projection, whole_launch, lambda: 1.0)
    tracker.catch_up(last=True)
    del projection.is_current
    everything = {result.name for result in whole_launch.results()}
    for shown in (everything, set()):  # what is settled is not looked at again
        tracker.catch_up(last=True)
        assert projection.since() == shown


class SideBySide(Projection):
    """A server that answers only once four wait for it; it will not have one of them."""

    together = threading.Barrier(4, timeout=PATIENCE_SECONDS)
    seen: list[str]

    def connect(self):
        pass

    def _project_trial(self, result):
        self.seen.append(result.name)
        self.together.wait()
        if result.trial.recipe.seed == 1:
            raise TrackingDown("this one did not arrive")


def test_trials_are_projected_to_a_server_side_by_side_and_one_that_fails_is_told(whole_launch):
    server = SideBySide("http://127.0.0.1:1", None, SweepFacts("tiny", "", "", "", {}))
    server.seen = []
    four = whole_launch.results()[:4]
    assert any(result.trial.recipe.seed == 1 for result in four)
    with pytest.raises(TrackingDown, match="this one did not arrive"):
        server.project_together(four)
    assert sorted(server.seen) == sorted(result.name for result in four)


def test_a_trial_that_waits_is_shown_as_far_as_it_is_stored(launch, address, storage):
    begun, untouched = launch.results()[:2]
    waiting = replace(begun, status=Status.PENDING, finals={}, epochs=begun.epochs[:2])
    shown = projection(address, storage)
    assert shown.project(waiting)
    assert not shown.project(replace(untouched, status=Status.PENDING, finals={}, epochs=[]))
    mlflow, runs = all_runs(address)
    (run,) = kind(runs, "trial")
    assert (run.info.run_name, run.info.status) == (begun.name, "SCHEDULED")
    assert len(mlflow.get_metric_history(run.info.run_id, "train_loss")) == 2


def test_after_an_outage_all_trials_are_looked_at_again(tiny, tmp_path, seldom_whole, monkeypatch):
    monkeypatch.setattr("sweeper.tracking.tracker.LONGEST_PAUSE_SECONDS", 0.01)
    launch = a_launch(tiny, tmp_path / "new")
    everything = {result.name for result in launch.results()}
    tracker = Tracker(Seen(), launch, lambda: 1.0)
    for shown in (everything, set()):
        tracker.catch_up(last=False)
        assert tracker.projection.since() == shown
    tracker.projection.down = True
    tracker.start()
    wait_until(lambda: tracker.problem == "no answer")
    tracker.projection.down = False
    wait_until(lambda: tracker.problem == "")
    assert tracker.projection.since() == everything
    tracker.close(PATIENCE_SECONDS)


def test_runs_that_a_killed_launch_left_running_are_set_right(launch, address, storage):
    dead = projection(address, storage)
    running = [
        replace(result, status=Status.RUNNING, finals={}, epochs=result.epochs[:2]) for result in launch.results()
    ]
    for result in running:
        dead.project(result)
    dead.project_sweep(Status.RUNNING, {"trials": 3.0})
    assert {run.info.status for run in all_runs(address)[1]} == {"RUNNING"}
    project(address, storage, launch)
    runs = all_runs(address)[1]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(runs) == 4


def test_a_run_of_a_trial_that_the_spec_no_longer_has_is_not_left_running(launch, address, storage):
    dead = projection(address, storage)
    result = launch.result(0)
    dead.project(replace(result, status=Status.RUNNING, finals={}, epochs=[]))
    launch.forest = replace(launch.forest, trials=launch.forest.trials[1:])
    launch.labels = launch.labels[1:]
    project(address, storage, launch)
    runs = {run.data.tags.get("sweeper.recipe_hash"): run.info.status for run in all_runs(address)[1]}
    assert runs[result.trial.recipe.content_hash()] == "SCHEDULED"
    assert "RUNNING" not in runs.values()


def test_a_failed_trial_says_why_and_a_later_success_takes_it_back(launch, address, storage):
    failure = Failure(Fault.NOT_A_NUMBER, "not a number in epoch 2")
    result = launch.result(0)
    failed = projection(address, storage)
    failed.project(replace(result, status=Status.FAILED, failure=failure, finals={}, epochs=result.epochs[:1]))
    (run,) = kind(all_runs(address)[1], "trial")
    assert (run.info.status, run.data.tags["sweeper.status"]) == ("FAILED", "FAILED")
    assert run.data.tags["sweeper.failure"] == "not a number: not a number in epoch 2"
    project(address, storage, launch)
    runs = {run.info.run_name: run for run in kind(all_runs(address)[1], "trial")}
    assert len(runs) == 3
    assert runs[result.name].info.status == "FINISHED"
    assert runs[result.name].data.tags.get("sweeper.failure", "") == ""


def test_another_training_of_the_same_recipe_replaces_what_was_shown(launch, address, storage):
    project(address, storage, launch)
    result = launch.result(0)
    other = [{**epoch, "train_loss": epoch["train_loss"] + 1} for epoch in result.epochs]
    later = projection(address, storage)
    # As long as the new one has less to show, the old one stays.
    assert later.project(replace(result, status=Status.RUNNING, finals={}, epochs=other[:1])) is False
    assert later.project(replace(result, epochs=other)) is True
    mlflow, runs = all_runs(address)
    (run,) = [run for run in runs if run.info.run_name == result.name]
    shown = [point.value for point in mlflow.get_metric_history(run.info.run_id, "train_loss")]
    assert shown == [epoch["train_loss"] for epoch in other]


def test_a_run_that_somebody_deleted_is_made_again_once(launch, address, storage):
    looking = projection(address, storage)
    result = launch.result(0)
    looking.project(replace(result, status=Status.RUNNING, finals={}, epochs=result.epochs[:1]))
    mlflow, runs = all_runs(address)
    mlflow.delete_run(kind(runs, "trial")[0].info.run_id)
    assert looking.project(result) is True
    (run,) = kind(all_runs(address)[1], "trial")
    assert run.info.status == "FINISHED"


def test_what_arrived_although_no_answer_came_back_is_not_done_twice(launch, address, storage):
    looking = projection(address, storage)
    looking.connect()
    create = looking._client.create_run

    def creates_and_breaks(*arguments, **fields):
        create(*arguments, **fields)
        raise ConnectionError("reset by peer")

    looking._client.create_run = creates_and_breaks
    with pytest.raises(TrackingDown, match="reset by peer"):
        looking.project(launch.result(0))
    looking.project(launch.result(0))  # connects anew
    assert {run.info.status for run in kind(all_runs(address)[1], "trial")} == {"FINISHED"}
    # Two launches at once may have made two runs of one trial.
    looking._runs.clear()
    looking.project(launch.result(0))
    assert len(kind(all_runs(address)[1], "trial")) == 2
    project(address, storage, launch)
    assert len(kind(all_runs(address)[1], "trial")) == 3


def test_what_mlflow_refuses_for_good_keeps_no_other_trial_away(launch, address, storage):
    looking = projection(address, storage)
    first = launch.result(0)
    second = next(result for result in launch.results() if result.trial.recipe.seed != first.trial.recipe.seed)
    log = looking._log

    def refuses(run_id, metrics, tags, parameters=None):
        if parameters and parameters["seed"] == str(first.trial.recipe.seed):
            raise Refused("no such parameter")
        log(run_id, metrics, tags, parameters)

    looking.connect()
    looking._log = refuses
    assert looking.project(first) is False
    assert looking.problems == {first.name: "no such parameter"}
    assert looking.behind([first]) == 1
    assert looking.project(second) is True


def test_growing_a_sweep_renames_the_arms_it_has(trained, address, storage, whole_launch, tmp_path):
    small = tmp_path / "small.yaml"
    small.write_text(trained[0].read_text().replace("slot_epochs: [1, 2]", "slot_epochs: [1]"))
    project(address, storage, a_launch(small, trained[1], read_only=True))
    before = {run.info.run_name for run in kind(all_runs(address)[1], "trial")}
    assert "K=2 GS seed 0" in before
    project(address, storage, whole_launch)
    after = {run.info.run_name: run.data.tags["sweeper.arm"] for run in kind(all_runs(address)[1], "trial")}
    assert len(after) == 10
    assert after["K=2 GS, 1+2 epochs seed 0"] == "K=2 GS, 1+2 epochs"


def test_a_deleted_experiment_is_brought_back(launch, address, storage):
    project(address, storage, launch)
    mlflow, _ = all_runs(address)
    mlflow.delete_experiment(mlflow.get_experiment_by_name("tiny").experiment_id)
    project(address, storage, launch)
    assert len(kind(all_runs(address)[1], "trial")) == 3


def test_trials_that_mlflow_hears_of_later_ended_when_their_last_stages_did(launch, address, storage):
    project(address, storage, launch)
    ended = {
        trial.recipe.content_hash(): datetime.fromisoformat(launch.records[trial.stages[-1]].ended_at)
        for trial in launch.forest.trials
    }
    runs = kind(all_runs(address)[1], "trial")
    assert {run.data.tags["sweeper.recipe_hash"]: run.info.end_time for run in runs} == {
        recipe_hash: round(1000 * end.timestamp()) for recipe_hash, end in ended.items()
    }


def test_a_sweep_that_mlflow_hears_of_later_began_and_ended_when_its_launches_did(launch, address, storage):
    told = projection(address, storage)
    told.sweep = replace(told.sweep, began="2026-09-21T14:13:20Z", ended="2026-09-21T15:13:20.500Z")
    told.project_sweep(Status.COMPLETED, {"trials": 3.0})
    (parent,) = kind(all_runs(address)[1], "sweep")
    assert (parent.info.start_time, parent.info.end_time) == (1_790_000_000_000, 1_790_003_600_500)
