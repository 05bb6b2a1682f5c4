"""`--set field=value`: what it changes in a spec before the spec is checked."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from search_spaces.fields import AXIS_FIELDS, RECIPE_FIELDS, is_known
from search_spaces.yaml_reader import read_yaml
from trainers.errors import InvalidInput, nearest
from trainers.recipe.plugin_fields import BELOW_OPTIONS, OPTIONS

LISTED = (*AXIS_FIELDS, "seeds")  # what may have a list of values, none of which has a comma


def apply_override(
    data: dict[str, Any], override: str, spec_fields: Iterable[str], sections: Mapping[str, Sequence[str]]
) -> set[str]:
    """Changes `data`, a spec's fields, as `field=value` says; value is YAML. Returns the paths changed.

    A recipe field alone: one value goes into the base recipe, and replaces an axis of that name or what was searched
    of it; a list is the axis. `sections`: the spec's parts that have fields of their own. Raises InvalidInput.
    """
    path, equals, text = override.partition("=")
    path = path.strip()
    if not equals or not path:
        raise InvalidInput(f"--set {override}: write it as field=value, such as seeds=[0] or batch_size=64")
    try:
        value = read_yaml(text)
    except InvalidInput as error:
        raise InvalidInput(f"--set {override}: {error}") from None
    if isinstance(value, dict) and path.rpartition(".")[2] == OPTIONS:
        one_by_one = (f"{path}.{name}={json.dumps(one)}" for name, one in value.items())
        return {changed for one in one_by_one for changed in apply_override(data, one, spec_fields, sections)}
    if isinstance(value, str) and "," in value and path.rpartition(".")[2] in LISTED:
        raise InvalidInput(f"--set {override}: a list stands in brackets: --set '{path}=[{text}]'")
    below = {"recipe": RECIPE_FIELDS, "axes": AXIS_FIELDS, **{name: tuple(fields) for name, fields in sections.items()}}
    option = path.startswith(BELOW_OPTIONS)  # which is a recipe field with a dot in its name
    head, dot, field = (path, "", "") if option else path.partition(".")
    if dot:
        return _set_below(data, override, head, field, value, below)
    if head in spec_fields:
        data[head] = value
        return {head}
    if not is_known(head, RECIPE_FIELDS):
        hint = " (the seeds of a sweep are set by seeds)" if head == "seed" else nearest(
            head, [*spec_fields, *RECIPE_FIELDS, *below]
        )  # fmt: skip
        raise InvalidInput(f"--set {override}: {head} is no field of a spec or a recipe{hint}")
    axes = data.setdefault("axes", {})
    (data.get("search") or {}).get("space", {}).pop(head, None)
    if isinstance(value, list):
        axes[head] = value
        return {f"axes.{head}"}
    data["recipe"][head] = value
    if head in axes:
        axes[head] = [value]
        return {f"axes.{head}", f"recipe.{head}"}
    return {f"recipe.{head}"}


def _set_below(
    data: dict[str, Any], override: str, head: str, field: str, value: Any, below: dict[str, tuple[str, ...]]
) -> set[str]:
    if head not in below:
        raise InvalidInput(f"--set {override}: {head} is not one of {', '.join(below)}{nearest(head, below)}")
    if not (is_known(field, below[head]) if head in ("recipe", "axes") else field in below[head]):
        raise InvalidInput(f"--set {override}: {head} has no field {field}{nearest(field, below[head])}")
    if data.get(head) is None:
        data[head] = {}
    data[head][field] = value
    return {f"{head}.{field}"}


EPOCHS = ("budget_epochs", "slot_epochs", "finetune_epochs")


def rescale(data: dict[str, Any], stated: Any, touched: Collection[str]) -> None:
    """Changes `data`, a spec with a new budget in place of the `stated` one, so that all epochs scale with it.

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
