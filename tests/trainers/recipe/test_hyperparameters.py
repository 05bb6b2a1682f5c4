"""Every field of a recipe reaches the trainer: each of them changes what a run reports."""

from __future__ import annotations

import itertools
from typing import Any, get_args

import pytest

from tests.trainers.tiny import STEPPED_METHODS, VARIANTS, reported, result, tiny_recipe
from trainers.methods.registry import METHOD_FIELDS, METHODS
from trainers.optimization import learning_rate
from trainers.recipe.choices import PHASES, Phase, Schedule
from trainers.recipe.recipe import Recipe

NEVER_IN_A_RESULT = {
    "preset": "a label",
    "filled": "a label",
    "slot_optimizer": "has one value",
    "dataset": "which data they are is tested with the data",
    "image_size": "of image_folder only, tested with it",
    **dict.fromkeys(("method_options", "costs", "plugins"), "of plug-ins, tested with them"),
    **dict.fromkeys(
        ("conversion", "conversion_bits", "conversion_scales"), "in no epoch's result, tested with the conversions"
    ),
}
CONV = {"network": "conv2", "dataset": "mnist", "width": 0.05, "batch_size": 15, "padding": 1, "dropout": 0.3}
PROBABILISTIC = {"selection": "probabilistic"}
RANDOM = {"start": "random_option"}
# field: what else both recipes have, the one value, the other value
COMMON: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "network": ({**CONV, "dropout": 0.0}, "conv2", "conv4"),
    "padding": (CONV, 1, 0),
    "dropout": (CONV, 0.3, 0.5),
    "width": ({}, 0.1, 0.2),
    "activation": ({}, "relu", "elu"),
    "readout": ({}, "last", "all_hidden"),
    "normalisation": ({}, "standard", "unit"),
    "augmentation": ({}, "none", "flip"),
    "validation_examples": ({}, 216, 300),
    "split_seed": ({}, 0, 1),
    "seed": ({}, 0, 1),
    "batch_size": ({}, 200, 100),
    "precision": ({}, "float32", "bfloat16"),
    "method": ({}, None, None),  # tested by itself
}
LEARNING: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "learning_rate": ({}, 0.05, 0.1),
    "momentum": ({}, 0.9, 0.5),
    "nesterov": ({}, False, True),
    "weight_decay": ({}, 0.0, 0.05),
    "schedule_epochs": ({}, 1, 2),
    "schedule_factor": ({}, 0.5, 0.1),
    "schedule": ({}, None, None),  # all of them are compared below
    "epochs": ({}, 2, 1),
}
OWN: dict[str, dict[str, tuple[dict[str, Any], Any, Any]]] = {
    "slot_machine": {
        "options": ({}, 8, 4),
        "selection": ({}, "greedy", "probabilistic"),
        "sharing": ({}, "none", "layer"),
        "value_bound": ({}, "glorot_uniform", "glorot_normal"),
        "score_range_conv": (CONV, 1.0, 0.1),
        "score_range_linear": ({}, 1.0, 0.1),
        "value_layout": ({}, None, "stratified"),
        "evaluation": (PROBABILISTIC, "argmax", "sampled"),
        "evaluation_samples": ({**PROBABILISTIC, "evaluation": "sampled"}, 2, 5),
    },
    "learned": {
        "start": ({**RANDOM, "options": None, "value_bound": None}, "glorot", "random_option"),
        "options": (RANDOM, 8, 4),
        "value_bound": (RANDOM, "glorot_uniform", "glorot_normal"),
    },
    "edge_popup": {
        "keep_fraction": ({}, 0.5, 0.3),
        "weight_init": ({}, "kaiming_normal", "signed_constant"),
        "scale_by_keep_fraction": ({}, False, True),
        "gain": ({"weight_init": "kaiming_normal"}, None, "mean_size"),
        "frozen_fraction": ({}, 0.2, 0.5),
    },
    "supermask": {
        "weight_init": ({}, "glorot_normal", "signed_constant"),
        "rescale": ({}, False, True),
        "evaluation": ({}, "mean_of_samples", "threshold"),
    },
    "signed_supermask": {"threshold_fraction": ({}, 0.75, 0.4), "mask_decay": ({}, 1e-3, 1e-2)},
    "random_features": {"value_scale": ({}, 1.0, 3.0)},
    "binary": {"tau_start": ({}, 0.85, 0.6), "tau_end": ({}, 0.99, 0.9)},
}


