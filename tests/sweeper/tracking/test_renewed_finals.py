"""Costs that are counted otherwise than when they were projected are projected again, and nothing else is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sweeper.tracking.mlflow_client import client
from sweeper.tracking.run_state import FINAL, FINAL_ONCE, TrackedRun
from tests.sweeper.small_sweeps import a_launch
from tests.sweeper.tracking.projected import project


def runs_of(address: str):
    mlflow = client(address)
    (experiment,) = [found for found in mlflow.search_experiments() if found.name == "tiny"]
    found = mlflow.search_runs([experiment.experiment_id], max_results=100)
    return mlflow, [run for run in found if run.data.tags["sweeper.kind"] == "trial"]


@pytest.fixture
def launch(trained):
    """All trained, and its first two trials shown."""
    launch = a_launch(*trained, read_only=True)
    launch.forest = replace(launch.forest, trials=launch.forest.trials[:2])
    launch.labels = launch.labels[:2]
    return launch


def test_finals_of_an_earlier_count_are_replaced_in_the_same_runs(launch, storage):
    address = f"sqlite:///{storage}/mlflow.db"
    project(address, storage, launch)
    mlflow, before = runs_of(address)
    for run in before:  # as a version that counted more FLOPs left them
        end = run.data.metrics["epochs"]
        (point,) = mlflow.get_metric_history(run.info.run_id, "flops")
        mlflow.log_metric(run.info.run_id, "flops", point.value * 1.5, timestamp=point.timestamp, step=int(end))
        mlflow.set_tag(
            run.info.run_id, "sweeper.projected", run.data.tags["sweeper.projected"].replace(FINAL, FINAL_ONCE)
        )
    old = {run.info.run_id: run for run in runs_of(address)[1]}
    for run in before:
        assert old[run.info.run_id].data.metrics["flops"] == 1.5 * run.data.metrics["flops"]
    assert not any(TrackedRun.of(run).has_finals for run in old.values())
    assert all(TrackedRun.of(run).had_finals for run in old.values())

    project(address, storage, launch)
    _, after = runs_of(address)
    assert {run.info.run_id: run.data.metrics for run in after} == {run.info.run_id: run.data.metrics for run in before}
    assert all(run.data.tags["sweeper.projected"].endswith(FINAL) for run in after)
