"""Conversions as stages: of no epochs, each with a record and a state of its own, from one training that all share."""

import json

import pytest
import yaml

from reports.tracked.runs import read_sweeps
from search_spaces.expansion import expand
from search_spaces.labels import arm_labels
from search_spaces.spec import Spec
from sweeper.cli.main import main
from sweeper.records.trial_result import trial_finals
from sweeper.stages.planting import plant
from tests.sweeper.small_sweeps import a_launch
from trainers.tickets.tickets import load_ticket

SPEC = """
name: stored
recipe: {network: lenet, width: 0.2, dataset: digits, method: learned, finetune_learning_rate: 0.1}
budget_epochs: 2
arms:
  - {}
  - {conversion: quantised, conversion_bits: [8, 1], conversion_scales: channel}
  - {conversion: ternary, conversion_scales: layer}
  - {method: slot_machine, conversion: bfloat16}
"""


def spec() -> Spec:
    return Spec.parse(yaml.safe_load(SPEC))


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored")
    (folder / "stored.yaml").write_text(SPEC)
    assert main(["launch", str(folder / "stored.yaml"), "--storage", str(folder / "s"), "--local", "--yes"]) == 0
    return folder


def test_conversions_fork_from_one_stage_and_add_no_epochs():
    forest = plant(expand(spec()), {"digits": "d"})
    assert (forest.epochs_alone, forest.epochs_shared) == (10, 4)
    conversions = [stage for stage in forest.stages.values() if stage.phase == "conversion"]
    assert len(conversions) == 4 and all(stage.turns and stage.epochs == 0 for stage in conversions)
    learned = [trial.stages[0] for trial in forest.trials if trial.recipe.method == "learned"]
    assert len(learned) == 4 and len(set(learned)) == 1
    assert {stage.parent for stage in conversions} == {trial.stages[0] for trial in forest.trials}


def test_arms_are_named_by_their_conversion():
    assert arm_labels(expand(spec())) == [
        "learned weights", "learned weights, 8-bit per channel", "learned weights, 1-bit per channel",
        "learned weights, ternary per layer", "K=8 GS, bfloat16",
    ]  # fmt: skip


def test_every_conversion_has_its_record_and_is_found_stored(launched, capsys):
    launch = a_launch(launched / "stored.yaml", launched / "s", read_only=True)
    assert set(launch.records) == set(launch.forest.stages) == launch.forest.stored
    finals = {trial.recipe.conversion: trial_finals(trial, launch.records) for trial in launch.forest.trials}
    for name, found in finals.items():
        assert found["epochs"] == 2 and found["train_seconds"] > 0 and found["flops"] > 0
        assert ("validation_accuracy" in found) == (name is not None), "the last epoch says it where there is one"
    assert finals["ternary"]["flops"] == finals[None]["flops"]
    assert finals["ternary"]["ticket_bytes"] < finals["bfloat16"]["ticket_bytes"] < finals[None]["ticket_bytes"]
    capsys.readouterr()
    assert main(["plan", str(launched / "stored.yaml"), "--storage", str(launched / "s"), "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["epochs_alone"], plan["epochs_shared"], plan["epochs_left"]) == (10, 4, 0)
    assert plan["trials_stored"] == plan["trials"] == 5


def test_a_ticket_of_a_conversion_has_the_size_that_its_record_says(launched, tmp_path):
    assert main(["export", "stored", "--storage", str(launched / "s"), "-o", str(tmp_path)]) == 0
    launch = a_launch(launched / "stored.yaml", launched / "s", read_only=True)
    for trial in launch.forest.trials:
        (path,) = tmp_path.glob(f"*{trial.recipe.content_hash()[:8]}.safetensors")
        assert path.stat().st_size == launch.records[trial.stages[-1]].costs["ticket_bytes"]
        assert load_ticket(path)[1] == trial.recipe.model_copy(update={"filled": ()})


def test_mlflow_and_the_table_of_runs_show_what_is_left_after_the_conversion(launched, capsys):
    launch = a_launch(launched / "stored.yaml", launched / "s", read_only=True)
    one_bit = next(trial for trial in launch.forest.trials if trial.recipe.conversion_bits == 1)
    measured = launch.records[one_bit.stages[-1]].validation_accuracy
    trained = launch.records[one_bit.stages[0]].epochs[-1]["validation_accuracy"]
    assert measured != trained
    capsys.readouterr()
    assert main(["runs", "stored", "--storage", str(launched / "s"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    trials = shown["trials"] if isinstance(shown, dict) else shown
    (found,) = [trial for trial in trials if "1-bit" in json.dumps(trial)]
    assert found["validation_accuracy"] == measured
    tracked = read_sweeps(["stored"], f"sqlite:///{launched / 's' / 'mlflow.db'}").trials
    (row,) = tracked[tracked["conversion_bits"].astype(float) == 1].to_dict("records")
    assert row["validation_accuracy"] == measured
