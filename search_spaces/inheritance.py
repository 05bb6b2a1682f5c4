"""What a spec says of one recipe, put together: base, exceptions, axes and the budget.

What a recipe inherits but its method does not have is left out, so that one base serves several methods; what an arm
or a search states itself must fit its method.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from trainers.conversions.registry import CONVERSIONS, PREFIX, conversion_fields
from trainers.data.registry import IMAGE_FOLDER
from trainers.errors import InvalidInput
from trainers.methods.plugged import unknown_options
from trainers.methods.registry import ALL_METHOD_FIELDS, METHOD_FIELDS, METHODS, method_card
from trainers.plugins.known import is_of_plugin
from trainers.recipe.choices import PHASES, SCHEDULE_FIELDS
from trainers.recipe.method_fields import HYPERPARAMETERS, choices
from trainers.recipe.plugin_fields import BELOW_OPTIONS
from trainers.recipe.presets import preset_fields
from trainers.recipe.recipe import Recipe


def given_fields(
    budget_epochs: int | None, base: Mapping[str, Any], own: Mapping[str, Any], kept: Collection[str] = ()
) -> dict[str, Any]:
    """The fields that a spec gives one recipe: `own` over `base`, without those that the method does not have.

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
    method, plugins = merged.get("method"), merged.get("plugins")
    if not isinstance(method, str) or not _is_known(method):
        return True  # an unknown method is a fault that Recipe.complete explains
    card = method_card(method, plugins)
    if name.startswith(BELOW_OPTIONS):
        return not unknown_options(method, plugins, [name.removeprefix(BELOW_OPTIONS)])
    if name in ALL_METHOD_FIELDS:
        return not is_of_plugin(method) and (
            name in METHOD_FIELDS[method] and name not in card.without(merged) and not _of_others(method, name, value)
        )
    if name.startswith(PREFIX):
        return merged.get("conversion") not in CONVERSIONS or name in conversion_fields(merged["conversion"])
    if name == "image_size":
        return merged.get("dataset") == IMAGE_FOLDER
    return card.slot_phase or not name.startswith("slot_")


def _of_others(method: str, name: str, value: Any) -> bool:
    """Whether the value is one that only other methods know for their field of this name."""
    known = {other: choices(kinds.get(name)) for other, kinds in HYPERPARAMETERS.items()}
    return isinstance(value, str) and value not in known[method] and any(value in others for others in known.values())


def _without_slot_phase(method: Any, plugins: object) -> bool:
    return _is_known(method) and not method_card(method, plugins).slot_phase


def _is_known(method: Any) -> bool:
    return isinstance(method, str) and (method in METHODS or is_of_plugin(method))


def _drop_schedule_fields(
    name: str, given: dict[str, Any], base: Mapping[str, Any], own: Mapping[str, Any], droppable: set[str]
) -> None:
    """What belongs to one schedule means nothing to a schedule without fields, nor to another that replaces it."""
    schedule = given.get(name, with_defaults(given).get(name))
    replaced = name in base and name in own and base[name] != own[name]
    told = next((parts for known, parts in SCHEDULE_FIELDS.items() if known == schedule), ())
    for end in ("epochs", "factor"):
        part = f"{name}_{end}"
        without = part in droppable and end not in told
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
    if slot is None and _without_slot_phase(method, given.get("plugins")):
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
    """These fields with those that the preset or the recipe fills in."""
    plain = {name: info.default for name, info in Recipe.model_fields.items() if not info.is_required()}
    try:
        return {**plain, **preset_fields(given), **given}
    except (InvalidInput, KeyError):
        return {**plain, **given}  # an impossible cell may well be what the rule leaves out
