"""Presets: what a recipe leaves out, filled from the paper (`icml`) or from its authors' public code (`authors_code`).

Where the two sources are silent the value is ours, and said to be so beside it. `tuned` is `icml` with what our own
searches found better for Lenet on MNIST's validation split (docs/experiments.md). What is a method's, a network's or a
data set's own stands with it; what none of them states and no recipe either is missing, and `Recipe.complete` says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from trainers.data.registry import DATA_NAMES, IMAGE_FOLDER, data_facts
from trainers.errors import InvalidInput, one_of
from trainers.methods.plugged import preset_fields_of_plugin
from trainers.methods.registry import METHODS, method_card
from trainers.methods.schedules import is_tuned, published_schedule
from trainers.networks.registry import NETWORKS, network_named
from trainers.plugins.known import is_of_plugin
from trainers.recipe.choices import PHASES, Preset

PLUGGED = ("network", "dataset", "method")  # which a plug-in may bring
# A phase that a method does not have is never run, but a recipe has its fields.
NO_SLOT_PHASE = {
    "slot_epochs": 0,
    "slot_learning_rate": 0.01,
    "slot_weight_decay": 0.0,
    "slot_schedule": "constant",
}


def preset_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """A value for every field that the preset knows, for the network, data set and method that `given` names.

    A preset only fills: what `given` states wins. Raises InvalidInput for one of these names that is unknown.
    """
    preset = given.get("preset", "icml")
    named = {"preset": get_args(Preset), "network": [*NETWORKS], "dataset": DATA_NAMES, "method": [*METHODS]}
    for field, choices in named.items():
        value = given.get(field, choices[0])
        if value not in choices and not (field in PLUGGED and is_of_plugin(value)):
            raise InvalidInput(one_of(field, value, choices))
    method, plugins = method_card(given["method"], given.get("plugins")), given.get("plugins")
    fields = {
        "preset": preset,
        **_problem(given, preset),
        **_finetune_phase(given["network"], preset),
        **({"finetune_epochs": 0} if method.slot_phase else NO_SLOT_PHASE),
        **(
            preset_fields_of_plugin(given["method"], plugins, preset)
            if is_of_plugin(given["method"])
            else method.preset_fields(given, preset)
        ),
    }
    if "activation" not in network_named(given["network"], plugins).fields:
        fields.pop("activation", None)
    fields |= _cooldowns({**fields, **given}, preset)
    return _without_unused_schedule_fields(fields, given)


def _problem(given: Mapping[str, Any], preset: str) -> dict[str, Any]:
    """What is trained on what."""
    source = "authors_code" if preset == "authors_code" else "icml"
    data = data_facts(given["dataset"], given.get("plugins"))
    held_out = data.validation_examples.get(source)
    pixels = data.normalisation.get("tuned" if is_tuned(given["network"], preset) else source, "standard")
    augmentation = {"icml": "crop_flip", "authors_code": "flip"}[source] if data.photographs else "none"
    return {
        "padding": 1,
        "dropout": 0.0,
        **network_named(given["network"], given.get("plugins")).presets.get(source, {}),
        **({} if held_out is None else {"validation_examples": held_out}),
        "normalisation": pixels,
        "augmentation": augmentation,
        "batch_size": 128,
        **({"image_size": 224} if given["dataset"] == IMAGE_FOLDER else {}),
    }


def _finetune_phase(network: str, preset: str) -> dict[str, Any]:
    # 0.01 is in the authors' code; the paper publishes none.
    rate = 0.1 if is_tuned(network, preset) else 0.01
    return {"finetune_learning_rate": rate, **published_schedule("finetune", preset, network)}


def _cooldowns(known: Mapping[str, Any], preset: str) -> dict[str, Any]:
    """`tuned` lets the rate fall to 0 over the last fifth of the budget, or all of a shorter phase: in both phases of a
    split, and in probabilistic selection.

    A cycle that a phase does not fill leaves it at its full rate. Splits of one budget share the constant part.
    """
    epochs = {phase: known.get(f"{phase}_epochs", 0) for phase in PHASES}
    phases = [phase for phase, count in epochs.items() if isinstance(count, int) and count > 0]
    is_split, probabilistic = len(phases) == len(PHASES), known.get("selection") == "probabilistic"
    if not (is_tuned(known["network"], preset) and (is_split or (probabilistic and phases))):
        return {}
    last = max(1, sum(epochs[phase] for phase in phases) // 5)
    told = {"schedule": "cooldown", "schedule_epochs": last, "schedule_factor": None}
    return {f"{phase}_{name}": value for phase in phases for name, value in told.items()}


def _without_unused_schedule_fields(fields: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A stated schedule other than the preset's must not inherit the fields of the preset's schedule."""
    for phase in ("slot", "finetune"):
        filled = fields.get(f"{phase}_schedule")
        if given.get(f"{phase}_schedule", filled) != filled:
            fields.pop(f"{phase}_schedule_epochs", None)
            fields.pop(f"{phase}_schedule_factor", None)
    return fields
