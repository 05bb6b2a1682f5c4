"""The methods by name. To add a method: one file, one line here, and its fields in `trainers.recipe.recipe`."""

from __future__ import annotations

from trainers.methods.base import Method
from trainers.methods.edge_popup import EdgePopup
from trainers.methods.learned import LearnedWeights
from trainers.methods.slot_machine import SlotMachine
from trainers.methods.supermask import Supermask
from trainers.recipe.recipe import Recipe

METHODS: dict[str, type[Method]] = {
    "slot_machine": SlotMachine,
    "learned": LearnedWeights,
    "edge_popup": EdgePopup,
    "supermask": Supermask,
}


def build_method(recipe: Recipe) -> Method:
    """The recipe's method, with its hyperparameters."""
    return METHODS[recipe.method].from_recipe(recipe)
