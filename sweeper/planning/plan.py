"""`sweeper plan`: what a sweep consists of and costs, before anything runs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from types import MappingProxyType
from typing import Any

from search_spaces.labels import arm_labels
from search_spaces.spec import Spec
from sweeper.planning.estimates import Estimates
from sweeper.planning.forecast import Forecast
from sweeper.stages.faults import Failure
from sweeper.stages.forest import Forest
from sweeper.text import in_words, text_table
from trainers.costs.units import BYTE, FLOP
from trainers.numerics import kept_apart
from trainers.recipe.recipe import Recipe

ARMS_SHOWN = 60


@dataclass(frozen=True)
class PlannedArm:
    """One arm: recipes alike but for the seed."""

    label: str
    trials: int
    slot_epochs: int
    finetune_epochs: int
    flops: int | None  # of one trial run alone
    trials_stored: int
    seconds: float | None  # of one trial run alone
    memory_bytes: int | None


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
    epochs_left: int  # neither stored nor failed for good
    stored: int  # stages
    trials_stored: int
    flops_alone: int | None
    flops_shared: int | None
    flops_left: int | None
    failed: int  # stages that failed for good, and those below them
    estimate: Forecast | None
    notes: tuple[str, ...] = ()

    @property
    def sharing(self) -> float:
        """The ratio of epochs without shared stages to epochs with them."""
        return self.epochs_alone / self.epochs_shared if self.epochs_shared else 1.0

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain values, for `--json`."""
        return {
            **asdict(self),
            "arms": [asdict(arm) for arm in self.arms],
            "notes": [*self.notes],
            "sharing": self.sharing,
        }

    def text(self) -> str:
        """The plan as text for people."""
        return "\n".join([*_heading(self), "", *_arm_table(self.arms), "", *self.totals])

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        """The plan as a table, for notebooks."""
        head, *rows = [[escape(cell) for cell in cells] for cells in _arm_cells(self.arms)]
        body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>" for cells in rows)
        heads = "".join(f"<th>{cell}</th>" for cell in head)
        lines = "<br>".join(map(escape, self.totals))
        return f"<b>{escape(self.name)}</b><table><tr>{heads}</tr>{body}</table><p>{lines}</p>"

    @property
    def totals(self) -> list[str]:
        """Lines on all arms together, and what they will take."""
        return [*_totals(self), *self.estimate_lines]

    def brief(self) -> list[str]:
        """The plan in a few lines, for a launch."""
        stored = f"{self.stored:,} stages are stored already; {self.epochs_left:,} epochs are left"
        return [
            f"{self.name}: {self.trials:,} trials in {len(self.arms):,} arms, {self.stages:,} stages, "
            f"{self.epochs_shared:,} epochs ({self.epochs_alone:,} if every trial ran alone)",
            *([stored] if self.stored else []),
            *self.estimate_lines,
        ]

    @property
    def estimate_lines(self) -> list[str]:
        """Lines on what the sweep will take on this machine, and how that is known."""
        guessed = ["to measure it: sweeper plan --calibrate"] if self.estimate and self.estimate.is_guessed else []
        failed = [f"{self.failed:,} stages failed for good: sweeper retry tries them again"] if self.failed else []
        return [*failed, *(self.estimate.lines if self.estimate else []), *guessed, *self.notes]


def make_plan(
    spec: Spec,
    forest: Forest,
    estimates: Estimates,
    estimate: Forecast | None = None,
    failed: Mapping[str, Failure] = MappingProxyType({}),
    notes: Sequence[str] = (),
) -> Plan:
    """The plan of a spec whose recipes were planted as `forest`.

    `estimate` says what it takes on some machine, `failed` what no launch but a retry will try again.
    """
    left = forest.left(failed)
    recipes = [trial.recipe for trial in forest.trials]
    flops = {key: estimates.flops(stage) for key, stage in forest.stages.items()}
    in_store = [set(trial.stages) <= forest.stored for trial in forest.trials]
    per_epoch = estimates.flops_per_epoch
    return Plan(
        name=spec.name,
        description=spec.description,
        arms=_arms(forest, in_store, estimates),
        trials=len(recipes),
        stages=len(forest.stages),
        epochs_alone=forest.epochs_alone,
        epochs_shared=forest.epochs_shared,
        epochs_left=sum(stage.epochs for stage in left),
        stored=len(forest.stored),
        trials_stored=sum(in_store),
        flops_alone=_total((per_epoch(recipe), recipe.budget_epochs) for recipe in recipes),
        flops_shared=_shared_flops(forest, flops),
        flops_left=_total((flops[stage.key], 1) for stage in left),
        failed=len(forest.stages) - len(forest.stored) - len(left),
        estimate=estimate,
        notes=(*kept_apart(forest.sources), *_lengths_by_presets(recipes), *notes),
    )


def _lengths_by_presets(recipes: Sequence[Recipe]) -> list[str]:
    """Which lengths the trials got, where nothing states any."""
    silent = [recipe for recipe in recipes if {"slot_epochs", "finetune_epochs"} <= {*recipe.filled}]
    if not silent:
        return []
    lengths = ", ".join(f"{epochs:,}" for epochs in sorted({recipe.budget_epochs for recipe in silent}))
    presets = " and ".join(sorted({recipe.preset for recipe in silent}))
    return [f"No budget_epochs is given, so the preset {presets} says how long trials are: {lengths} epochs"]


