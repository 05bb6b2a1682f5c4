"""The stretches of a recipe: epochs told by the rates that they train at, not by the name of a schedule.

So recipes share what they train alike, as Hippo does (Shin et al., VLDB 2020). A course of rates has one name for all
schedules that follow it, and where two of them part a new stretch begins: steps are a constant rate and then another,
a cosine is the first cycle of warm restarts. The first epoch of a cycle has the full rate, and is still not shared with
a constant one: a stage of one epoch in each of these trials would cost more than it saves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainers.recipe.choices import Phase

if TYPE_CHECKING:
    from trainers.recipe.recipe import Recipe

# The growth of cycles (the presets') that names what warm restarts have in common whatever their growth: the first
# cycle, and the epoch after it.
NAMING_GROWTH = 2.0


@dataclass(frozen=True)
class Stretch:
    """Epochs of a phase, from `start` (exclusive) to `end`, that all recipes with these fields train alike."""

    phase: Phase
    start: int
    end: int
    fields: Mapping[str, Any]


Course = dict[str, Any]  # the fields of a phase that decide its rates, without the phase's name


def stretches(recipe: Recipe) -> list[Stretch]:
    """The phases of a recipe in stretches: recipes that came one way train alike as long as their fields are equal."""
    trained = [part for phase, epochs in recipe.phases() for part in _of_phase(recipe, phase, epochs)]
    return [*trained, *_conversion(recipe)]


def earlier_stretches(recipe: Recipe) -> list[Stretch]:
    """The same by all fields of the schedules, which told stages before their rates did: stores still hold such."""
    found = []
    for phase, epochs in recipe.phases():
        fields = recipe.phase_fields(phase)
        cooling = fields[f"{phase}_schedule_epochs"] if fields[f"{phase}_schedule"] == "cooldown" else 0
        constant = epochs - cooling if 0 < cooling < epochs else 0
        if constant:
            course = {"learning_rate": fields[f"{phase}_learning_rate"], "schedule": "constant"}
            found.append(Stretch(phase, 0, constant, _with_course(fields, phase, course)))
        found.append(Stretch(phase, constant, epochs, fields))
    return [*found, *_conversion(recipe)]


def _conversion(recipe: Recipe) -> list[Stretch]:
    return [Stretch("conversion", 0, 0, recipe.phase_fields("conversion"))] if recipe.conversion else []


def _of_phase(recipe: Recipe, phase: Phase, epochs: int) -> Iterator[Stretch]:
    fields = recipe.phase_fields(phase)
    start = 0
    courses = list(_courses(fields, phase, epochs))
    for (end, course), (_, after) in zip(courses, [*courses[1:], (0, None)], strict=True):
        if end > start and course != after:  # or the next one goes on with it
            yield Stretch(phase, start, end, _with_course(fields, phase, course))
            start = end


def _courses(fields: Mapping[str, Any], phase: Phase, epochs: int) -> Iterator[tuple[int, Course]]:
    """What the rates of a phase follow, one after the other, each with the epoch at its end."""
    rate: float = fields[f"{phase}_learning_rate"]
    length: Any = fields.get(f"{phase}_schedule_epochs")  # a number where the schedule has one: a rule of recipes
    factor: Any = fields.get(f"{phase}_schedule_factor")
    constant: Course = {"learning_rate": rate, "schedule": "constant"}
    match fields[f"{phase}_schedule"]:
        case "constant":
            yield epochs, constant
        case "steps":
            yield min(length, epochs), constant
            if length < epochs:
                yield epochs, {**constant, "learning_rate": rate * factor}
        case "cooldown":
            last = min(length, epochs)
            yield epochs - last, constant
            yield epochs, {**constant, "schedule": "cooldown", "schedule_epochs": last, "epochs": epochs}
        case "staircase":
            yield min(length, epochs), constant
            if length < epochs:
                yield min(2 * length, epochs), {**constant, "learning_rate": rate * factor}
            if 2 * length < epochs:  # what nothing else follows: a stage for each further step would save nothing
                stairs = {"schedule": "staircase", "schedule_epochs": length, "schedule_factor": factor}
                yield epochs, constant if factor == 1 else {**constant, **stairs}
        case "cosine":
            yield epochs, _cycles(rate, epochs, NAMING_GROWTH)
        case "warm_restarts":
            yield min(length + 1, epochs), _cycles(rate, length, NAMING_GROWTH)
            if length + 1 < epochs:
                yield epochs, _cycles(rate, length, factor)
        case other:
            raise AssertionError(f"schedule {other}")


def _cycles(rate: float, first: int, growth: float) -> Course:
    return {"learning_rate": rate, "schedule": "warm_restarts", "schedule_epochs": first, "schedule_factor": growth}


def _with_course(fields: Mapping[str, Any], phase: Phase, course: Course) -> dict[str, Any]:
    """The fields of a phase with another course of rates."""
    own = {f"{phase}_{name}" for name in ("learning_rate", "epochs", "schedule", "schedule_epochs", "schedule_factor")}
    rest = {name: value for name, value in fields.items() if name not in own}
    return {**rest, **{f"{phase}_{name}": value for name, value in course.items()}}
