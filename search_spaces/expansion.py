"""From a spec to its recipes: every combination, completed and checked, without duplicates, in a stable order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from search_spaces.inheritance import given_fields, with_defaults
from search_spaces.labels import arm_labels
from search_spaces.ranges import Point
from trainers.errors import InvalidInput
from trainers.plugins.known import keys_in, known_plugin, split
from trainers.recipe.plugin_fields import one_by_one
from trainers.recipe.recipe import Recipe

if TYPE_CHECKING:
    from search_spaces.spec import Spec

MAX_RECIPES = 1_000_000
# A spec says seeds, plug-ins and their costs itself; what a preset filled is stated by as_spec.
NOT_STATED = frozenset({"seed", "filled", "plugins", "costs"})


@dataclass(frozen=True)
class _Block:
    """A product of axes over a base: the grid, or one arm."""

    base: Mapping[str, Any]
    stated: Mapping[str, Any]
    axes: Mapping[str, list[Any]]
    where: str  # "" for the grid, "arms[2]" for an arm

    def cells(self) -> Iterator[dict[str, Any]]:
        for values in itertools.product(*self.axes.values()):
            yield dict(zip(self.axes, values, strict=True))

    def given(self, spec: Spec, cell: Mapping[str, Any], point: Point) -> dict[str, Any]:
        """The fields that the spec gives a recipe. In the grid, or where an arm lists methods, axes fit some."""
        own = {**self.stated, **cell, **point}
        kept = point if not self.where or "method" in self.axes else own
        return given_fields(spec.budget_epochs, self.base, own, kept)

    def origin(self, name: str, point: Point) -> str:
        """The path in the spec that gives a field; the field's own name where a preset does."""
        if name in point:
            return f"search.space.{name}"
        if self.where and (name in self.stated or name in self.axes):
            return f"{self.where}.{name}"
        if name in self.axes:
            return name if name == "slot_epochs" else f"axes.{name}"
        return f"recipe.{name}" if name in self.base and name not in NOT_STATED else name


@dataclass
class _Survey:
    """What came of a spec: its recipes (all of seed 0), and which of its parts had a use."""

    recipes: dict[str, Recipe] = field(default_factory=dict)
    corners: dict[str, Recipe] = field(default_factory=dict)  # of the searches
    used: set[tuple[str, str, str]] = field(default_factory=set)  # (block, field, value) that reached a recipe
    faults: dict[str, None] = field(default_factory=dict)
    rules_matched: set[int] = field(default_factory=set)
    searches: list[CellSearch] = field(default_factory=list)


@dataclass(frozen=True)
class CellSearch:
    """The search of one cell of the grid."""

    spec: Spec
    cell: Mapping[str, Any]  # what the axes say here

    def known(self, point: Point) -> dict[str, Any]:
        """The fields of the recipe of a point, which may still lack some."""
        merged = {**self.spec.base(), **self.cell, **point}
        return {"budget_epochs": self.spec.budget_epochs, **with_defaults(merged)}

    def recipe(self, point: Point) -> Recipe:
        """The recipe of a point, with seed 0. Raises InvalidInput."""
        given = _grid(self.spec).given(self.spec, self.cell, point)
        given.pop("budget_epochs", None)
        return Recipe.complete({**given, "seed": 0})

    def corners(self) -> list[Recipe]:
        """The recipes at the ends of the search's ranges, with seed 0."""
        assert self.spec.search is not None
        recipes = (self.recipe(point) for point in self.spec.search.corners(self.known))
        return list({recipe.content_hash(): recipe for recipe in recipes}.values())


def searches(spec: Spec) -> list[CellSearch]:
    """The search of every cell of the grid; empty where the spec does not search."""
    return _survey(spec, corners=False).searches if spec.search is not None else []


def expand(spec: Spec) -> list[Recipe]:
    """All recipes of the spec: the grid, then the arms, the seeds of an arm together; no duplicates.

    Where the spec searches, the grid has no recipes of its own: each of its cells is searched (see `searches`).
    Raises InvalidInput, a line per fault, each with the path of the field in the spec.
    """
    survey = _survey(spec)
    faults = [*survey.faults]
    if not faults:
        faults = [*_useless_fields(spec, survey), *_useless_rules(spec, survey)]
    arms = list(survey.recipes.values())
    if not faults and not arms and not survey.searches:
        faults = ["exclude: its rules leave no trial"]
    longest = [*arms, *survey.corners.values()]
    if not faults and not spec.budgets_differ:
        faults = _budget_faults(longest)
    if not faults and spec.rungs is not None:
        budget = max(recipe.budget_epochs for recipe in longest)
        faults = [
            f"rungs.epochs: nothing is left to stop at {epoch} of {budget} epochs"
            for epoch in spec.rungs.epochs
            if epoch >= budget
        ]
    if faults:
        raise InvalidInput("\n".join(faults))
    return [arm.with_seed(seed) for arm in arms for seed in spec.seed_list()]


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


