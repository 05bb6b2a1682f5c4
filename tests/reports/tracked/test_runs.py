"""What MLflow holds, and what the frame says: the same."""

import math

import pandas as pd
import pytest

from reports.tracked.runs import read_curves, read_sweeps
from reports.tracked.trials import trials_frame
from tests.reports.made_up import digits_sweep, track, trial
from trainers.errors import InvalidInput


def test_the_frame_read_from_mlflow_equals_the_frame_of_the_records_written_to_it(tracked_digits):
    found = read_sweeps(["digits_sweep"], tracked_digits).trials
    expected = trials_frame(digits_sweep())
    own = ["run_id", "experiment_id"]  # given by MLflow
    pd.testing.assert_frame_equal(found.drop(columns=own), expected.drop(columns=own))
    assert found["run_id"].str.len().eq(32).all()


def test_numbers_of_a_recipe_are_numbers_again(tracked_digits):
    row = read_sweeps(["digits_sweep"], tracked_digits).trials.query("arm == 'K=8 PS'").iloc[0]
    assert (row["options"], row["slot_learning_rate"], row["padding"]) == (8, 50.0, 1)
    assert not row["slot_nesterov"]
    assert pd.isna(row["keep_fraction"])


def test_a_sweep_brings_what_its_parent_run_says(tracked_digits):
    (sweep,) = read_sweeps(["digits_sweep"], tracked_digits).sweeps
    assert sweep.planned == 33
    assert sweep.metrics["epochs_alone"] == 1440
    assert sweep.description == "Does accuracy rise with K on handwritten digits?"
    assert (sweep.started, sweep.ended) == ("2026-09-21T14:13:20Z", "2026-09-21T14:18:20Z")


def test_an_unknown_sweep_is_refused_with_the_nearest_name(tracked_digits):
    with pytest.raises(InvalidInput, match=r"sweep: 'digit_sweep' is not tracked \(did you mean digits_sweep\?\)"):
        read_sweeps(["digit_sweep"], tracked_digits)
    with pytest.raises(InvalidInput, match=r"sweep: 'zzz' is not tracked; tracked here: digits_sweep"):
        read_sweeps(["zzz"], tracked_digits)
    with pytest.raises(InvalidInput, match="name at least one"):
        read_sweeps([], tracked_digits)


def test_an_empty_store_says_so(tracking_uri):
    with pytest.raises(InvalidInput, match="no sweep is tracked here"):
        read_sweeps(["anything"], tracking_uri)


def test_a_missing_database_is_refused_and_not_made(tmp_path):
    with pytest.raises(InvalidInput, match="there is no database"):
        read_sweeps(["any"], f"sqlite:///{tmp_path}/none.db")
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_does_not_answer_is_refused_without_showing_its_password():
    with pytest.raises(InvalidInput, match=r"no MLflow server answers at http://127.0.0.1:1 ") as error:
        read_sweeps(["any"], "http://someone:secret@127.0.0.1:1")
    assert "secret" not in str(error.value)


def test_all_pages_are_read(tracked_digits, monkeypatch):
    monkeypatch.setattr("reports.tracked.runs.PAGE", 7)
    assert len(read_sweeps(["digits_sweep"], tracked_digits).trials) == 33


def test_several_sweeps_are_read_in_the_order_asked_for_and_once(tracking_uri):
    track(tracking_uri, "second", [trial({"method": "learned"}, sweep="second")])
    track(tracking_uri, "first", [])
    tracked = read_sweeps(["second", "first", "second"], tracking_uri)
    assert [sweep.name for sweep in tracked.sweeps] == ["second", "first"]
    assert tracked.trials["sweep"].tolist() == ["second"]


def test_curves_of_many_runs_come_together(tracking_uri, monkeypatch):
    records = [trial({"method": "learned", "seed": seed}) for seed in range(5)]
    curves = {record["recipe_hash"]: [0.1 * record["seed"] + 0.01 * epoch for epoch in range(4)] for record in records}
    runs = track(tracking_uri, "curves", records, curve=lambda record: {"train_loss": curves[record["recipe_hash"]]})
    for together, values in ((100, 25_000), (2, 25_000), (100, 6)):  # the last: answers that MLflow would cut
        monkeypatch.setattr("reports.tracked.runs.CURVE_RUNS", together)
        monkeypatch.setattr("reports.tracked.runs.CURVE_VALUES", values)
        found = read_curves(list(runs.values()), "train_loss", tracking_uri)
        assert len(found) == 20
        for recipe_hash, run_id in runs.items():
            curve = found[found["run_id"] == run_id]
            assert curve["epoch"].tolist() == [1, 2, 3, 4]
            assert curve["value"].tolist() == pytest.approx(curves[recipe_hash])
    assert read_curves([], "train_loss", tracking_uri).empty


def test_a_recipe_tracked_twice_in_a_sweep_counts_once_and_the_completed_run_wins():
    failed = trial({"method": "learned"}, status="FAILED", run_id="a", started="2026-09-22T00:00:00Z")
    completed = trial({"method": "learned"}, run_id="b")
    elsewhere = trial({"method": "learned"}, run_id="c", sweep="other")
    assert trials_frame([failed, completed, elsewhere])["run_id"].tolist() == ["b", "c"]


def test_an_infinite_metric_is_no_number():
    found = trials_frame([trial({"method": "learned"}, test_loss=1.7976931348623157e308)])
    assert math.isnan(found["test_loss"].iloc[0])


def test_no_trials_make_an_empty_frame_with_all_columns():
    empty = trials_frame([])
    assert empty.empty
    assert {"sweep", "arm", "options", "test_accuracy", "flops"} <= set(empty.columns)
