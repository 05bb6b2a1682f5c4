"""Stages in this process and in others: bit for bit the same, whole or continued, shared or alone."""

import json
import math
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from sweeper.launch.launch import Launch
from sweeper.launch.local import run_local
from sweeper.launch.orders import Order, Step
from sweeper.launch.worker import DataShelf, StageWorker
from sweeper.records.stage_record import selection_text, with_epoch
from sweeper.records.store import Store
from sweeper.records.trial_result import trial_epochs, trial_finals
from sweeper.stages.faults import Fault
from tests.sweeper.processes import environment
from tests.sweeper.small_sweeps import CIRCUMSTANCES, a_launch, facts, train
from trainers.data.splits import load_splits
from trainers.training import TrainingRun

FRESH = """
import json, sys
from sweeper.launch.worker import DataShelf, StageWorker
from sweeper.launch.orders import Order
worker = StageWorker(Order(**json.load(sys.stdin)), DataShelf())
while not (step := worker.step()).done:
    pass
assert step.failure is None, step.failure
"""


def test_trials_read_from_shared_stages_equal_the_same_trials_run_alone_bit_for_bit(trained):
    spec, storage = trained
    launch = a_launch(spec, storage, read_only=True)
    splits = load_splits(launch.forest.trials[0].recipe, None, "cpu", download=False)
    shared = [trial for trial in launch.forest.trials if len(trial.stages) > 1]
    assert {trial.recipe.selection for trial in shared} == {"greedy", "probabilistic"}
    for trial in [*shared[:4], launch.forest.trials[-1]]:
        alone = TrainingRun(trial.recipe, splits)
        epochs, peaks, snapshots = [], [], []
        for epoch in alone.epochs():
            fields = epoch.as_dict()
            snapshots = with_epoch(snapshots, fields["epoch"], fields.pop("layers"))
            epochs.append(fields)
            peaks.append(alone.costs()["peak_memory_bytes"])
        stored = trial_epochs(trial, launch.records)
        assert [_timeless(epoch) for epoch in stored] == [_timeless(epoch) for epoch in epochs]
        stages = [launch.records[key] for key in trial.stages]
        shared_snapshots = [snapshot for stage in stages for snapshot in stage.selection]
        assert selection_text(shared_snapshots) == selection_text(snapshots)
        finals = trial_finals(trial, launch.records)
        test, costs = alone.test(), alone.costs()
        assert (finals["test_accuracy"], finals["test_loss"]) == (test.accuracy, test.loss)
        assert finals["peak_memory_bytes"] == max(peaks)
        assert finals["flops"] == costs["flops_per_epoch"] * len(epochs)
        assert finals["train_cpu_seconds"] == pytest.approx(sum(epoch["train_cpu_seconds"] for epoch in stored))
        assert "energy_joules" not in finals, "which no CPU knows"
        state = launch.store.read_state(trial.stages[-1])
        assert state.keys() == alone.state_dict().keys()
        assert all(torch.equal(state[name], tensor) for name, tensor in alone.state_dict().items())


@pytest.mark.slow
def test_a_stage_in_a_used_process_equals_the_stage_in_a_fresh_process(trained, tmp_path):
    spec, storage = trained
    used = a_launch(spec, storage, read_only=True)  # all of its stages ran one after the other in one process
    processes = {record.environment["process"] for record in used.records.values()}
    assert len(processes) == 1
    launch = a_launch(spec, tmp_path / "fresh")
    forked, root = used.forest.trials[0].stages[-1], used.forest.trials[-1].stages[-1]
    train(launch, launch.forest.stages[forked].parent)
    _in_fresh_processes([launch.order(launch.forest.stages[key]) for key in (forked, root)])
    for key in (forked, root):
        fresh = launch.store.read(key)
        assert fresh.environment["process"] not in processes
        assert facts(fresh) == facts(used.records[key])  # numbers and peak memory alike


