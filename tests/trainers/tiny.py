"""Recipes and data that train in milliseconds, for the contracts that every method keeps."""

from __future__ import annotations

import functools
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from trainers.data.splits import DataSplits, Split, load_splits
from trainers.recipe.recipe import Recipe
from trainers.training import EpochRecord, TrainingRun

STEPPED_METHODS = ("slot_machine", "edge_popup", "supermask", "signed_supermask", "binary")
SLOT_METHODS = (*STEPPED_METHODS, "random_features")  # the last one solves for its last layer, in place of steps
SCHEDULE = {"schedule": "steps", "schedule_epochs": 1, "schedule_factor": 0.5}
# Every way to find weights that trains or evaluates differently from the others.
VARIANTS: dict[str, dict[str, Any]] = {
    "slot_machine": {"method": "slot_machine"},
    "slot_machine, probabilistic": {"method": "slot_machine", "selection": "probabilistic", "evaluation": "sampled"},
    "slot_machine, layer-shared": {"method": "slot_machine", "sharing": "layer"},
    "learned": {"method": "learned"},
    "learned, random option": {"method": "learned", "start": "random_option"},
    "learned, Kaiming": {"method": "learned", "start": "kaiming"},
    "edge_popup": {"method": "edge_popup", "weight_init": "kaiming_normal", "keep_fraction": 0.3},
    "edge_popup, frozen": {
        "method": "edge_popup",
        "weight_init": "kaiming_normal",
        "gain": "mean_size",
        "frozen_fraction": 0.6,
    },
    "supermask": {"method": "supermask", "rescale": False},
    "supermask, rescaled": {"method": "supermask", "rescale": True, "evaluation": "threshold"},
    "signed_supermask": {"method": "signed_supermask"},
    "random_features": {"method": "random_features"},
    "binary": {"method": "binary"},
    "binary, one quantile": {"method": "binary", "tau_start": 0.9, "tau_end": 0.9},
}


def tiny_recipe(**fields: Any) -> Recipe:
    """Lenet of a tenth of its width on digits, two epochs a phase; `fields` win. None takes a field out."""
    base: dict[str, Any] = {"network": "lenet", "dataset": "digits", "width": 0.1, "batch_size": 200}
    base["finetune_epochs"] = 2
    if fields.get("method") != "learned":
        base["slot_epochs"] = 2
    for phase in ("slot", "finetune"):
        base.update({f"{phase}_{name}": value for name, value in SCHEDULE.items()})
    if fields.get("method") == "supermask":
        base["slot_learning_rate"] = 50.0
    if fields.get("method") == "binary":
        base["slot_learning_rate"] = 0.01
    given = {**base, **fields}
    return Recipe.complete({name: value for name, value in given.items() if value is not None})


def tiny_splits(shape: tuple[int, int, int] = (1, 28, 28), train: int = 45, test: int = 23) -> DataSplits:
    """Noise with a patch that tells the class, of four."""
    generator = torch.Generator().manual_seed(0)

    def split(count: int) -> Split:
        labels = torch.arange(count) % 4
        images = torch.randn(count, *shape, generator=generator)
        images[:, :, :4] += (labels[:, None, None, None] - 1.5) * 2
        return Split(images, labels)

    return DataSplits(split(train), split(test), split(test), classes=4, digest="tiny", input_shape=shape)


@functools.cache
def data_for(recipe: Recipe) -> DataSplits:
    """The real digits; for other data sets noise of their shape."""
    return load_splits(recipe, None) if recipe.dataset == "digits" else tiny_splits()


def timeless(record: EpochRecord) -> dict[str, Any]:
    """The record but for its seconds and energy, which no two runs have in common."""
    return {name: value for name, value in record.as_dict().items() if not name.endswith(("_seconds", "_joules"))}


def copied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def same_state(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@functools.cache
def reported(recipe: Recipe) -> tuple[dict[str, Any], ...]:
    """All that a run of the recipe reports, epoch by epoch, the test split's measures included."""
    run = TrainingRun(recipe, data_for(recipe))
    return tuple(
        {**timeless(record), **{f"test_{k}": v for k, v in asdict(run.test()).items()}} for record in run.epochs()
    )


def result(recipe: Recipe) -> tuple[Any, ...]:
    """What the run measured, and nothing that it was told."""
    return tuple(
        value for record in reported(recipe) for name, value in record.items() if name.endswith(("loss", "accuracy"))
    )
