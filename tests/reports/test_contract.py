"""What sweeper writes is what reports reads: a sweep really trained, projected by the tracker, and reported."""

import shutil

import pandas as pd
import pytest

from reports import build_report
from reports.tracked.runs import read_curves, read_sweeps
from reports.tracked.trials import METRICS
from search_spaces.expansion import expand
from search_spaces.labels import arm_labels
from search_spaces.loading import load_spec
from sweeper.launch.local import run_local
from tests.sweeper.small_sweeps import TINY, a_launch
from tests.sweeper.tracking.projected import project

NOT_MEASURED = {"energy_joules"}


@pytest.fixture(scope="module")
def trained(empty_database, tmp_path_factory):
    """The tracking URI of a sweep of digits, trained and tracked, and the recipes that it asked for."""
    folder = tmp_path_factory.mktemp("contract")
    spec, storage = folder / "tiny.yaml", folder / "storage"
    spec.write_text(TINY)
    launch = a_launch(spec, storage)
    run_local(launch)
    shutil.copy(empty_database, storage / "mlflow.db")
    address = f"sqlite:///{storage / 'mlflow.db'}"
    project(address, storage, a_launch(spec, storage))
    return address, expand(load_spec(str(spec)))


BOTH_EVALUATIONS = {f"{how}_{part}_accuracy" for how in ("argmax", "sampled") for part in ("validation", "test")}


def test_every_trial_is_read_with_its_recipe_its_label_and_all_its_numbers(trained):
    address, recipes = trained
    trials = read_sweeps(["tiny"], address).trials.set_index("recipe_hash")
    labels = dict(zip((recipe.content_hash() for recipe in recipes), arm_labels(recipes), strict=True))
    assert set(trials.index) == set(labels)
    assert set(trials["status"]) == {"COMPLETED"}
    for recipe in recipes:
        row = trials.loc[recipe.content_hash()]
        assert (row["arm"], row["arm_hash"]) == (labels[recipe.content_hash()], recipe.arm_hash())
        stated = recipe.model_dump(mode="json", exclude={"filled"})
        read = {field: None if pd.isna(row[field]) else row[field] for field in stated}
        assert read == stated
        absent = {metric for metric in METRICS if pd.isna(row[metric])} - NOT_MEASURED
        split = recipe.slot_epochs and recipe.finetune_epochs
        selecting = set() if recipe.method == "slot_machine" else {"extreme_fraction", "selected_magnitude"}
        sampled = recipe.selection == "probabilistic" and not recipe.finetune_epochs
        evaluated_once = set() if sampled else BOTH_EVALUATIONS
        assert absent == selecting | evaluated_once | (set() if split else {"slot_test_accuracy"})
        assert row["device"] and row["host"]


def test_the_sweep_is_read_with_what_it_planned_and_its_spec(trained):
    (sweep,) = read_sweeps(["tiny"], trained[0]).sweeps
    assert sweep.planned == 10
    assert (sweep.description, sweep.spec) == ("A tiny sweep.", "name: tiny\n")
    assert sweep.started


def test_whole_curves_are_read(trained):
    address, _ = trained
    trials = read_sweeps(["tiny"], address).trials
    curves = read_curves(list(trials["run_id"]), "validation_accuracy", address)
    assert curves.groupby("run_id")["epoch"].agg(list).map(tuple).unique().tolist() == [(1, 2, 3)]
    last = curves[curves["epoch"] == 3].set_index("run_id")["value"]
    assert last.to_dict() == trials.set_index("run_id")["validation_accuracy"].to_dict()


def test_the_report_of_a_real_sweep_is_complete(trained, tmp_path):
    text = build_report(["tiny"], trained[0], tmp_path).with_name("report.md").read_text()
    assert "trials completed: 10 of 10" in text
    assert "Incomplete" not in text
