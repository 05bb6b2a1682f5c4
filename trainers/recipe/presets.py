"""Presets: what a recipe leaves out, filled from the paper (`icml`) or from its authors' public code (`authors_code`).

Where the two sources are silent the value is ours, and said to be so beside it. `tuned` is `icml` with what our own
searches found better for Lenet on MNIST's validation split (docs/experiments.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from trainers.recipe.choices import DataSet, Method, Network, Preset
from trainers.recipe.errors import InvalidInput, one_of

CONV_NETWORKS = frozenset({"conv2", "conv4", "conv6"})
# Examples held out for validation; for data sets that the paper does not use the share of the nearest one is taken.
VALIDATION_EXAMPLES: dict[str, dict[str, int]] = {
    "icml": {"digits": 216, "mnist": 9000, "fashion_mnist": 9000, "cifar10": 5000, "image_folder": 1},
    "authors_code": {"digits": 240, "mnist": 10_000, "fashion_mnist": 10_000, "cifar10": 5000, "image_folder": 1},
}
VALIDATION_EXAMPLES["tuned"] = VALIDATION_EXAMPLES["icml"]
ICML_SLOT_EPOCHS = {"vgg19": 220}
ICML_LEARNED_EPOCHS = {"lenet": 200, "conv2": 200, "conv4": 330, "conv6": 330, "vgg19": 320}
AUTHORS_SLOT_EPOCHS = {"lenet": 120, "conv2": 140, "conv4": 140, "conv6": 140, "vgg19": 120}


def preset_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """A value for every field that the preset knows, for the network, data set and method that `given` names.

    A preset only fills: what `given` states wins. Raises InvalidInput for one of these names that is unknown.
    """
    name = given.get("preset", "icml")
    named = {"preset": Preset, "network": Network, "dataset": DataSet, "method": Method}
    for field, choices in ((field, get_args(kind)) for field, kind in named.items()):
        value = given.get(field, choices[0])
        if value not in choices:
            raise InvalidInput(one_of(field, value, choices))
    network_fields = _authors_code(given) if name == "authors_code" else _icml(given, name)
    fields = {
        "preset": name,
        **network_fields,
        **_finetune_phase(given),
        **METHOD_PRESETS[given["method"]](given, name),
    }
    return _without_unused_schedule_fields(fields, given)


def _icml(given: Mapping[str, Any], preset: str) -> dict[str, Any]:
    return {
        **_common(given, preset),
        "padding": 1,
        "augmentation": "crop_flip" if given["dataset"] in ("cifar10", "image_folder") else "none",
    }


def _authors_code(given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **_common(given, "authors_code"),
        "padding": 0 if given["network"] in CONV_NETWORKS else 1,
        "augmentation": "flip" if given["dataset"] in ("cifar10", "image_folder") else "none",
    }


def _common(given: Mapping[str, Any], preset: str) -> dict[str, Any]:
    return {
        "dropout": 0.5 if given["network"] in CONV_NETWORKS else 0.0,
        "validation_examples": VALIDATION_EXAMPLES[preset][given["dataset"]],
        "batch_size": 128,
        **({"image_size": 224} if given["dataset"] == "image_folder" else {}),
    }


def _schedule(phase: str, preset: str, network: str) -> dict[str, Any]:
    if preset != "authors_code":
        return {
            f"{phase}_weight_decay": 1e-4,
            f"{phase}_schedule": "warm_restarts",
            f"{phase}_schedule_epochs": 25,
            f"{phase}_schedule_factor": 2.0,
        }
    if network == "vgg19":
        return {
            f"{phase}_weight_decay": 1e-4,
            f"{phase}_schedule": "steps",
            f"{phase}_schedule_epochs": 80,
            f"{phase}_schedule_factor": 0.1,
        }
    return {f"{phase}_weight_decay": 0.0, f"{phase}_schedule": "constant"}


def _is_tuned(given: Mapping[str, Any]) -> bool:
    """Whether our own searches have a say: they were of Lenet only, so `tuned` is `icml` for every other network."""
    return given.get("preset") == "tuned" and given["network"] == "lenet"


def _finetune_phase(given: Mapping[str, Any]) -> dict[str, Any]:
    # 0.01 is in the authors' code; the paper publishes none.
    preset = given.get("preset", "icml")
    rate = 0.1 if _is_tuned(given) else 0.01
    return {"finetune_epochs": 0, "finetune_learning_rate": rate, **_schedule("finetune", preset, given["network"])}


def _slot_machine(given: Mapping[str, Any], preset: str) -> dict[str, Any]:
    selection = given.get("selection", "greedy")
    options = given.get("options", 8)
    many = isinstance(options, int) and options > 8
    network = given["network"]
    if preset != "authors_code":
        rate = 25.0 if selection == "probabilistic" else (0.1 if many else 0.2)
        epochs = ICML_SLOT_EPOCHS.get(network, 200)
        # Greedy selection depends on rate / range alone (but for decay), and in Lenet the paper's ratio is too large.
        ranges = {"score_range_conv": 1.0, "score_range_linear": 1.0 if _is_tuned(given) else 0.1}
    else:
        probabilistic_rate = 25.0 if network == "conv6" else 50.0
        rate = probabilistic_rate if selection == "probabilistic" else (0.01 if many else 0.1)
        epochs = AUTHORS_SLOT_EPOCHS.get(network, 140) + (40 if selection == "probabilistic" else 0)
        ranges = {"score_range_conv": 1.0, "score_range_linear": 1.0}
    # Decay keeps scores that are sampled from near even odds, and an arg-max is not the network that was trained.
    sampled = _is_tuned(given) and selection == "probabilistic"
    return {
        "options": 8,
        "selection": "greedy",
        "sharing": "none",
        "value_bound": "glorot_uniform",
        "evaluation": "sampled" if sampled else "argmax",
        **ranges,
        "slot_epochs": epochs,
        "slot_learning_rate": rate,
        **_schedule("slot", preset, network),
        **({"slot_weight_decay": 0.0} if sampled else {}),
    }


def _learned(given: Mapping[str, Any], preset: str) -> dict[str, Any]:
    network = given["network"]
    authors_epochs = AUTHORS_SLOT_EPOCHS.get(network, 140) + 100
    epochs = authors_epochs if preset == "authors_code" else ICML_LEARNED_EPOCHS.get(network, 200)
    start = given.get("start", "glorot")
    random_option = {"options": 8, "value_bound": "glorot_uniform"} if start == "random_option" else {}
    return {
        "start": "glorot",
        **random_option,
        "finetune_epochs": epochs,
        "slot_epochs": 0,
        "slot_learning_rate": 0.01,  # no slot phase, so never used
        "slot_weight_decay": 0.0,
        "slot_schedule": "constant",
    }


def _edge_popup(given: Mapping[str, Any], preset: str) -> dict[str, Any]:
    """Ramanujan et al. (2020): SGD 0.1, cosine, momentum 0.9, L2 1e-4, batch 128, 100 epochs."""
    return {
        "keep_fraction": 0.5,
        "weight_init": "signed_constant",
        "scale_by_keep_fraction": False,
        "slot_epochs": 100,
        "slot_learning_rate": 0.1,
        "slot_weight_decay": 1e-4,
        "slot_schedule": "cosine",
    }


def _supermask(given: Mapping[str, Any], preset: str) -> dict[str, Any]:
    """Zhou et al. (2019): momentum 0.9, no L2, rate 100 (CONV-4: 50, CONV-6: 20); the epochs are ours."""
    network = given["network"]
    return {
        "weight_init": "signed_constant",
        "rescale": True,
        "evaluation": "mean_of_samples",
        "batch_size": 60 if network in CONV_NETWORKS else 250,
        "slot_epochs": 100,
        "slot_learning_rate": {"conv4": 50.0, "conv6": 20.0}.get(network, 100.0),
        "slot_weight_decay": 0.0,
        "slot_schedule": "constant",
    }


METHOD_PRESETS = {
    "slot_machine": _slot_machine,
    "learned": _learned,
    "edge_popup": _edge_popup,
    "supermask": _supermask,
}


def _without_unused_schedule_fields(fields: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A stated schedule other than the preset's must not inherit the fields of the preset's schedule."""
    for phase in ("slot", "finetune"):
        stated = given.get(f"{phase}_schedule", fields[f"{phase}_schedule"])
        if stated != fields[f"{phase}_schedule"]:
            fields.pop(f"{phase}_schedule_epochs", None)
            fields.pop(f"{phase}_schedule_factor", None)
    return fields
