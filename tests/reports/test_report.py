"""The whole way: from MLflow runs to the files of a report."""

import csv
import re
import shutil

import pytest

from reports import build_report
from reports.tracked.trials import METRICS
from sweeper.tracking.experiment import log_report
from tests.reports.made_up import digits_sweep, track, trial
from trainers.errors import InvalidInput


@pytest.fixture(scope="module")
def report(tracked_digits, tmp_path_factory):
    """A report of the quick start."""
    return build_report(["digits_sweep"], tracked_digits, tmp_path_factory.mktemp("report")).parent


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def table(folder):
    return list(csv.DictReader((folder / "table.csv").read_text().splitlines()))


def partial_sweep():
    """One trial failed, one was stopped, one runs, one is pending; the rest completed."""
    records = digits_sweep()
    for record, status in zip(records, ("FAILED", "STOPPED_EARLY", "RUNNING", "PENDING"), strict=False):
        record["status"] = status
        for metric in METRICS:
            record.pop(metric, None)
    records[0]["failure"] = "TrainingFailed: the loss is not a number in epoch 7 of the slot phase"
    return records


def test_a_report_is_a_page_a_text_a_table_and_a_csv_beside_every_table_and_figure(report):
    names = set(files(report))
    assert {"report.html", "report.md", "table.csv"} <= names
    figures = {name for name in names if name.startswith("figures/")}
    assert {name.removesuffix(".svg") for name in figures if name.endswith(".svg")} == {
        name.removesuffix(".csv") for name in figures if name.endswith(".csv")
    }
    for kind in ("arms", "options", "splits-40", "train-seconds"):
        assert f"figures/digits-sweep-{kind}.svg" in names
    assert {"tables/arms-digits-sweep.csv", "tables/trials-digits-sweep.csv", "tables/best-options.csv"} <= names


def test_mlflow_has_the_page_with_the_picture_and_the_table_of_its_first_screen(tracking_uri, tmp_path):
    track(tracking_uri, "digits_sweep", digits_sweep())
    page = build_report(["digits_sweep"], tracking_uri, tmp_path / "out")
    assert log_report(tracking_uri, ["digits_sweep"], page) == ""
    kept = {
        path.name for path in tmp_path.rglob("*") if path.is_file() and "out" not in path.relative_to(tmp_path).parts
    }
    assert {"report.html", "first-screen.svg", "first-screen.csv"} <= kept


def test_the_same_runs_give_the_same_bytes(report, tracked_digits, tmp_path):
    again = build_report(["digits_sweep"], tracked_digits, tmp_path / "elsewhere").parent
    assert files(report) == files(again)


def test_every_file_that_the_page_and_the_text_name_is_there(report):
    named = set(re.findall(r'href="((?:figures|tables)/[^"]+)"', (report / "report.html").read_text()))
    named |= set(re.findall(r"\(((?:figures|tables)/[^)]+)\)", (report / "report.md").read_text()))
    assert len(named) > 10
    assert named <= set(files(report))


def test_the_table_has_the_numbers_unrounded(report):
    rows = table(report)
    assert len(rows) == 11
    accuracies = [record["test_accuracy"] for record in digits_sweep() if record["arm"] == "K=8 GS"]
    (row,) = [row for row in rows if row["arm"] == "K=8 GS"]
    assert float(row["test_accuracy"]) == pytest.approx(sum(accuracies) / 3, rel=1e-12)
    assert (row["n"], row["seeds"]) == ("3", "0 1 2")


def test_the_page_prints_percent_with_interval_and_n(report):
    page = (report / "report.html").read_text()
    assert re.search(r">9\d\.\d\d ± \d\.\d\d<", page)
    assert "Student-t 95 % interval" in page
    assert "sweeper report digits_sweep -o DIR" in page


def test_a_complete_sweep_says_nothing_about_missing_trials(report):
    assert "Incomplete" not in (report / "report.html").read_text()


