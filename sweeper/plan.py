"""`sweeper plan`: what a sweep consists of and costs, before anything runs."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from search_spaces.labels import arm_labels
from search_spaces.spec import Spec, expand
from sweeper.forest import Forest, Stored, plant
from trainers.recipe import Recipe
from trainers.validation import InvalidInput

FlopsPerEpoch = Callable[[Recipe], int]
ARMS_SHOWN = 60
_PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class PlannedArm:
    """One arm: recipes alike but for the seed."""

    label: str
    trials: int
    slot_epochs: int
    finetune_epochs: int
    flops: int | None  # of one trial run alone
    trials_stored: int


@dataclass(frozen=True)
class Plan:
    """A sweep in numbers. FLOPs are of training, 1 multiply-add = 2; None where the data set does not tell its size."""

    name: str
    description: str
    arms: tuple[PlannedArm, ...]
    trials: int
    stages: int
    epochs_alone: int  # if every trial ran by itself
    epochs_shared: int  # if nothing is trained twice
    epochs_left: int  # not in the store yet
    stored: int  # stages
    trials_stored: int
    flops_alone: int | None
    flops_shared: int | None
    flops_left: int | None
    notes: tuple[str, ...] = ()

    @property
    def sharing(self) -> float:
        """How many times fewer epochs shared stages take."""
        return self.epochs_alone / self.epochs_shared if self.epochs_shared else 1.0

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values, for `--json`."""
        return {
            **asdict(self),
            "arms": [asdict(arm) for arm in self.arms],
            "notes": [*self.notes],
            "sharing": self.sharing,
        }

    def text(self) -> str:
        """All of it as lines for people."""
        return "\n".join([*_heading(self), "", *_arm_table(self.arms), "", *_totals(self), *self.notes])


def make_plan(
    spec: Spec, forest: Forest, flops_per_epoch: FlopsPerEpoch | None = None, notes: Sequence[str] = ()
) -> Plan:
    """The plan of a spec whose recipes were planted as `forest`."""
    per_epoch = _counted_once(flops_per_epoch or _training_flops_per_epoch)
    recipes = [trial.recipe for trial in forest.trials]
    costs = {key: per_epoch(stage.recipe) for key, stage in forest.stages.items()}
    in_store = [set(trial.stages) <= forest.stored for trial in forest.trials]

    def flops_of(keys: Sequence[str]) -> int | None:
        return _total((costs[key], forest.stages[key].epochs) for key in keys)

    return Plan(
        name=spec.name,
        description=spec.description,
        arms=_arms(recipes, in_store, per_epoch),
        trials=len(recipes),
        stages=len(forest.stages),
        epochs_alone=forest.epochs_alone,
        epochs_shared=forest.epochs_shared,
        epochs_left=forest.epochs_left,
        stored=len(forest.stored),
        trials_stored=sum(in_store),
        flops_alone=_total((per_epoch(recipe), recipe.budget_epochs) for recipe in recipes),
        flops_shared=_shared_flops(forest, costs),
        flops_left=flops_of([key for key in forest.stages if key not in forest.stored]),
        notes=tuple(notes),
    )


def plan_sweep(spec: Spec, stored: Stored | None = None, data_dir: Path | None = None) -> Plan:
    """The plan of a spec, against a store and the data on this machine. Without the data it does without the store."""
    recipes = expand(spec)
    notes = []
    try:
        digests = digests_of(recipes, data_dir)
    except InvalidInput as error:
        notes.append(f"What is already stored cannot be told without the data: {str(error).splitlines()[0]}")
        digests = {recipe.dataset: "" for recipe in recipes}
        stored = None
    return make_plan(spec, plant(recipes, digests, stored), notes=notes)


def digests_of(recipes: Sequence[Recipe], data_dir: Path | None) -> dict[str, str]:
    """The digest of every data set that the recipes train on. Raises InvalidInput for one that is not there."""
    from trainers.data import data_digest

    return {name: data_digest(name, data_dir) for name in dict.fromkeys(recipe.dataset for recipe in recipes)}


