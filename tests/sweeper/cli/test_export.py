"""Trained networks of a sweep, exported as tickets."""

from __future__ import annotations

import pytest

from sweeper.cli.main import main
from tests.sweeper.cli.answers import wrong
from tests.sweeper.small_sweeps import table_of, trained_storage
from trainers.data.splits import load_splits
from trainers.tickets.tickets import load_ticket
from trainers.training import TrainingRun


def export(storage, out, *trials, sweep="tiny"):
    """The command line that exports these trials, or flags."""
    return ["export", sweep, *trials, "--storage", str(storage), "-o", str(out)]


@pytest.fixture
def stored(trained, tmp_path):
    return trained_storage(trained, tmp_path)


def measured(path) -> tuple[float, float]:
    """What a ticket's network makes of its recipe's test split, and the bits that its file takes a weight."""
    network, recipe = load_ticket(path)
    run = TrainingRun(recipe, load_splits(recipe, None, "cpu"))
    run.network = network
    connections = sum(parameter.numel() for parameter in network.parameters())
    return run.test().accuracy, 8 * path.stat().st_size / connections


def test_every_completed_trial_is_exported_with_the_accuracy_and_the_bits_that_its_record_has(stored, tmp_path, capsys):
    assert main(export(stored, tmp_path / "out" / "tickets")) == 0
    said = capsys.readouterr().out
    tickets = sorted((tmp_path / "out" / "tickets").iterdir())
    trials = {trial["recipe_hash"][:8]: trial for trial in table_of(stored)}
    assert len(tickets) == len(trials) == 10
    for path in tickets:
        trial = trials[path.stem.rpartition("-")[2]]
        assert measured(path) == (trial["test_accuracy"], trial["stored_bits_per_weight"])
        assert trial["name"] in said and str(path) in said


def test_the_slot_phase_is_exported_where_it_ended(stored, tmp_path):
    assert main(export(stored, tmp_path / "out", "--phase", "slot")) == 0
    trials = {t["recipe_hash"][:8]: t for t in table_of(stored) if t["recipe"]["method"] != "learned"}
    tickets = {path.stem.rpartition("-")[2]: path for path in (tmp_path / "out").iterdir()}
    assert set(tickets) == set(trials) and len(tickets) == 8
    for key, path in tickets.items():
        accuracy, bits = measured(path)
        finetuned = trials[key]["recipe"]["finetune_epochs"] > 0
        assert accuracy == trials[key]["slot_test_accuracy" if finetuned else "test_accuracy"]
        assert bits < 10, "a small network, so the recipe weighs much"


def test_trials_are_chosen_by_name(stored, tmp_path):
    names = [trial["name"] for trial in table_of(stored)][3:5]
    assert main(export(stored, tmp_path / "out", *names)) == 0
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_what_cannot_be_exported_is_told(stored, tmp_path, capsys):
    learned = next(trial["name"] for trial in table_of(stored) if trial["recipe"]["method"] == "learned")
    near = learned.replace("learned", "laerned")
    (tmp_path / "file").write_text("")
    for line, complaint in (
        (export(stored, tmp_path / "out", sweep="tinny"), "'tinny' is not in "),
        (export(stored, tmp_path / "out", near), f"trial: '{near}' is not in 'tiny' (did you mean {learned}"),
        (export(stored, tmp_path / "out", learned, "--phase", "slot"), f"trial: '{learned}' has no slot phase"),
        (export(stored, tmp_path / "file" / "out", learned), f"cannot write to {tmp_path}/file/out"),
    ):
        assert complaint in wrong(capsys, *line)


def test_what_is_not_completed_is_not_exported(stored, tmp_path, capsys):
    learned = next(trial["name"] for trial in table_of(stored) if trial["recipe"]["method"] == "learned")
    for record in stored.glob("stages/*/*/*/record.json"):
        record.write_text("{")
    assert "no trial of 'tiny' is completed yet" in wrong(capsys, *export(stored, tmp_path / "out"))
    refused = wrong(capsys, *export(stored, tmp_path / "out", learned))
    assert f"'{learned}' is PENDING, and only a completed one can be exported" in refused


def test_a_damaged_state_is_told(stored, tmp_path, capsys):
    for state in stored.glob("stages/*/*/*/state.safetensors"):
        state.write_bytes(state.read_bytes()[:-1] + b"x")
    message = wrong(capsys, *export(stored, tmp_path / "out"))
    assert message.startswith("storage: the state at ") and "was damaged" in message