def changes(method: str) -> dict[str, tuple[dict[str, Any], Any, Any]]:
    found = {**COMMON, **OWN[method]}
    if METHODS[method].slot_phase:
        found["finetune_start"] = ({}, None, "shuffled")
    for phase in PHASES:
        if phase == "finetune" or method in STEPPED_METHODS:
            found.update({f"{phase}_{name}": change for name, change in LEARNING.items()})
    return found


ALL_CHANGES = [
    (method, field) for method in METHODS for field, (_, one, other) in changes(method).items() if one is not other
]


@pytest.mark.parametrize("method", METHODS)
def test_every_field_of_a_recipe_is_among_the_changes(method):
    unused = set().union(*METHOD_FIELDS.values()) - METHOD_FIELDS[method]
    if method not in STEPPED_METHODS:
        unused |= {field for field in Recipe.model_fields if field.startswith("slot_")}
    if not METHODS[method].slot_phase:
        unused.add("finetune_start")
    assert set(changes(method)) == set(Recipe.model_fields) - unused - set(NEVER_IN_A_RESULT)


@pytest.mark.parametrize(("method", "field"), ALL_CHANGES)
def test_every_hyperparameter_changes_the_result(method, field):
    fields, one, other = changes(method)[field]
    first = tiny_recipe(method=method, **{**fields, field: one})
    second = tiny_recipe(method=method, **{**fields, field: other})
    if field == "slot_learning_rate" and method == "supermask":
        first, second = (recipe.model_copy(update={field: 500 * getattr(recipe, field)}) for recipe in (first, second))
    assert first.content_hash() != second.content_hash()
    assert result(first) != result(second)


def test_the_method_its_sharing_and_its_phases_lengths_change_the_result():
    recipes = [tiny_recipe(**fields) for fields in VARIANTS.values()]
    recipes.append(tiny_recipe(method="slot_machine", sharing="network"))
    assert len({result(recipe) for recipe in recipes}) == len(recipes)


def schedules(phase: Phase) -> dict[str, dict[str, Any]]:
    def fields(schedule: str, epochs: int | None, factor: float | None) -> dict[str, Any]:
        values = {"schedule": schedule, "schedule_epochs": epochs, "schedule_factor": factor}
        return {f"{phase}_epochs": 3, **{f"{phase}_{name}": value for name, value in values.items()}}

    return {
        "constant": fields("constant", None, None),
        "cosine": fields("cosine", None, None),
        "steps": fields("steps", 2, 0.1),
        "warm_restarts": fields("warm_restarts", 2, 2.0),
        "cooldown": fields("cooldown", 1, None),
        "staircase": fields("staircase", 1, 0.6),
    }


@pytest.mark.parametrize(
    ("method", "phase"),
    [
        (method, phase)
        for method, phase in itertools.product(METHODS, PHASES)
        if phase != "slot" or method in STEPPED_METHODS
    ],
)
def test_each_schedule_changes_the_learning_rate_and_the_result(method, phase):
    assert set(schedules(phase)) == set(get_args(Schedule))
    found = {}
    for name, fields in schedules(phase).items():
        recipe = tiny_recipe(method=method, **fields)
        rate = getattr(recipe, f"{phase}_learning_rate")
        records = [record for record in reported(recipe) if record["phase"] == phase]
        found[name] = [record["learning_rate"] / rate for record in records]
        assert [record["learning_rate"] for record in records] == [learning_rate(recipe, phase, e) for e in range(3)]
    assert found["constant"] == [1, 1, 1]
    assert found["cosine"] == pytest.approx([1, 0.75, 0.25])
    assert found["steps"] == pytest.approx([1, 1, 0.1])
    assert found["warm_restarts"] == pytest.approx([1, 0.5, 1])
    assert found["cooldown"] == pytest.approx([1, 1, 0.5])
    assert found["staircase"] == pytest.approx([1, 0.6, 0.36])
    assert len({result(tiny_recipe(method=method, **fields)) for fields in schedules(phase).values()}) == len(found)


def test_greedy_selection_depends_on_score_range_and_rate_by_their_ratio_alone():
    """Twice the initial scores and twice the rate is the same race in other units, exact in binary; decay breaks it."""

    def trained(score_range: float, rate: float, decay: float) -> list[dict[str, Any]]:
        fields = {"score_range_linear": score_range, "slot_learning_rate": rate, "slot_weight_decay": decay}
        records = reported(tiny_recipe(method="slot_machine", **fields))
        own = {"learning_rate", "layers"}  # what is told of the layers holds |B|, in its units
        return [{name: value for name, value in record.items() if name not in own} for record in records]

    assert trained(0.5, 0.125, 0.0) == trained(1.0, 0.25, 0.0)
    assert trained(1.0, 0.25, 0.1) != trained(1.0, 0.25, 0.0)
