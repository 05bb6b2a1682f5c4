"""The field names that a spec may use, and the faults of those that it may not."""

from __future__ import annotations

from trainers.recipe.recipe import Recipe

RECIPE_FIELDS: tuple[str, ...] = tuple(name for name in Recipe.model_fields if name not in ("filled", "seed"))
AXIS_FIELDS: tuple[str, ...] = (*RECIPE_FIELDS, "budget_epochs")