def test_a_partial_sweep_says_what_is_missing_and_why_and_averages_the_rest(tracking_uri, tmp_path):
    track(tracking_uri, "digits_sweep", partial_sweep(), planned=40)
    page = build_report(["digits_sweep"], tracking_uri, tmp_path / "out")
    text = page.with_name("report.md").read_text()
    assert "Incomplete: 29 of 40 trials completed" in text
    for line in (
        "1 trial failed",
        "1 trial stopped early",
        "1 trial running",
        "1 trial pending",
        "7 trials not tracked",
    ):
        assert f"- {line}" in text
    assert "TrainingFailed: the loss is not a number in epoch 7" in text
    (row,) = [row for row in table(page.parent) if row["arm"] == "K=2 GS"]
    assert (row["n"], row["trials"], row["test_accuracy"]) == ("0", "3", "")


def test_a_sweep_of_which_nothing_completed_is_a_report_too(tracking_uri, tmp_path):
    track(tracking_uri, "none", [trial({"method": "learned"}, sweep="none", status="FAILED", failure="out of memory")])
    text = build_report(["none"], tracking_uri, tmp_path / "out").with_name("report.md").read_text()
    assert "No trial has completed yet" in text
    assert "out of memory" in text


def test_a_sweep_without_any_run_is_a_report_too(tracking_uri, tmp_path):
    track(tracking_uri, "empty", [])
    text = build_report(["empty"], tracking_uri, tmp_path / "out").with_name("report.md").read_text()
    assert "No trial is tracked yet" in text


def test_several_sweeps_make_one_report_and_a_shared_trial_counts_once(tracking_uri, tmp_path):
    learned = [{"method": "learned", "finetune_epochs": 40, "seed": seed} for seed in range(3)]
    machines = [{"method": "slot_machine", "slot_epochs": 40, "seed": seed} for seed in range(3)]
    track(tracking_uri, "first sweep", [trial(each, sweep="first sweep") for each in learned + machines])
    track(tracking_uri, "First-Sweep", [trial(each, sweep="First-Sweep") for each in learned])
    page = build_report(["first sweep", "First-Sweep"], tracking_uri, tmp_path / "out")
    text = page.with_name("report.md").read_text()
    assert "## Sweep first sweep" in text
    assert "## Sweep First-Sweep" in text
    assert "n = 3" in text
    assert "n = 6" not in text
    assert {"arms-first-sweep.csv", "arms-first-sweep-2.csv"} <= {
        path.name for path in (page.parent / "tables").iterdir()
    }


def test_each_sweep_has_its_own_pareto_front_although_another_one_is_better(tracking_uri, tmp_path):
    slot = {"method": "slot_machine", "slot_epochs": 40}
    dear = [{**slot, "options": options, "seed": seed} for options in (2, 4) for seed in range(3)]
    track(tracking_uri, "dear", [trial(each, sweep="dear", train_seconds=90.0 + each["options"]) for each in dear])
    cheap = [{**slot, "options": 8, "seed": seed} for seed in range(3)]
    track(tracking_uri, "cheap", [trial(each, sweep="cheap", train_seconds=9.0) for each in cheap])
    page = build_report(["dear", "cheap"], tracking_uri, tmp_path / "out")
    marked = {row["sweep"] for row in table(page.parent) if row["front_train_seconds"] == "True"}
    assert marked == {"dear", "cheap"}


def test_a_folder_that_cannot_be_written_is_an_error_for_people(tracked_digits, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InvalidInput, match="out: cannot write to"):
        build_report(["digits_sweep"], tracked_digits, tmp_path / "file" / "report")


def test_an_unknown_sweep_writes_nothing(tracked_digits, tmp_path):
    with pytest.raises(InvalidInput, match="did you mean digits_sweep"):
        build_report(["digits_sweeps"], tracked_digits, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_spec_is_shown_where_it_was_kept(empty_database, tmp_path):
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    track(uri, "digits_sweep", digits_sweep()[:2], spec="name: digits_sweep\nseeds: 3\n")
    text = build_report(["digits_sweep"], uri, tmp_path / "out").with_name("report.md").read_text()
    assert "```\nname: digits_sweep\nseeds: 3\n```" in text
