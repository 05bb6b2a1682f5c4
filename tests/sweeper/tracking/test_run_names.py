"""What the runs of trials are called in MLflow, and their accuracies in percent."""

from dataclasses import replace

import pytest

from sweeper.tracking.mlflow_client import client
from sweeper.tracking.run_state import NAME_LENGTH, run_name
from tests.sweeper.small_sweeps import a_launch
from tests.sweeper.tracking.projected import project, projection


@pytest.fixture
def launch(trained):
    """All trained, nothing projected."""
    return a_launch(*trained, read_only=True)


def trials_of(address):
    mlflow = client(address)
    experiment = mlflow.get_experiment_by_name("tiny")
    runs = mlflow.search_runs([experiment.experiment_id], max_results=100)
    return [run for run in runs if run.data.tags["sweeper.kind"] == "trial"]


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("K=8 GS", "K=8 GS seed 4"),
        ("K=8 PS, normalisation unit, slot learning rate 25", "K=8 PS, normalisation unit, … seed 4"),
        ("K=8 PS, " + "x" * 60, "K=8 PS, … seed 4"),
        ("x" * 60, "x" * 35 + " … seed 4"),
    ],
)
def test_a_run_has_as_much_of_its_trials_name_as_fits(launch, label, name):
    result = replace(next(iter(launch.results())), label=label)
    result = replace(result, trial=replace(result.trial, recipe=result.trial.recipe.model_copy(update={"seed": 4})))
    assert run_name(result) == name and len(name) <= NAME_LENGTH


def test_of_arms_whose_cut_names_are_equal_each_run_has_its_own_arm(launch, tmp_path):
    address = f"sqlite:///{tmp_path}/mlflow.db"
    project(address, tmp_path, launch)
    long = "K=8 GS, a field that is long enough to be cut " + "x" * 20
    results = [replace(result, label=f"{long}{place}") for place, result in enumerate(launch.results())]
    ours = projection(address, tmp_path)
    assert all(ours.project(result) for result in results)
    runs = trials_of(address)
    assert {run.data.tags["sweeper.arm"] for run in runs} == {result.label for result in results}
    assert {run.info.run_name for run in runs} == {run_name(result) for result in results}
    assert not any(ours.project(result) for result in results)


def test_completed_trials_show_their_accuracies_in_percent_too(launch, tmp_path):
    address = f"sqlite:///{tmp_path}/mlflow.db"
    project(address, tmp_path, launch)
    for run in trials_of(address):
        for name in ("validation_accuracy", "test_accuracy"):
            assert run.data.metrics[f"{name}_percent"] == pytest.approx(100 * run.data.metrics[name])
