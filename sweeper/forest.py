"""A sweep as a forest of stages: what trials have in common is trained once, and what is stored not at all.

A point is a state reached; a stage leads from one point (or from nothing) to the next. Pure: no torch, no files but
through the `stored` argument.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from heapq import heapify, heappop, heappush
from typing import Protocol

from trainers.numerics import NUMERICS_VERSION
from trainers.recipe import Phase, Recipe, content_hash


@dataclass(frozen=True)
class Point:
    """A state reached. Its lineage is all that led to it but the number of epochs of its last phase."""

    lineage: str
    phase: Phase
    epoch: int  # epochs done within `phase`
    key: str


@dataclass(frozen=True)
class Stage:
    """A stretch of one phase between two points: the unit that is scheduled, stored under its end point, and reused."""

    key: str  # of the point where it ends
    parent: str | None  # the key of the point where it starts; None: from scratch
    lineage: str  # of the point where it ends
    recipe: Recipe  # one of those that go through it; they all train it alike
    phase: Phase
    start: int  # epochs of the phase done before it
    end: int
    turns: bool  # it starts by baking in what the parent's slot phase selected

    @property
    def epochs(self) -> int:
        """How many epochs it trains."""
        return self.end - self.start


@dataclass(frozen=True)
class Trial:
    """One recipe, and the keys of the stages that make it, from the root to the leaf."""

    recipe: Recipe
    stages: tuple[str, ...]


@dataclass(frozen=True)
class Forest:
    """The stages of a sweep, parents first, and its trials."""

    stages: dict[str, Stage]
    trials: list[Trial]
    epochs_alone: int  # if every trial ran by itself
    epochs_shared: int  # if nothing is trained twice
    stored: frozenset[str] = frozenset()  # the stages that need no training

    @property
    def epochs_left(self) -> int:
        """Epochs that are still to train."""
        return sum(stage.epochs for key, stage in self.stages.items() if key not in self.stored)

    @property
    def sharing(self) -> float:
        """How many times the epochs if every trial ran alone are those of the forest."""
        return self.epochs_alone / self.epochs_shared if self.epochs_shared else 1.0


class Stored(Protocol):
    """What planting asks of a store."""

    def spans(self, lineage: str) -> Mapping[int, int]:
        """The readable records of a lineage: the epoch at the end of each, and the epoch at its start."""

    def has_state(self, key: str) -> bool:
        """Whether training can go on from this point; reads and checks its state."""


@dataclass
class _Line:
    """One lineage in this sweep: where its recipes part or end."""

    phase: Phase
    parent: str | None  # where the phase before it ended
    recipe: Recipe  # the one that goes furthest
    ends: list[int] = field(default_factory=list)  # sorted, each once
    starts: dict[int, int] = field(default_factory=dict)  # of the stage that ends at an epoch


@lru_cache(maxsize=65536)
def point_key(lineage: str, epoch: int) -> str:
    """The key of the point that a lineage reaches after so many epochs of its last phase."""
    return content_hash([lineage, epoch])


def points(recipe: Recipe, digest: str) -> list[Point]:
    """Where each phase of a recipe ends, on the data set with this digest."""
    reached: list[Point] = []
    root = {"numerics": NUMERICS_VERSION, "data": digest, "common": recipe.common_fields()}
    for phase, epochs in recipe.phases():
        came_by = reached[-1].key if reached else root
        lineage = content_hash({"from": came_by, "phase": phase, "fields": recipe.phase_fields(phase)})
        reached.append(Point(lineage, phase, epochs, point_key(lineage, epochs)))
    return reached


def plant(recipes: Sequence[Recipe], digests: Mapping[str, str], stored: Stored | None = None) -> Forest:
    """The forest of these recipes, on data sets with these digests.

    Stages are cut where recipes part or end, and at points that the store already holds.
    """
    ways = [points(recipe, digests[recipe.dataset]) for recipe in recipes]
    lines = _lines(recipes, ways)
    spans: dict[str, dict[int, int]] = {}
    if stored is not None:
        spans = {lineage: _sensible(stored.spans(lineage)) for lineage in lines}
    forest = _grow(recipes, ways, lines, spans)
    while stored is not None:
        starts = {stage.parent for key, stage in forest.stages.items() if key not in forest.stored}
        unusable = {key for key in sorted(starts & forest.stored, key=str) if not stored.has_state(str(key))}
        if not unusable:
            break
        for key in unusable:
            stage = forest.stages[str(key)]
            del spans[stage.lineage][stage.end]
        forest = _grow(recipes, ways, lines, spans)
    return forest


def _sensible(spans: Mapping[int, int]) -> dict[int, int]:
    return {end: start for end, start in spans.items() if 0 <= start < end}


def _lines(recipes: Sequence[Recipe], ways: Sequence[list[Point]]) -> dict[str, _Line]:
    lines: dict[str, _Line] = {}
    for recipe, way in zip(recipes, ways, strict=True):
        parent = None
        for point in way:
            line = lines.setdefault(point.lineage, _Line(point.phase, parent, recipe))
            if not line.ends or point.epoch > line.ends[-1]:
                line.recipe = recipe
            if point.epoch not in line.ends:
                insort(line.ends, point.epoch)
            parent = point.key
    return lines


def _cut(needed: Sequence[int], stored: Mapping[int, int]) -> dict[int, int]:
    """Stages that reach every needed epoch, as end -> start; those in the store keep the start that they have there."""
    known = sorted({*needed, *stored})
    starts: dict[int, int] = {}
    wanted = [-end for end in needed]  # a heap, the last end first: what it makes necessary lies before it
    heapify(wanted)
    while wanted:
        end = -heappop(wanted)
        if end in starts:
            continue
        below = bisect_left(known, end)
        starts[end] = start = stored[end] if end in stored else (known[below - 1] if below else 0)
        if start:
            heappush(wanted, -start)
            if start not in known:
                insort(known, start)
    return starts


def _grow(
    recipes: Sequence[Recipe],
    ways: Sequence[list[Point]],
    lines: Mapping[str, _Line],
    spans: Mapping[str, Mapping[int, int]],
) -> Forest:
    for lineage, line in lines.items():
        line.starts = _cut(line.ends, spans.get(lineage, {}))
    stages: dict[str, Stage] = {}
    in_store: set[str] = set()
    trials = []
    for recipe, way in zip(recipes, ways, strict=True):
        chain: list[str] = []
        for point in way:
            line = lines[point.lineage]
            leg = _leg(point, line)
            stages |= {stage.key: stage for stage in leg if stage.key not in stages}
            in_store |= {stage.key for stage in leg if stage.end in spans.get(point.lineage, {})}
            chain += [stage.key for stage in leg]
        trials.append(Trial(recipe, tuple(chain)))
    return Forest(
        stages=stages,
        trials=trials,
        epochs_alone=sum(recipe.budget_epochs for recipe in recipes),
        epochs_shared=sum(line.ends[-1] for line in lines.values()),
        stored=frozenset(in_store),
    )


def _leg(point: Point, line: _Line) -> list[Stage]:
    """The stages of one phase up to a point, the first first."""
    leg: list[Stage] = []
    end = point.epoch
    while end:
        start = line.starts[end]
        parent = point_key(point.lineage, start) if start else line.parent
        turns = point.phase == "finetune" and start == 0 and parent is not None
        leg.append(
            Stage(point_key(point.lineage, end), parent, point.lineage, line.recipe, line.phase, start, end, turns)
        )
        end = start
    return leg[::-1]
