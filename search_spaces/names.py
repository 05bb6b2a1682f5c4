"""The field names that a spec may use, and the faults of those that it may not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from trainers.recipe import Recipe
from trainers.validation import nearest

if TYPE_CHECKING:
    from search_spaces.spec import Spec

RECIPE_FIELDS: tuple[str, ...] = tuple(name for name in Recipe.model_fields if name not in ("filled", "seed"))
AXIS_FIELDS: tuple[str, ...] = (*RECIPE_FIELDS, "budget_epochs")


def name_faults(spec: Spec) -> list[str]:
    """A line for every name in the spec that is no field where it stands."""
    faults = [*_unknown("recipe", spec.recipe, RECIPE_FIELDS), *_unknown("axes", spec.axes, AXIS_FIELDS)]
    for index, arm in enumerate(spec.arms):
        faults += _unknown(f"arms[{index}]", arm, AXIS_FIELDS)
    for index, rule in enumerate(spec.exclude):
        faults += _unknown(f"exclude[{index}]", rule, AXIS_FIELDS)
        if not rule:
            faults.append(f"exclude[{index}]: an empty rule would leave out the whole grid")
    faults += _search_faults(spec)
    for field, value in spec.recipe.items():
        if isinstance(value, list):
            faults.append(f"recipe.{field}: one value, not the list {value!r} (lists go under axes)")
    for index, arm in enumerate(spec.arms):
        faults += [f"arms[{index}].{field}: an empty list" for field, value in arm.items() if value == []]
    return faults


def _search_faults(spec: Spec) -> list[str]:
    if spec.search is None:
        return []
    space = spec.search.space
    faults = _unknown("search.space", space, AXIS_FIELDS)
    for name, dimension in space.items():
        faults += _unknown(f"search.space.{name}.when", dimension.when, AXIS_FIELDS)
    axes = {**spec.axes, **({"slot_epochs": spec.slot_epochs} if spec.slot_epochs is not None else {})}
    faults += [
        f"search.space.{name}: it is an axis of the grid, too; a field is either searched or an axis"
        for name in space
        if name in axes
    ]
    return faults


def _unknown(where: str, names: Iterable[str], known: tuple[str, ...]) -> list[str]:
    faults = []
    for name in names:
        if name == "seed":
            faults.append(f"{where}.seed: the seeds of a sweep go into seeds")
        elif name not in known:
            faults.append(f"{where}.{name}: unknown field{nearest(name, known)}")
    return faults
