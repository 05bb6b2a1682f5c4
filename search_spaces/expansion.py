"""From a spec to its recipes: every combination, completed and checked, without duplicates, in a stable order.

What a recipe inherits but its method does not have is left out, so that one base serves several methods; what an arm
states itself must fit its method.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from search_spaces.labels import arm_labels
from trainers.presets import preset_fields
from trainers.recipe import ALL_METHOD_FIELDS, METHOD_FIELDS, PHASES, Recipe
from trainers.validation import InvalidInput

if TYPE_CHECKING:
    from search_spaces.spec import Spec

MAX_RECIPES = 1_000_000
WITHOUT_SLOT_PHASE = frozenset({"learned"})
SCHEDULES_WITH_FIELDS = frozenset({"warm_restarts", "steps"})
# Values that a field of several methods has for one of them only.
METHOD_VALUES: dict[tuple[str, str], frozenset[str]] = {
    ("slot_machine", "evaluation"): frozenset({"argmax", "sampled"}),
    ("supermask", "evaluation"): frozenset({"mean_of_samples", "threshold"}),
    ("edge_popup", "weight_init"): frozenset({"kaiming_normal", "signed_constant"}),
    ("supermask", "weight_init"): frozenset({"glorot_normal", "signed_constant"}),
}


@dataclass(frozen=True)
class _Block:
    """A product of axes over a base: the grid, or one arm."""

    base: Mapping[str, Any]
    stated: Mapping[str, Any]
    axes: Mapping[str, list[Any]]
    where: str  # "" for the grid, "arms[2]" for an arm

    def origin(self, name: str) -> str:
        """Where the spec says what a field is; the field's own name where a preset says it."""
        if self.where and (name in self.stated or name in self.axes):
            return f"{self.where}.{name}"
        if name in self.axes:
            return name if name == "slot_epochs" else f"axes.{name}"
        return f"recipe.{name}" if name in self.base else name


@dataclass
class _Survey:
    """What came of a spec: its recipes (all of seed 0), and which of its parts had a use."""

    recipes: dict[str, Recipe] = field(default_factory=dict)
    used: set[tuple[str, str, str]] = field(default_factory=set)  # (block, field, value) that reached a recipe
    faults: dict[str, None] = field(default_factory=dict)
    rules_matched: set[int] = field(default_factory=set)


def expand(spec: Spec) -> list[Recipe]:
    """All recipes of the spec: the grid, then the arms, the seeds of an arm together; no duplicates.

    Raises InvalidInput, a line per fault, each with the path of the field in the spec.
    """
    survey = _survey(spec)
    faults = [*survey.faults]
    if not faults:
        faults = [*_useless_fields(spec, survey), *_useless_rules(spec, survey)]
    arms = list(survey.recipes.values())
    if not faults and not arms:
        faults = ["exclude: its rules leave no trial"]
    if not faults and not spec.budgets_differ:
        faults = _budget_faults(arms)
    if faults:
        raise InvalidInput("\n".join(faults))
    return [arm.model_copy(update={"seed": seed}) for arm in arms for seed in spec.seed_list()]


def pruned(spec: Spec, touched: set[str]) -> Spec:
    """The spec without what its overrides (`touched` paths) left without use: rules, axes and base fields.

    What an override set itself stays, so that `expand` says that it has no use.
    """
    survey = _survey(spec)
    if survey.faults:
        return spec
    useless = {path: values for path, values in _useless(spec, survey).items() if path not in touched}

    def useful(path: str, values: list[Any]) -> list[Any]:
        return [value for value in values if value not in useless.get(path, [])]

    axes = {name: useful(f"axes.{name}", values) for name, values in spec.axes.items()}
    update: dict[str, Any] = {
        "recipe": {name: value for name, value in spec.recipe.items() if f"recipe.{name}" not in useless},
        "axes": {name: values for name, values in axes.items() if values},
    }
    if spec.slot_epochs is not None:
        update["slot_epochs"] = useful("slot_epochs", list(spec.slot_epochs)) or None
    if "exclude" not in touched:
        update["exclude"] = [rule for index, rule in enumerate(spec.exclude) if index in survey.rules_matched]
    return type(spec).parse({**spec.model_dump(exclude_unset=True), **update})


def _survey(spec: Spec) -> _Survey:
    survey = _Survey()
    blocks = _blocks(spec)
    size = sum(math.prod(len(values) for values in block.axes.values()) for block in blocks) * len(spec.seed_list())
    if size > MAX_RECIPES:
        raise InvalidInput(f"axes: at most {MAX_RECIPES:,} recipes in a sweep, and this makes {size:,}")
    for block in blocks:
        for values in itertools.product(*block.axes.values()):
            _add(spec, block, dict(zip(block.axes, values, strict=True)), survey)
    return survey


def _blocks(spec: Spec) -> list[_Block]:
    splits = {} if spec.slot_epochs is None else {"slot_epochs": spec.slot_epochs}
    blocks = [_Block(spec.recipe, {}, {**spec.axes, **splits}, "")]
    for index, arm in enumerate(spec.arms):
        axes = {name: value for name, value in arm.items() if isinstance(value, list)}
        stated = {name: value for name, value in arm.items() if name not in axes}
        blocks.append(_Block(spec.recipe, stated, axes, f"arms[{index}]"))
    return blocks


