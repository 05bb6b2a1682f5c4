"""Records of trials trained elsewhere: checked, kept, shown in MLflow, reported; the same again changes nothing."""

import argparse
import json

import pytest
import torch

from benchmarks.gpu import train_one
from sweeper.cli.main import main
from sweeper.records.imported import read_records
from sweeper.tracking.mlflow_client import client
from tests.sweeper.small_sweeps import trained_storage
from trainers.errors import InvalidInput
from trainers.recipe.recipe import Recipe

GIVEN = {"network": "lenet", "dataset": "digits", "width": 0.2, "method": "slot_machine", "options": 4}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Two trials as the benchmark writes them, of the slot phase alone and with finetuning, really trained."""
    folder = tmp_path_factory.mktemp("gpu")
    how = argparse.Namespace(data_dir=None, examples=None, graphed=False)
    for seed, finetune in ((0, 0), (1, 2)):
        recipe = Recipe.complete({**GIVEN, "slot_epochs": 3, "finetune_epochs": finetune, "seed": seed})
        record = train_one(recipe, how, torch.device("cpu"))
        for number, epoch in enumerate(record["epochs"]):
            epoch |= {"train_cpu_seconds": None, "train_joules": 100.0 + number}  # as a GPU does
        (folder / f"{seed}.json").write_text(json.dumps({**record, "device": "NVIDIA <b>H200</b>"}))
    return folder


def said(capsys, *arguments):
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as left:
        code = left.code
    return code, *capsys.readouterr()


def runs(storage, sweep):
    mlflow = client(f"sqlite:///{storage}/mlflow.db")
    experiment = mlflow.get_experiment_by_name(sweep)
    found = mlflow.search_runs([experiment.experiment_id])
    return mlflow, {run.info.run_name: run for run in found}


def test_records_become_a_sweep_that_is_reported_with_its_hardware(records, storage, tmp_path, capsys):
    files = sorted(records.iterdir())
    arguments = ("import", *files, "--sweep", "elsewhere", "--description", "On a GPU.", "--storage", storage)
    code, out, _ = said(capsys, *arguments)
    assert (code, out.splitlines()[0][:47]) == (0, "2 new trials, 2 in all; 2 changed in MLflow, sq")
    mlflow, found = runs(storage, "elsewhere")
    assert len(found) == 3
    for path in files:
        record = json.loads(path.read_text())
        (run,) = [run for run in found.values() if run.data.tags.get("sweeper.seed") == str(record["recipe"]["seed"])]
        tags, metrics = run.data.tags, run.data.metrics
        assert (run.info.status, tags["sweeper.imported"], tags["sweeper.device"]) == (
            "FINISHED", "yes", "NVIDIA <b>H200</b>",
        )  # fmt: skip
        assert (tags["sweeper.data_digest"], tags["sweeper.numerics_version"]) == (record["data_digest"], "1")
        assert metrics["test_accuracy"] == record["test_accuracy"]
        assert metrics["flops"] == record["costs"]["flops_per_epoch"] * len(record["epochs"])
        assert metrics.get("slot_test_accuracy") == record.get("slot_test_accuracy")
        assert metrics["energy_joules"] == sum(epoch["train_joules"] for epoch in record["epochs"])
        assert "train_cpu_seconds" not in metrics
        curve = mlflow.get_metric_history(run.info.run_id, "validation_accuracy")
        assert [point.value for point in curve] == [epoch["validation_accuracy"] for epoch in record["epochs"]]
        kept = storage / "artifacts" / "elsewhere" / run.info.run_id / "artifacts"
        assert [file.name for file in kept.iterdir()] == ["selection.json"]
    assert said(capsys, "report", "elsewhere", "--storage", storage, "-o", tmp_path / "report")[0] == 0
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Imported: 2 trials of these were trained elsewhere, on NVIDIA &lt;b&gt;H200&lt;/b&gt;." in page
    assert "What gets selected" in page

    code, out, _ = said(capsys, *arguments)
    assert (code, out.splitlines()[0][:47]) == (0, "0 new trials, 2 in all; 0 changed in MLflow, sq")
    assert {name: run.info.run_id for name, run in runs(storage, "elsewhere")[1].items()} == {
        name: run.info.run_id for name, run in found.items()
    }


def test_a_sweep_that_was_launched_is_not_imported_into(records, trained, tmp_path, capsys):
    storage = trained_storage(trained, tmp_path)
    code, _, err = said(capsys, "import", *records.iterdir(), "--sweep", "tiny", "--storage", storage)
    assert code == 2
    assert err == "sweeper: error: sweep: 'tiny' was launched; imported trials need a sweep of their own\n"
    code, _, err = said(capsys, "import", *records.iterdir(), "--sweep", "no/name", "--storage", storage)
    assert (code, "sweep: letters, digits" in err) == (2, True)


def test_other_numbers_of_the_same_recipe_are_refused(records, storage, tmp_path, capsys):
    record = json.loads((records / "0.json").read_text())
    other = tmp_path / "other.json"
    other.write_text(json.dumps({**record, "test_accuracy": 0.5}))
    arguments = ("--sweep", "elsewhere", "--storage", storage)
    code, _, err = said(capsys, "import", records / "0.json", other, *arguments)
    assert (code, "recipe: the same one, slot_machine seed 0, has other numbers in" in err) == (2, True)
    assert not (storage / "imported").exists()


FAULTS = {
    "no list": (lambda r: 7, "a record is a mapping"),
    "no device": (lambda r: r.pop("device") and r, "device: missing, and it has no default"),
    "nameless device": (lambda r: r | {"device": ""}, "device: String should have at least 1 character"),
    "unknown field": (lambda r: r | {"acuracy": 1}, "acuracy: unknown field"),
    "percent": (lambda r: r | {"test_accuracy": 97.1}, "test_accuracy: should be less than or equal to 1, not 97.1"),
    "text": (lambda r: r | {"test_accuracy": "0.9"}, "test_accuracy: should be a valid number, not '0.9'"),
    "recipe": (lambda r: r | {"recipe": r["recipe"] | {"options": 0}}, "recipe.options: "),
    "few epochs": (lambda r: r | {"epochs": r["epochs"][:2]}, "epochs: the recipe has 3, and here are 2 without"),
    "wrong epoch": (lambda r: r | {"epochs": r["epochs"][1:]}, "epochs[0]: slot 2, 2 in all, is not the epoch"),
    "nan": (
        lambda r: r | {"epochs": [r["epochs"][0] | {"validation_accuracy": float("nan")}]},
        "validation_accuracy: ",
    ),
    "examples": (lambda r: r | {"examples": 256}, "examples: it was trained on the first 256 examples only"),
    "slot test": (lambda r: r | {"slot_test_accuracy": 0.5}, "slot_test_accuracy: only a trial that is finetuned"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_record_is_refused_with_its_file_field_and_value(name, records, tmp_path):
    spoil, message = FAULTS[name]
    path = tmp_path / "spoilt.json"
    path.write_text(json.dumps(spoil(json.loads((records / "0.json").read_text()))))
    with pytest.raises(InvalidInput) as caught:
        read_records(path)
    assert str(caught.value).startswith("spoilt.json: ")
    assert message in str(caught.value)


def test_files_that_cannot_be_read_and_lists_are_told_apart(records, tmp_path):
    with pytest.raises(InvalidInput, match="cannot be read: No such file"):
        read_records(tmp_path / "missing.json")
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(InvalidInput, match="not JSON"):
        read_records(tmp_path / "x.json")
    good = json.loads((records / "0.json").read_text())
    (tmp_path / "list.json").write_text(json.dumps([good, {**good, "python": ""}]))
    with pytest.raises(InvalidInput, match=r"list\.json\[1\]: python: "):
        read_records(tmp_path / "list.json")


def test_a_trial_that_failed_is_shown_as_failed_with_its_reason(records, storage, tmp_path, capsys):
    record = json.loads((records / "0.json").read_text())
    path = tmp_path / "failed.json"
    path.write_text(json.dumps({**record, "epochs": record["epochs"][:1], "failure": "not a number in epoch 2"}))
    assert said(capsys, "import", path, "--sweep", "elsewhere", "--storage", storage)[0] == 0
    (run,) = [run for run in runs(storage, "elsewhere")[1].values() if run.data.tags["sweeper.kind"] == "trial"]
    assert (run.info.status, run.data.tags["sweeper.status"]) == ("FAILED", "FAILED")
    assert "not a number in epoch 2" in run.data.tags["sweeper.failure"]
    assert "test_accuracy" not in run.data.metrics
