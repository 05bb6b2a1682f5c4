"""Plants the forest of a sweep: where stages end, what is stored of them, and what grows when recipes are added.

Pure: no torch, no files but through the `stored` argument.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from heapq import heapify, heappop, heappush
from itertools import chain
from typing import Protocol

from sweeper.stages.forest import Cuts, Forest, Line, Stage, Trial
from sweeper.stages.points import ArmPoints, Point, point_key
from trainers.recipe.choices import IN_ORDER, Phase
from trainers.recipe.recipe import Recipe


class Stored(Protocol):
    """What planting asks of a store."""

    def expect(self, lineages: Collection[str]) -> None:
        """That these will be asked for: of a store far away they are asked side by side."""

    def spans(self, lineage: str) -> Mapping[int, int]:
        """The readable records of a lineage: the epoch at the end of each, and the epoch at its start."""

    def has_state(self, key: str) -> bool:
        """Whether training can go on from this point; reads and checks its state."""


def plant(
    recipes: Sequence[Recipe],
    digests: Mapping[str, str],
    stored: Stored | None = None,
    cuts: Cuts | None = None,
    sources: str = "",
) -> Forest:
    """The forest of these recipes, on data sets with these digests.

    Stages end where recipes part or end, at points that the store already holds, and at the cuts. `sources` is the
    digest of trainers' sources where they are not the pinned ones: all keys hold it then.
    """
    return grow(Forest({}, [], 0, 0, cuts=cuts or Cuts(), sources=sources), recipes, digests, stored)


def grow(
    forest: Forest,
    recipes: Sequence[Recipe],
    digests: Mapping[str, str],
    stored: Stored | None = None,
    begun: Collection[str] = (),
) -> Forest:
    """The forest with these recipes beside its own, the new trials last.

    Stages that are stored or `begun` (their keys) stay as they are. Others may be cut anew: their keys stay, too.
    """
    keys = _Keys(digests, forest.sources)
    ways, spans = _ways(forest, recipes, keys, stored)
    lines = _extended(forest, recipes, ways, spans)
    touched = {point.lineage: lines[point.lineage] for way in ways for point in way}
    pinned = {
        name: {end: start for end, start in line.starts.items() if point_key(name, end) in begun}
        for name, line in touched.items()
    }
    numbers = sorted({number for line in touched.values() for number in line.trials})
    first = len(forest.trials)
    moved = {
        number: (recipes[number - first], ways[number - first])
        if number >= first
        else (forest.trials[number].recipe, _way_of(forest.trials[number], keys))
        for number in numbers
    }
    while True:
        for name, line in touched.items():
            line.starts = _cut(line.begin, line.ends, {**pinned[name], **line.stored})
        grown = _with_chains(forest, moved, lines)
        unusable = _unusable(grown, numbers, touched, stored) if stored is not None else []
        if not unusable:
            break
        for stage in unusable:
            del lines[stage.lineage].stored[stage.end]
    before = {name: forest.lines[name].ends[-1] for name in touched.keys() & forest.lines.keys()}
    return replace(
        grown,
        epochs_alone=forest.epochs_alone + sum(recipe.budget_epochs for recipe in recipes),
        epochs_shared=forest.epochs_shared
        + sum(line.ends[-1] - before.get(name, line.begin) for name, line in touched.items()),
    )


class _Keys:
    """The points of arms, kept of the arm asked about last: the recipes of an arm stand together."""

    def __init__(self, digests: Mapping[str, str], sources: str) -> None:
        self._digests, self._sources = digests, sources
        self._last: ArmPoints | None = None

    def of(self, recipe: Recipe) -> ArmPoints:
        if self._last is None or not recipe.is_of_arm(self._last.recipe):
            self._last = ArmPoints(recipe, self._digests[recipe.dataset], self._sources)
        return self._last


Spans = Mapping[str, Mapping[int, int]]  # of each lineage: the stored records, by end, with the start of each


def _ways(
    forest: Forest, recipes: Sequence[Recipe], keys: _Keys, stored: Stored | None
) -> tuple[list[list[Point]], Spans]:
    """The points of each recipe, and what is stored of them.

    They have the keys of earlier versions where the store has come further by those: such a trial goes on as it began.
    """
    ways = [keys.of(recipe).of(recipe) for recipe in recipes]
    if stored is None:
        return ways, {}
    spans: dict[str, Mapping[int, int]] = {name: line.stored for name, line in forest.lines.items()}
    _ask(ways, stored, spans)
    # What is stored to its end by its own keys cannot have come further by others.
    unended = [number for number, way in enumerate(ways) if _reached(way, spans) < _end_of(way)]
    earlier = {number: keys.of(recipes[number]).earlier_of(recipes[number]) for number in unended}
    _ask(chain(*earlier.values()), stored, spans)
    return [
        max((way, *earlier.get(number, ())), key=lambda one: _reached(one, spans)) for number, way in enumerate(ways)
    ], spans


def _ask(ways: Iterable[Sequence[Point]], stored: Stored, spans: dict[str, Mapping[int, int]]) -> None:
    """Adds what is stored of these ways to what is known."""
    asked = {point.lineage for way in ways for point in way} - spans.keys()
    stored.expect(asked)
    spans.update((lineage, stored.spans(lineage)) for lineage in sorted(asked))


def _end_of(way: Sequence[Point]) -> tuple[int, int]:
    """Where a way ends, as `_reached` tells it."""
    return IN_ORDER.index(way[-1].phase), way[-1].epoch


def _reached(way: Sequence[Point], spans: Spans) -> tuple[int, int]:
    """How far the store has come on a way: the number of the phase, and its epoch."""
    stored = (
        (IN_ORDER.index(point.phase), end)
        for point in way
        for end in spans.get(point.lineage, ())
        if point.begin < end <= point.epoch or end == point.epoch
    )
    return max(stored, default=(-1, 0))


def _way_of(trial: Trial, keys: _Keys) -> list[Point]:
    """The points of a trial of the forest, by the keys that it was planted with."""
    arm = keys.of(trial.recipe)
    present = arm.of(trial.recipe)
    if present[-1].key == trial.stages[-1]:
        return present
    return next(way for way in arm.earlier_of(trial.recipe) if way[-1].key == trial.stages[-1])


def _extended(forest: Forest, recipes: Sequence[Recipe], ways: Sequence[list[Point]], spans: Spans) -> dict[str, Line]:
    """The lines of the forest and of these recipes; those that the recipes go through are new objects."""
    lines = dict(forest.lines)
    own: set[str] = set()
    for number, (recipe, way) in enumerate(zip(recipes, ways, strict=True), len(forest.trials)):
        parent: str | None = None
        phases: dict[Phase, int] = {}  # the epochs of each up to here
        for point in way:
            before = sum(phases[phase] for phase in phases if phase != point.phase)
            if point.lineage not in own:
                own.add(point.lineage)
                known = lines.get(point.lineage)
                lines[point.lineage] = known.copy() if known else _new_line(point, parent, recipe, spans)
            line = lines[point.lineage]
            if not line.ends or point.epoch > line.ends[-1]:
                line.recipe = recipe
            for end in (*forest.cuts.within(point.phase, before, point.epoch), point.epoch):
                if (end > point.begin or end == point.epoch) and end not in line.ends:
                    insort(line.ends, end)
            line.trials.append(number)
            parent, phases[point.phase] = point.key, point.epoch
    return lines


def _new_line(point: Point, parent: str | None, recipe: Recipe, spans: Spans) -> Line:
    stored = spans.get(point.lineage, {})
    sensible = {
        end: start for end, start in stored.items() if point.begin <= start < end or end == point.epoch == start
    }
    return Line(point.phase, point.begin, parent, recipe, stored=sensible)


def _unusable(forest: Forest, numbers: Sequence[int], lineages: Collection[str], stored: Stored) -> list[Stage]:
    """Stages of these lineages that trials are to go on from, of which the store has no state to go on from."""
    keys = {key for number in numbers for key in forest.trials[number].stages}
    starts = {str(forest.stages[key].parent) for key in keys - forest.stored} & forest.stored
    asked = [forest.stages[key] for key in sorted(starts) if forest.stages[key].lineage in lineages]
    return [stage for stage in asked if not stored.has_state(stage.key)]


def _cut(begin: int, needed: Sequence[int], stored: Mapping[int, int]) -> dict[int, int]:
    """Stages that reach every needed epoch from `begin`, as end -> start; those in the store keep their start there."""
    known = sorted({*needed, *stored})
    starts: dict[int, int] = {}
    wanted = [-end for end in needed]  # a heap, the last end first: what it makes necessary lies before it
    heapify(wanted)
    while wanted:
        end = -heappop(wanted)
        if end in starts:
            continue
        below = bisect_left(known, end)
        starts[end] = start = stored[end] if end in stored else (known[below - 1] if below else begin)
        if start > begin:
            heappush(wanted, -start)
            if start not in known:
                insort(known, start)
    return starts


def _with_chains(forest: Forest, moved: Mapping[int, tuple[Recipe, list[Point]]], lines: Mapping[str, Line]) -> Forest:
    """The forest with these trials (by number; each has a recipe and its points) on the stages that the lines have."""
    trials, stages, in_store = list(forest.trials), dict(forest.stages), set(forest.stored)
    recut = False
    for number, (recipe, way) in moved.items():
        leg = [(stage, lines[point.lineage]) for point in way for stage in _leg(point, lines[point.lineage])]
        for stage, line in leg:
            recut |= stage.key in forest.stages and forest.stages[stage.key].start != stage.start
            stages[stage.key] = stage
            (in_store.add if stage.end in line.stored else in_store.discard)(stage.key)
        trial = Trial(recipe, tuple(stage.key for stage, _ in leg))
        if number < len(trials):
            trials[number] = trial
        else:
            trials.append(trial)  # the numbers ascend
    if recut:
        stages = {key: stages[key] for trial in trials for key in trial.stages} | stages  # parents first, again
    return replace(forest, stages=stages, trials=trials, stored=frozenset(in_store), lines=lines)


def _leg(point: Point, line: Line) -> list[Stage]:
    """The stages of one lineage up to a point, the first first."""
    leg: list[Stage] = []
    end = point.epoch
    while end > point.begin or not leg:
        start = line.starts[end]
        parent = point_key(point.lineage, start) if start > point.begin else line.parent
        turns = point.phase != IN_ORDER[0] and start == 0 and parent is not None
        leg.append(
            Stage(point_key(point.lineage, end), parent, point.lineage, line.recipe, line.phase, start, end, turns)
        )
        end = start
    return leg[::-1]
