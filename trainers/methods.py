"""The methods by name. To add a method: one file, one line here, and its fields in `trainers.recipe`."""

from __future__ import annotations

from trainers.attachment import Method
from trainers.learned import LearnedWeights
from trainers.recipe import Recipe
from trainers.slot_machine import SlotMachine

METHODS: dict[str, type[Method]] = {
    "slot_machine": SlotMachine,
    "learned": LearnedWeights,
}


def build_method(recipe: Recipe) -> Method:
    """The recipe's method, with its hyperparameters."""
    return METHODS[recipe.method].from_recipe(recipe)
