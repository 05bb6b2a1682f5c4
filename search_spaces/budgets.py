"""`--set budget_epochs=N`: a spec with another budget keeps the shares that its epochs have of it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

EPOCHS = ("budget_epochs", "slot_epochs", "finetune_epochs")


def rescale(data: dict[str, Any], stated: Any, touched: Collection[str]) -> None:
    """Change `data`, a spec's fields with a new budget in place of the `stated` one, so that all epochs scale with it.

    Splits and smaller budgets are rounded, those that were above 0 to no less than 1, and what becomes equal is kept
    once. What an override set itself (`touched` paths) stays. Schedules are not changed: their epochs are the recipe's.
    """
    budget, largest = data["budget_epochs"], _largest(data, stated)
    if largest is None or not _is_number(budget) or budget < 1:
        return

    def scaled(value: Any) -> Any:
        if isinstance(value, list):
            return list(dict.fromkeys(map(scaled, value)))
        if not _is_number(value):
            return value  # a fault that the spec's own checks explain
        return value if value < 1 else max(1, round(value * budget / largest))

    parts = [("recipe", data.get("recipe")), ("axes", data.get("axes"))]
    parts += [("arms", arm) for arm in data.get("arms", ())]
    if "exclude" not in touched:
        parts += [("exclude", rule) for rule in data.get("exclude", ())]
    if _is_number(stated):
        data["budget_epochs"] = scaled(stated)
    if "slot_epochs" in data and "slot_epochs" not in touched:
        data["slot_epochs"] = scaled(data["slot_epochs"])
    for where, fields in parts:
        for name in EPOCHS:
            if isinstance(fields, dict) and name in fields and f"{where}.{name}" not in touched:
                fields[name] = scaled(fields[name])


def _largest(data: dict[str, Any], stated: Any) -> int | None:
    """The largest budget that the spec stated; None where it left its epochs to presets."""
    found = [stated]
    for place in (data.get("axes"), *data.get("arms", ())):
        value = place.get("budget_epochs") if isinstance(place, dict) else None
        found += value if isinstance(value, list) else [value]
    return max(filter(_is_number, found), default=None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
