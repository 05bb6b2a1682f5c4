"""Records of before are read with what follows from them as it is counted now."""

from __future__ import annotations

import json

import pytest

from sweeper.launch.local import run_local
from sweeper.records.stage_record import FORMAT, StateFile, canonical, decode, encode, sha256
from tests.sweeper.small_sweeps import a_launch
from trainers.costs.flops import training_flops_per_epoch
from trainers.recipe.recipe import Recipe

SPEC = """
name: tiny
recipe: {network: lenet, width: 0.1, dataset: digits, method: slot_machine, selection: probabilistic, options: 2}
budget_epochs: 2
slot_epochs: [2, 1]
"""
NEW = tuple(f"{way}_test_{what}" for way in ("argmax", "sampled") for what in ("accuracy", "loss"))


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """The records of two trials."""
    folder = tmp_path_factory.mktemp("formats")
    (folder / "tiny.yaml").write_text(SPEC)
    run_local(a_launch(folder / "tiny.yaml", folder / "storage"))
    return list(a_launch(folder / "tiny.yaml", folder / "storage", read_only=True).records.values())


def as_before(record) -> bytes:
    """The text of a record as format 2 had it."""
    content = json.loads(encode(record, StateFile("0" * 64, 1)))
    recipe = Recipe.model_validate(dict(record.recipe))
    inputs, hidden, classes = 64, (30, 10), 10
    forward = 2 * (inputs * hidden[0] + hidden[0] * hidden[1] + hidden[1] * classes)
    content["record"] = {name: value for name, value in content["record"].items() if name not in NEW}
    content["record"]["flops"] = 3 * forward * (1438 - recipe.validation_examples) * len(record.epochs)
    content = {**content, "format": 2}
    del content["sha256"]
    return canonical({**content, "sha256": sha256(canonical(content))})


def test_flops_of_before_are_counted_as_they_are_now(stored):
    for record in stored:
        recipe = Recipe.model_validate(dict(record.recipe))
        read, _ = decode(as_before(record))
        assert json.loads(as_before(record))["record"]["flops"] > record.costs["flops"]
        assert read.costs["flops"] == training_flops_per_epoch(recipe) * len(record.epochs) == record.costs["flops"]
        again, _ = decode(encode(read, StateFile("0" * 64, 1)))
        assert again == read, "a record of before is corrected once"


def test_a_record_of_a_recipe_that_is_no_longer_one_keeps_its_flops(stored):
    content = json.loads(as_before(stored[0]))
    content["record"]["recipe"]["selection"] = "by lot"
    del content["sha256"]
    read, _ = decode(canonical({**content, "sha256": sha256(canonical(content))}))
    assert read.costs["flops"] == content["record"]["flops"]


def test_records_of_sampled_selection_hold_both_evaluations(stored):
    assert FORMAT == 6
    assert {record.phase for record in stored} == {"slot", "finetune"}
    for record in stored:
        ways = [record.argmax_test_accuracy, record.sampled_test_accuracy]
        assert (record.test_accuracy in ways) if record.phase == "slot" else ways == [None, None]
