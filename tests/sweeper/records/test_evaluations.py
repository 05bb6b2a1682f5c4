"""Trials that differ in how probabilistic selection is evaluated share all stages, and each has its own figures."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from search_spaces.expansion import expand
from search_spaces.spec import Spec
from sweeper.launch.launch import Launch, Resources
from sweeper.launch.local import run_local
from sweeper.launch.worker import DataShelf, StageWorker
from sweeper.records.stage_record import StateFile, canonical, decode, encode, epochs_evaluated_as, joined, sha256
from sweeper.records.store import Store
from sweeper.stages.planting import plant
from sweeper.stages.points import earlier_points, points
from tests.sweeper.small_sweeps import CIRCUMSTANCES
from tests.sweeper.stages.forests import DIGESTS, MemoryStore, recipe
from trainers.data.digests import data_digest
from trainers.numerics import unpinned_sources

PS = {"selection": "probabilistic", "options": 2, "preset": "icml"}
SPEC = {
    "name": "ways",
    "recipe": {"network": "lenet", "dataset": "digits", "method": "slot_machine", "width": 0.2, **PS},
    "budget_epochs": 3,
    "slot_epochs": [2, 3],
    "axes": {"evaluation": ["argmax", "sampled"]},
}


def launched(folder, ways=("argmax", "sampled")) -> Launch:
    """A launch of the spec with these evaluations, trained to its end."""
    recipes = expand(Spec.parse({**SPEC, "axes": {"evaluation": list(ways)}}))
    digests, store = {"digits": data_digest("digits", None)}, Store(folder)
    launch = Launch("ways", plant(recipes, digests, store, sources=unpinned_sources()), digests, store, Resources(), {})
    run_local(launch)
    return launch


def facts(launch, number):
    """What a trial's curves and final figures say but for its circumstances."""
    result = launch.result(number)
    curve = [{name: value for name, value in epoch.items() if name not in CIRCUMSTANCES} for epoch in result.epochs]
    return curve, {name: value for name, value in result.finals.items() if name not in CIRCUMSTANCES}


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> Launch:
    """Both evaluations in one sweep: splits of 2 and 3 slot epochs, by arg-max and then sampled."""
    return launched(tmp_path_factory.mktemp("ways"))


def test_a_trial_read_from_shared_stages_equals_the_same_trial_alone_to_the_bit(together, tmp_path):
    assert together.forest.epochs_alone == 12 and together.forest.epochs_shared == 4
    for way in ("argmax", "sampled"):
        alone = launched(tmp_path / way, [way])
        for number, trial in enumerate(alone.forest.trials):
            (same,) = [n for n, other in enumerate(together.forest.trials) if other.recipe == trial.recipe]
            assert facts(alone, number) == facts(together, same)
    accuracies = {together.result(number).finals["test_loss"] for number in range(4)}
    assert len(accuracies) == 3  # finetuned weights are evaluated one way, the others two


def test_what_began_by_one_evaluation_goes_on_by_the_other(together, tmp_path):
    launch = launched(tmp_path / "half", ["argmax"])
    shutil.rmtree(tmp_path / "half")
    launch = Launch("ways", launch.forest, launch.digests, Store(tmp_path / "half"), Resources(), {})
    (root,) = [stage for stage in launch.forest.stages.values() if stage.parent is None]
    worker = StageWorker(launch.order(root), DataShelf())
    worker.step()
    worker.save()
    sampled = launched(tmp_path / "half", ["sampled"])
    assert [facts(sampled, number) for number in (0, 1)] == [
        facts(together, n) for n, one in enumerate(together.forest.trials) if one.recipe.evaluated_by == "sampled"
    ]


def test_stages_joined_of_two_evaluations_have_the_figures_of_one(together):
    first, second = sorted((one for one in together.records.values() if one.phase == "slot"), key=lambda one: one.end)
    way = second.recipe["evaluation"]
    other = "argmax" if way == "sampled" else "sampled"
    begun = replace(
        first, recipe={**first.recipe, "evaluation": other}, epochs=epochs_evaluated_as(first.epochs, other)
    )
    whole = joined(begun, second)
    assert [epoch["validation_loss"] for epoch in whole.epochs] == [
        epoch[f"{way}_validation_loss"] for epoch in whole.epochs
    ]


def test_evaluations_of_several_samples_and_of_other_methods_stay_apart():
    def key(**fields):
        return points(recipe(**fields), "d")[-1].key

    apart = [
        key(**PS, evaluation="argmax"),
        key(**PS, evaluation="sampled", evaluation_samples=3),
        key(**PS, evaluation="sampled", evaluation_samples=5),
        key(method="supermask", evaluation="threshold"),
        key(method="supermask", evaluation="mean_of_samples"),
        key(options=2, preset="icml"),
    ]
    assert len({*apart}) == len(apart)
    assert key(**PS, evaluation="sampled") == apart[0]
    assert len(earlier_points(recipe(**PS, evaluation="sampled", evaluation_samples=3), "d")) == 1  # its key stays


@pytest.mark.parametrize("way", ["argmax", "sampled"])
def test_what_was_stored_when_evaluations_were_told_apart_serves_its_own(way):
    before = recipe(**PS, evaluation=way)
    by_evaluation, by_all_fields = earlier_points(before, DIGESTS[before.dataset])
    assert by_evaluation[-1].key != points(before, DIGESTS[before.dataset])[-1].key != by_all_fields[-1].key
    other = recipe(**PS, evaluation="sampled" if way == "argmax" else "argmax")
    store = MemoryStore()
    for point in by_evaluation:
        store.held.setdefault(point.lineage, {})[point.epoch] = point.begin
    forest = plant([before, other], DIGESTS, store)
    assert [set(trial.stages) <= forest.stored for trial in forest.trials] == [True, False]
    grown = plant([before.model_copy(update={"slot_epochs": 6})], DIGESTS, store)
    assert grown.epochs_left == 2  # it goes on as it began


def test_records_of_before_hold_the_losses_of_one_evaluation_and_are_read(together):
    record = next(one for one in together.records.values() if one.phase == "slot")
    content = json.loads(encode(record, StateFile("0" * 64, 1)))
    losses = {f"{way}_{name}_loss" for way in ("argmax", "sampled") for name in ("validation", "test")}
    for fields in (content["record"], *content["record"]["epochs"]):
        for name in losses & fields.keys():
            del fields[name]
    content = {**content, "format": 4}
    del content["sha256"]
    read, _ = decode(canonical({**content, "sha256": sha256(canonical(content))}))
    assert read.argmax_test_loss is None and read.test_loss == record.test_loss
