"""The methods by name. To add a method: one file, one line here, and its fields in `trainers.recipe`."""

from __future__ import annotations

from trainers.attachment import Method
from trainers.edge_popup import EdgePopup
from trainers.learned import LearnedWeights
from trainers.recipe import Recipe
from trainers.slot_machine import SlotMachine
from trainers.supermask import Supermask

METHODS: dict[str, type[Method]] = {
    "slot_machine": SlotMachine,
    "learned": LearnedWeights,
    "edge_popup": EdgePopup,
    "supermask": Supermask,
}


def build_method(recipe: Recipe) -> Method:
    """The recipe's method, with its hyperparameters."""
    return METHODS[recipe.method].from_recipe(recipe)