def totals(forest: Forest) -> dict[str, Any]:
    """The numbers of trials and epochs of a forest, which may be of several sweeps."""
    return {
        "trials": len(forest.trials),
        "stages": len(forest.stages),
        "epochs_alone": forest.epochs_alone,
        "epochs_shared": forest.epochs_shared,
        "epochs_left": forest.epochs_left,
        "sharing": forest.sharing,
    }


def sharing_table(plans: Sequence[Plan], together: Forest) -> str:
    """A table of the epochs that sweeps save by sharing stages, each alone and all together."""
    rows = [(plan.name, plan.trials, plan.epochs_alone, plan.epochs_shared, plan.sharing) for plan in plans]
    rows.append(("together", len(together.trials), together.epochs_alone, together.epochs_shared, together.sharing))
    cells = [
        [name, f"{trials:,}", f"{alone:,}", f"{shared:,}", f"{times:.2f}"]
        for name, trials, alone, shared, times in rows
    ]
    return text_table(["sweep", "trials", "epochs alone", "epochs shared", "times fewer"], cells)


def _total(parts: Iterable[tuple[int | None, int]]) -> int | None:
    total = 0
    for flops, epochs in parts:
        if flops is None:
            return None
        total += flops * epochs
    return total


def _shared_flops(forest: Forest, flops: Mapping[str, int | None]) -> int | None:
    """Each epoch of a lineage once, also where stored stages overlap."""
    furthest: dict[str, tuple[int | None, int]] = {}
    for key, stage in forest.stages.items():
        if not stage.epochs:
            continue
        begin = forest.lines[stage.lineage].begin
        _, epochs = furthest.get(stage.lineage, (0, 0))
        whole = flops[key]
        furthest[stage.lineage] = (None if whole is None else whole // stage.epochs, max(epochs, stage.end - begin))
    return _total(furthest.values())


def _arms(forest: Forest, in_store: Sequence[bool], estimates: Estimates) -> tuple[PlannedArm, ...]:
    recipes = [trial.recipe for trial in forest.trials]
    members: dict[str, list[int]] = {}
    for number, label in enumerate(arm_labels(recipes)):
        members.setdefault(label, []).append(number)
    arms = []
    for label, numbers in members.items():
        first = recipes[numbers[0]]
        memory = estimates.memory(first)
        arms.append(
            PlannedArm(
                label=label,
                trials=len(numbers),
                slot_epochs=first.slot_epochs,
                finetune_epochs=first.finetune_epochs,
                flops=_total([(estimates.flops_per_epoch(first), first.budget_epochs)]),
                trials_stored=sum(in_store[number] for number in numbers),
                seconds=estimates.trial_seconds(first),
                memory_bytes=memory.bytes if memory else None,
            )
        )
    return tuple(arms)


def _heading(plan: Plan) -> list[str]:
    return [plan.name, *textwrap.wrap(plan.description, 100, initial_indent="  ", subsequent_indent="  ")]


def _arm_table(arms: Sequence[PlannedArm]) -> list[str]:
    headers, *rows = _arm_cells(arms)
    more = [f"  … and {len(arms) - ARMS_SHOWN:,} more arms"] if len(arms) > ARMS_SHOWN else []
    return [*textwrap.indent(text_table(headers, rows), "  ").splitlines(), *more]


def _arm_cells(arms: Sequence[PlannedArm]) -> list[list[str]]:
    """The headers, then a row for each of the first arms."""
    headers = ["arm", "trials", "slot + finetune epochs", "FLOPs a trial", "time a trial", "memory", "stored"]
    rows = [
        [
            arm.label,
            str(arm.trials),
            f"{arm.slot_epochs} + {arm.finetune_epochs}",
            "?" if arm.flops is None else FLOP.print(arm.flops),
            "?" if arm.seconds is None else in_words(arm.seconds),
            "?" if arm.memory_bytes is None else BYTE.print(arm.memory_bytes),
            str(arm.trials_stored or "–"),
        ]
        for arm in arms[:ARMS_SHOWN]
    ]
    return [headers, *rows]


def _totals(plan: Plan) -> list[str]:
    shared = f", {plan.epochs_shared:,} with shared stages ({plan.sharing:.2f} times fewer)"
    lines = [
        f"{plan.trials:,} trials of {len(plan.arms):,} arms, in {plan.stages:,} stages",
        f"{plan.epochs_alone:,} epochs if every trial ran alone"
        + (shared if plan.epochs_shared < plan.epochs_alone else "; no stage is shared"),
    ]
    if plan.flops_alone is not None and plan.flops_shared is not None:
        lines.append(f"{FLOP.print(plan.flops_alone)} alone, {FLOP.print(plan.flops_shared)} shared")
    left = f", {FLOP.print(plan.flops_left)}" if plan.flops_left else ""
    lines.append(f"stored already: {plan.stored:,} stages, {plan.trials_stored:,} trials")
    lines.append(f"left to train: {plan.epochs_left:,} epochs{left}")
    return lines