def _add(spec: Spec, block: _Block, cell: Mapping[str, Any], survey: _Survey) -> None:
    """Complete one cell of a block and add it to the survey, or its faults."""
    try:
        given = _given(spec, block, cell)
        survey.used |= {(block.where, name, repr(value)) for name, value in given.items()}
        if not block.where and _excluded(spec, given, survey):
            return
        given.pop("budget_epochs", None)
        recipe = Recipe.complete({**given, "seed": 0})
    except InvalidInput as error:
        for line in str(error).split("\n"):
            name, colon, rest = line.partition(": ")
            survey.faults[f"{block.origin(name)}{colon}{rest}"] = None
        return
    survey.recipes.setdefault(recipe.content_hash(), recipe)


def _given(spec: Spec, block: _Block, cell: Mapping[str, Any]) -> dict[str, Any]:
    """What a cell says of its recipe: base, exceptions and axes together, less what its method does not have."""
    own = {**block.stated, **cell}
    merged = {**block.base, **own}
    method = merged.get("method")
    # In the grid, and where an arm lists methods, the axes need not fit every method: one that fits none is a fault.
    droppable = set(merged) if not block.where or "method" in block.axes else set(merged) - set(own)
    given = {name: value for name, value in merged.items() if name not in droppable or _applies(name, value, merged)}
    for phase in PHASES:
        _drop_schedule_fields(f"{phase}_schedule", given, block.base, own, droppable)
    return _with_budget(spec, given, method)


def _applies(name: str, value: Any, merged: Mapping[str, Any]) -> bool:
    """Whether an inherited field has a meaning for the method."""
    method = merged.get("method")
    if method not in METHOD_FIELDS:
        return True  # an unknown method is a fault that Recipe.complete explains
    if name in ALL_METHOD_FIELDS and name not in METHOD_FIELDS[method]:
        return False
    if name in ("evaluation", "weight_init"):
        other = {choice for (_, field_), choices in METHOD_VALUES.items() if field_ == name for choice in choices}
        return value not in other - METHOD_VALUES[method, name]
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
    schedule = given.get(name, _defaults(given).get(name))
    replaced = name in base and name in own and base[name] != own[name]
    for part in (f"{name}_epochs", f"{name}_factor"):
        without = part in droppable and schedule not in SCHEDULES_WITH_FIELDS
        if without or (replaced and part not in own):
            given.pop(part, None)


def _with_budget(spec: Spec, given: dict[str, Any], method: Any) -> dict[str, Any]:
    """Fill slot_epochs and finetune_epochs so that they make the budget."""
    budget = given.get("budget_epochs", spec.budget_epochs)
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


def _excluded(spec: Spec, given: Mapping[str, Any], survey: _Survey) -> bool:
    """Whether a rule leaves this cell of the grid out. What the preset would fill counts as said."""
    if not spec.exclude:
        return False
    known = {"budget_epochs": spec.budget_epochs, **_defaults(given), **given}
    matched = {index for index, rule in enumerate(spec.exclude) if _matches(rule, known)}
    survey.rules_matched |= matched
    return bool(matched)


def _defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    plain = {name: info.default for name, info in Recipe.model_fields.items() if not info.is_required()}
    try:
        return {**plain, **preset_fields(given)}
    except (InvalidInput, KeyError):
        return plain  # an impossible cell may well be what the rule leaves out


def _matches(rule: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    return all(known.get(name) in (value if isinstance(value, list) else [value]) for name, value in rule.items())


def _useless(spec: Spec, survey: _Survey) -> dict[str, list[Any]]:
    """What reaches no recipe: the path in the spec and those of its values."""
    anywhere = {name for _, name, _ in survey.used}
    useless = {f"recipe.{name}": [value] for name, value in spec.recipe.items() if name not in anywhere}
    for block in _blocks(spec):
        own = {**block.axes, **{name: [value] for name, value in block.stated.items()}}
        for name, values in own.items():
            left = [value for value in values if (block.where, name, repr(value)) not in survey.used]
            if left:
                useless[block.origin(name)] = left
    return useless


def _useless_fields(spec: Spec, survey: _Survey) -> list[str]:
    methods = ", ".join(sorted({recipe.method for recipe in survey.recipes.values()}))
    return [
        f"{path}: no recipe here can have {' or '.join(map(repr, values))} (method: {methods}), so leave it out"
        for path, values in _useless(spec, survey).items()
    ]


def _useless_rules(spec: Spec, survey: _Survey) -> list[str]:
    return [
        f"exclude[{index}]: {rule!r} matches no cell of the grid, so leave it out"
        for index, rule in enumerate(spec.exclude)
        if index not in survey.rules_matched
    ]


def _budget_faults(arms: list[Recipe]) -> list[str]:
    examples: dict[int, str] = {}
    for arm, label in zip(arms, arm_labels(arms), strict=True):
        examples.setdefault(arm.budget_epochs, label)
    if len(examples) < 2:
        return []
    listed = ", ".join(f"{epochs} epochs ({label})" for epochs, label in sorted(examples.items())[:4])
    return [
        f"budget_epochs: the arms differ in their total: {listed}; fix it by budget_epochs, or say budgets_differ: true"
    ]