def test_a_stage_goes_on_from_its_last_saved_epoch_and_ends_as_if_never_interrupted(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("sweeper.launch.worker.SAVING_SHARE", math.inf)
    spec, storage = trained
    whole = a_launch(spec, storage, read_only=True)
    launch = a_launch(spec, tmp_path / "storage", save_seconds=0.0)
    stage = max(launch.forest.stages.values(), key=lambda stage: stage.epochs)
    assert stage.epochs == 3
    order = launch.order(stage)
    killed = StageWorker(order, DataShelf())
    assert [killed.step().saved for _ in range(2)] == [1, 2]  # and no third: the worker is gone
    going_on = StageWorker(order, DataShelf())
    step = going_on.step()
    assert [epoch["epoch"] for epoch in step.epochs] == [1, 2, 3]
    assert step.done and step.saved == 3
    assert facts(launch.store.read(stage.key)) == facts(whole.store.read(stage.key))
    assert launch.store.read_partial(stage.key) is None


def test_an_answer_holds_the_first_epoch_and_the_next_all_those_of_some_seconds(trained, tmp_path):
    launch = a_launch(trained[0], tmp_path / "storage")
    stage = max(launch.forest.stages.values(), key=lambda stage: stage.epochs)
    worker = StageWorker(launch.order(stage), DataShelf())
    first = worker.answer(math.inf)
    assert [epoch["epoch"] for epoch in first.epochs] == [1] and not first.done
    rest = worker.answer(math.inf)
    assert [epoch["epoch"] for epoch in rest.epochs] == [2, 3] and rest.done and rest.saved == 3
    assert launch.store.read(stage.key).epochs == first.epochs + rest.epochs


def test_an_answer_is_over_after_an_epoch_that_takes_longer_than_it_or_fails(trained, tmp_path, monkeypatch):
    launch = a_launch(trained[0], tmp_path / "storage")
    stage = max(launch.forest.stages.values(), key=lambda stage: stage.epochs)
    worker = StageWorker(launch.order(stage), DataShelf())
    worker.answer(0.0)
    assert [epoch["epoch"] for epoch in worker.answer(0.0).epochs] == [2]
    monkeypatch.setattr(TrainingRun, "test", lambda run: 1 / 0)
    last = worker.answer(math.inf)
    assert [epoch["epoch"] for epoch in last.epochs] == [3] and last.done and last.failure is not None


def test_saving_takes_no_more_than_its_share_of_the_time(trained, tmp_path, monkeypatch):
    launch = a_launch(trained[0], tmp_path / "storage", save_seconds=0.0)
    stage = max(launch.forest.stages.values(), key=lambda stage: stage.epochs)
    worker = StageWorker(launch.order(stage), DataShelf())
    assert worker.step().saved == 1
    monkeypatch.setattr("sweeper.launch.worker.SAVING_SHARE", 1e-12)  # as on a slow disk
    assert worker.step().saved == 1


def test_a_worker_that_is_told_to_stop_saves_what_it_has(trained, tmp_path):
    launch = a_launch(trained[0], tmp_path / "storage")
    stage = max(launch.forest.stages.values(), key=lambda stage: stage.epochs)
    worker = StageWorker(launch.order(stage), DataShelf())
    assert worker.step().saved == 0
    worker.save()
    assert len(launch.store.read_partial(stage.key)[0].epochs) == 1


def test_orders_and_steps_survive_the_journey_as_json(trained):
    launch = a_launch(*trained, read_only=True)
    for stage in launch.forest.stages.values():
        order = launch.order(stage)
        arrived = Order(**json.loads(json.dumps(order.as_dict())))
        assert arrived == order
        assert arrived.read_stage() == stage
    step = Step([{"epoch": 1, "train_loss": 0.1 + 0.2}], 1, done=True)
    assert Step.from_dict(json.loads(json.dumps(step.as_dict()))) == step


def test_whatever_goes_wrong_comes_back_as_a_failure(trained, tmp_path):
    launch = a_launch(trained[0], tmp_path / "storage")
    child = next(stage for stage in launch.forest.stages.values() if stage.parent)
    orphan = StageWorker(launch.order(child), DataShelf()).step()
    assert orphan.done and orphan.failure.fault is Fault.INFRASTRUCTURE
    assert "no stage ends at" in orphan.failure.reason
    root = next(stage for stage in launch.forest.stages.values() if not stage.parent)
    elsewhere = StageWorker(replace(launch.order(root), digest="another"), DataShelf()).step()
    assert "not those the sweep was planned with" in elsewhere.failure.reason
    broken = StageWorker(replace(launch.order(root), storage="/dev/null/nowhere"), DataShelf())
    while not (step := broken.step()).done:
        assert step.failure is None
    assert step.failure.fault is Fault.INFRASTRUCTURE
    assert "/dev/null/nowhere" in step.failure.reason


def test_a_diverging_recipe_fails_with_its_epoch_and_keeps_its_curve(tmp_path):
    spec = tmp_path / "diverging.yaml"
    spec.write_text(
        "name: diverging\n"
        "recipe: {network: lenet, dataset: digits, method: learned, width: 0.2, finetune_learning_rate: 5.0e+18}\n"
        "budget_epochs: 4\narms: [{finetune_learning_rate: 0.01}]\n"
    )
    launch = a_launch(spec, tmp_path / "storage")
    run_local(launch)
    failed, fine = launch.results()
    assert (failed.status, fine.status) == ("FAILED", "COMPLETED")
    assert failed.failure.fault is Fault.NOT_A_NUMBER
    assert "in epoch" in failed.failure.reason
    kept = Store(tmp_path / "storage").failures()
    assert [fields["reason"] for fields in kept.values()] == [failed.failure.reason]


def _timeless(epoch):
    return {name: value for name, value in epoch.items() if name not in CIRCUMSTANCES}


def _in_fresh_processes(orders):
    command = [sys.executable, "-c", FRESH]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, text=True, env=environment()) for _ in orders]
    for process, order in zip(processes, orders, strict=True):
        process.stdin.write(json.dumps(order.as_dict()))
        process.stdin.close()
    assert [process.wait() for process in processes] == [0, 0]


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_launching_again_trains_nothing_again(trained, tmp_path):
    spec, storage = trained
    launch = a_launch(spec, storage)
    assert launch.is_over
    assert launch.next_order() is None
    grown = tmp_path / "grown.yaml"
    grown.write_text(spec.read_text().replace("seeds: 2", "seeds: 3"))
    launch = a_launch(grown, storage, read_only=True)
    assert {stage.recipe.seed for key, stage in launch.forest.stages.items() if key not in launch.records} == {2}


def test_a_lost_parent_is_trained_again_before_its_child(trained, tmp_path):
    launch: Launch = a_launch(trained[0], tmp_path / "storage")
    child = next(stage for stage in launch.forest.stages.values() if stage.parent)
    train(launch, child.parent)
    state = next((tmp_path / "storage" / "stages").glob("*/*/*/state.safetensors"))
    state.write_bytes(state.read_bytes()[:-1])
    again = a_launch(trained[0], tmp_path / "storage")
    assert child.parent not in again.records
    run_local(again)
    assert {result.status for result in again.results()} == {"COMPLETED"}
