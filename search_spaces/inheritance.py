"""What a spec says of one recipe, put together: base, exceptions, axes and the budget.

What a recipe inherits but its method does not have is left out, so that one base serves several methods; what an arm
or a search states itself must fit its method.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from trainers.recipe.choices import ALL_METHOD_FIELDS, METHOD_FIELDS, PHASES
from trainers.recipe.errors import InvalidInput
from trainers.recipe.presets import preset_fields
from trainers.recipe.recipe import Recipe

# Tuples, because what is looked for in them is whatever a spec says, lists and mappings too.
WITHOUT_SLOT_PHASE = ("learned",)
SCHEDULES_WITH_FIELDS = ("warm_restarts", "steps")
# Values that a field of several methods has for one of them only.
METHOD_VALUES: dict[tuple[str, str], frozenset[str]] = {
    ("slot_machine", "evaluation"): frozenset({"argmax", "sampled"}),
    ("supermask", "evaluation"): frozenset({"mean_of_samples", "threshold"}),
    ("edge_popup", "weight_init"): frozenset({"kaiming_normal", "signed_constant"}),
    ("supermask", "weight_init"): frozenset({"glorot_normal", "signed_constant"}),
}


def given_fields(
    budget_epochs: int | None, base: Mapping[str, Any], own: Mapping[str, Any], kept: Collection[str] = ()
) -> dict[str, Any]:
    """What a spec says of one recipe: `own` over `base`, less what the recipe's method does not have.

    What is `kept` must fit the method: it stays, so that completing the recipe says what is wrong with it.
    """
    merged = {**base, **own}
    droppable = set(merged) - set(kept)
    given = {name: value for name, value in merged.items() if name not in droppable or _applies(name, value, merged)}
    for phase in PHASES:
        _drop_schedule_fields(f"{phase}_schedule", given, base, own, droppable)
    return _with_budget(budget_epochs, given, merged.get("method"))


def _applies(name: str, value: Any, merged: Mapping[str, Any]) -> bool:
    """Whether an inherited field has a meaning for the method."""
    method = merged.get("method")
    if not isinstance(method, str) or method not in METHOD_FIELDS:
        return True  # an unknown method is a fault that Recipe.complete explains
    if name in ALL_METHOD_FIELDS and name not in METHOD_FIELDS[method]:
        return False
    if name in ("evaluation", "weight_init"):
        other = {choice for (_, field_), choices in METHOD_VALUES.items() if field_ == name for choice in choices}
        return not isinstance(value, str) or value not in other - METHOD_VALUES[method, name]
    if name == "image_size":
        return merged.get("dataset") == "image_folder"
    if method in WITHOUT_SLOT_PHASE and name.startswith("slot_"):
        return False
    from_glorot = method == "learned" and merged.get("start", "glorot") == "glorot"
    return not (from_glorot and name in ("options", "value_bound"))


def _drop_schedule_fields(
    name: str, given: dict[str, Any], base: Mapping[str, Any], own: Mapping[str, Any], droppable: set[str]
) -> None:
    """What belongs to one schedule means nothing to a schedule without fields, nor to another that replaces it."""
    schedule = given.get(name, with_defaults(given).get(name))
    replaced = name in base and name in own and base[name] != own[name]
    for part in (f"{name}_epochs", f"{name}_factor"):
        without = part in droppable and schedule not in SCHEDULES_WITH_FIELDS
        if without or (replaced and part not in own):
            given.pop(part, None)


def _with_budget(budget_epochs: int | None, given: dict[str, Any], method: Any) -> dict[str, Any]:
    """Fill slot_epochs and finetune_epochs so that they make the budget."""
    budget = given.get("budget_epochs", budget_epochs)
    if budget is None:
        return given
    if isinstance(budget, bool) or not isinstance(budget, int) or budget < 1:
        raise InvalidInput(f"budget_epochs: should be a whole number of at least 1, not {budget!r}")
    slot, finetune = given.get("slot_epochs"), given.get("finetune_epochs")
    for name, value in (("slot_epochs", slot), ("finetune_epochs", finetune)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= budget):
            raise InvalidInput(f"{name}: a part of the budget is from 0 to {budget} epochs, not {value!r}")
    if method in WITHOUT_SLOT_PHASE and slot is None:
        slot = 0
    if slot is None:
        slot = budget - (finetune or 0)
    if finetune is None:
        finetune = budget - slot
    if slot + finetune != budget:
        raise InvalidInput(
            f"finetune_epochs: {slot} slot epochs and {finetune} finetune epochs are not the budget of {budget} epochs"
        )
    return {**given, "slot_epochs": slot, "finetune_epochs": finetune}


def with_defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    """These fields, and what the preset or the recipe would fill."""
    plain = {name: info.default for name, info in Recipe.model_fields.items() if not info.is_required()}
    try:
        return {**plain, **preset_fields(given), **given}
    except (InvalidInput, KeyError):
        return {**plain, **given}  # an impossible cell may well be what the rule leaves out