def _survey(spec: Spec, corners: bool = True) -> _Survey:
    """`corners`: also complete and check the ends of what is searched."""
    survey = _Survey()
    blocks = _blocks(spec)
    sizes = [math.prod(len(values) for values in block.axes.values()) for block in blocks]
    if spec.search is not None:
        sizes[0] *= spec.search.trials
    size = sum(sizes) * len(spec.seed_list())
    if size > MAX_RECIPES:
        raise InvalidInput(f"axes: at most {MAX_RECIPES:,} recipes in a sweep, and this makes {size:,}")
    for block in blocks:
        for cell in block.cells():
            if block.where or spec.search is None:
                _add(spec, block, cell, {}, survey)
            elif not (spec.exclude and _excluded(spec, {**block.base, **cell}, survey)):
                survey.searches.append(CellSearch(spec, cell))
    if corners:
        _add_corners(spec, blocks[0], survey)
    return survey


def _grid(spec: Spec) -> _Block:
    splits = {} if spec.slot_epochs is None else {"slot_epochs": spec.slot_epochs}
    return _Block(spec.base(), {}, {**spec.axes, **splits}, "")


def _blocks(spec: Spec) -> list[_Block]:
    blocks = [_grid(spec)]
    for index, arm in enumerate(spec.arms):
        axes = {name: value for name, value in arm.items() if isinstance(value, list)}
        stated = {name: value for name, value in arm.items() if name not in axes}
        blocks.append(_Block(spec.base(), stated, axes, f"arms[{index}]"))
    return blocks


def _add(spec: Spec, block: _Block, cell: Mapping[str, Any], point: Point, survey: _Survey) -> None:
    """Complete one cell of a block, or one point of its search, and add it to the survey, or its faults."""
    try:
        given = block.given(spec, cell, point)
        survey.used |= {(block.where, name, repr(value)) for name, value in given.items()}
        if not block.where and not point and _excluded(spec, given, survey):
            return
        given.pop("budget_epochs", None)
        recipe = Recipe.complete({**given, "seed": 0})
    except InvalidInput as error:
        for line in str(error).split("\n"):
            name, colon, rest = line.partition(": ")
            if block.where and name in spec.axes and rest.startswith("missing"):
                survey.faults[f"{block.where}.{name}: {_beside_the_grid(name, spec.axes[name])}"] = None
            else:
                survey.faults[f"{block.origin(name, point)}{colon}{rest}"] = None
        return
    (survey.corners if point else survey.recipes).setdefault(recipe.content_hash(), recipe)


def _beside_the_grid(name: str, values: list[Any]) -> str:
    return (
        f"missing: {name} is an axis of the grid, and arms stand beside the grid, so the arm says its own, such as "
        f"{values[0]}, or [{', '.join(map(str, values))}]"
    )


def _add_corners(spec: Spec, grid: _Block, survey: _Survey) -> None:
    """The ends of what is searched: they must make recipes, every condition hold somewhere, every field matter."""
    if spec.search is None:
        return
    asked: set[str] = set()
    matters = {name for dimension in spec.search.space.values() for name in dimension.when}
    for search in survey.searches:
        hashes: dict[tuple[str, str], set[str]] = {}  # by a field and the rest of the point
        try:
            for point in spec.search.enqueued(search.known):
                _add(spec, grid, search.cell, point, survey)
        except InvalidInput as error:
            survey.faults[str(error)] = None
        for point in spec.search.corners(search.known):
            asked |= point.keys()
            _add(spec, grid, search.cell, point, survey)
            if survey.faults:
                continue
            recipe_hash = search.recipe(point).content_hash()
            for name in point:
                rest = repr({other: value for other, value in point.items() if other != name})
                hashes.setdefault((name, rest), set()).add(recipe_hash)
        matters |= {name for (name, _), found in hashes.items() if len(found) > 1}
    for name, dimension in spec.search.space.items():
        if name not in asked and survey.searches:
            survey.faults[f"search.space.{name}.when: {dimension.when!r} never holds"] = None
        elif name not in matters and not survey.faults and len(dimension.ends()) > 1:
            survey.faults[f"search.space.{name}: no recipe changes with it, so leave it out"] = None


def _excluded(spec: Spec, given: Mapping[str, Any], survey: _Survey) -> bool:
    """Whether a rule leaves this cell of the grid out. What the preset would fill counts as said."""
    if not spec.exclude:
        return False
    known = {"budget_epochs": spec.budget_epochs, **with_defaults(given)}
    matched = {index for index, rule in enumerate(spec.exclude) if _matches(rule, known)}
    survey.rules_matched |= matched
    return bool(matched)


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
                useless[block.origin(name, {})] = left
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


def as_spec(name: str, recipes: Sequence[Recipe], description: str = "") -> Spec:
    """A spec of these recipes, which are alike but for their seeds; `load_spec` gives each back with its hash.

    Stated is every field with a value and a meaning for the method, so that no change of a preset changes it.
    """
    from search_spaces.spec import Spec, entry_of

    assert len({recipe.arm_hash() for recipe in recipes}) == 1
    stated = recipes[0].model_dump(mode="json", exclude_none=True, exclude=set(NOT_STATED))
    seeds = sorted({recipe.seed for recipe in recipes})
    keys = keys_in(recipes[0].plugins)
    entries: list[Any] = [entry_of(plugin) for key in keys if (plugin := known_plugin(key))]
    recipe = given_fields(None, {**one_by_one(stated), "plugins": recipes[0].plugins}, {})
    recipe.pop("plugins")
    costs = split(recipes[0].costs)
    return Spec(name=name, description=description, plugins=entries, costs=costs, recipe=recipe, seeds=seeds)
