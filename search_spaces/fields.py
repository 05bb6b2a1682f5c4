"""The field names that a spec may use, and the faults of those that it may not."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from trainers.recipe.plugin_fields import BELOW_OPTIONS, OPTIONS, one_by_one
from trainers.recipe.recipe import Recipe

# The seeds, the plug-ins and their costs stand beside a spec's recipe, the options of a plug-in's method go one by one.
SAID_ELSEWHERE = ("filled", "seed", "plugins", "costs", OPTIONS)
RECIPE_FIELDS: tuple[str, ...] = tuple(name for name in Recipe.model_fields if name not in SAID_ELSEWHERE)
AXIS_FIELDS: tuple[str, ...] = (*RECIPE_FIELDS, "budget_epochs")


def is_known(name: str, known: Collection[str]) -> bool:
    """Whether a spec may have this field where it may have these: an option of a plug-in's method, besides."""
    return name in known or name.startswith(BELOW_OPTIONS)


def with_options_one_by_one(data: Mapping[str, Any]) -> dict[str, Any]:
    """A spec's content with every option of a plug-in's method under a name of its own, wherever it stands."""

    def told(fields: Any) -> Any:
        return one_by_one(fields) if isinstance(fields, dict) else fields

    found = {**data, **{part: told(data[part]) for part in ("recipe", "axes") if part in data}}
    for part in ("arms", "exclude"):
        if isinstance(found.get(part), list):
            found[part] = [told(fields) for fields in found[part]]
    return found