def readable(count: float) -> str:
    """A large count with a prefix: 1.23 T, 45.6 G, 789."""
    for size, prefix in _PREFIXES:
        if count >= size:
            return f"{count / size:.3g} {prefix}"
    return f"{count:g} "


def _training_flops_per_epoch(recipe: Recipe) -> int | None:
    from trainers.flops import training_flops_per_epoch

    try:
        return training_flops_per_epoch(recipe)
    except InvalidInput:  # a folder of images: how many, only looking tells
        return None


def _counted_once(flops_per_epoch: Callable[[Recipe], int | None]) -> Callable[[Recipe], int | None]:
    """The same, asked once for all recipes that cannot differ in it."""
    known: dict[Any, int | None] = {}

    def counted(recipe: Recipe) -> int | None:
        key = (recipe.network, recipe.padding, recipe.width, recipe.dropout, recipe.dataset, recipe.image_size,
               recipe.validation_examples)  # fmt: skip
        if key not in known:
            known[key] = flops_per_epoch(recipe)
        return known[key]

    return counted


def _total(parts: Any) -> int | None:
    total = 0
    for flops, epochs in parts:
        if flops is None:
            return None
        total += flops * epochs
    return total


def _shared_flops(forest: Forest, costs: Mapping[str, int | None]) -> int | None:
    """Each epoch of a lineage once, also where stored stages overlap."""
    furthest: dict[str, tuple[int, int | None]] = {}
    for key, stage in forest.stages.items():
        end, _ = furthest.get(stage.lineage, (0, None))
        furthest[stage.lineage] = (max(end, stage.end), costs[key])
    return _total((flops, end) for end, flops in furthest.values())


def _arms(
    recipes: Sequence[Recipe], in_store: Sequence[bool], per_epoch: Callable[[Recipe], int | None]
) -> tuple[PlannedArm, ...]:
    members: dict[str, list[int]] = {}
    for number, label in enumerate(arm_labels(recipes)):
        members.setdefault(label, []).append(number)
    arms = []
    for label, numbers in members.items():
        first = recipes[numbers[0]]
        flops = _total([(per_epoch(first), first.budget_epochs)])
        stored = sum(in_store[number] for number in numbers)
        arms.append(PlannedArm(label, len(numbers), first.slot_epochs, first.finetune_epochs, flops, stored))
    return tuple(arms)


def _heading(plan: Plan) -> list[str]:
    return [plan.name, *textwrap.wrap(plan.description, 100, initial_indent="  ", subsequent_indent="  ")]


def _arm_table(arms: Sequence[PlannedArm]) -> list[str]:
    rows = [("arm", "trials", "slot + finetune epochs", "FLOPs a trial", "stored")]
    for arm in arms[:ARMS_SHOWN]:
        epochs = f"{arm.slot_epochs} + {arm.finetune_epochs}"
        flops = "?" if arm.flops is None else f"{readable(arm.flops)}FLOP"
        rows.append((arm.label, str(arm.trials), epochs, flops, f"{arm.trials_stored}" if arm.trials_stored else "–"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  "
        + "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    if len(arms) > ARMS_SHOWN:
        lines.append(f"  … and {len(arms) - ARMS_SHOWN:,} more arms")
    return lines


def _totals(plan: Plan) -> list[str]:
    shared = f", {plan.epochs_shared:,} with shared stages ({plan.sharing:.2f} times fewer)"
    lines = [
        f"{plan.trials:,} trials of {len(plan.arms):,} arms, in {plan.stages:,} stages",
        f"{plan.epochs_alone:,} epochs if every trial ran alone"
        + (shared if plan.epochs_shared < plan.epochs_alone else "; no stage is shared"),
    ]
    if plan.flops_alone is not None and plan.flops_shared is not None:
        lines.append(f"{readable(plan.flops_alone)}FLOP alone, {readable(plan.flops_shared)}FLOP shared")
    left = f", {readable(plan.flops_left)}FLOP" if plan.flops_left else ""
    lines.append(f"stored already: {plan.stored:,} stages, {plan.trials_stored:,} trials")
    lines.append(f"left to train: {plan.epochs_left:,} epochs{left}")
    return lines
