"""Rungs: epochs at which arms are compared by validation accuracy, and those that do badly go no further.

An arm is judged when all its seeds have come to the rung (or failed before it); all its seeds go on or stop together,
so that no arm's mean is one of its luckier seeds. Arms that share the stages up to a rung are one there: they come to
it once and go on or stop together. Where a search has several cells of a grid, arms are compared within their own.

`asha`: the arm pauses. Of n arms that have come, the best n // reduction go on, as soon as they are among them and a
worker is free (Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020, algorithm 2); once no
more arms can come, at least one. What pauses is stored, so that waiting costs nothing.

`synchronous`: the same, once no more arms can come to the rung (successive halving).

`stop`: it goes on if its accuracy is among the best n // reduction (at least one) of the n that have come, itself
included. This is the same test, asked once, on arrival: what is stopped is not taken up again, and nobody waits.

`median`: it is stopped if its best accuracy so far is strictly below the median of the running averages, up to the same
epoch, of those that came before it (Golovin et al., "Google Vizier", KDD 2017, section 3.2.2, where the others are
completed trials).

With several brackets (Hyperband, Li et al., JMLR 2018) arms are dealt into them by lot: each bracket is compared within
itself, and skips one rung more than the one before. The lot is drawn from the point that the first seed comes to at the
first rung: so arms that share their stages up to there share the bracket, and a launch that goes on deals as before.

`stop` and `median` let the first `min_trials` arms pass; `asha` lets none go on before so many have come.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean, median
from typing import Any

from search_spaces.spec import Rungs
from sweeper.stages.brackets import bracket_of, place_at
from sweeper.stages.forest import Forest
from sweeper.storage.base import Journal, Place
from trainers.hashing import content_hash

JUDGEMENTS = "rungs.jsonl"


@dataclass(frozen=True)
class Judgement:
    """What was decided about an arm at a rung."""

    place: str  # the rung key of its entrant
    epoch: int
    dataset: str
    accuracy: float  # mean over the seeds, at the rung
    best: float  # of the mean curve up to the rung
    average: float  # of the mean curve up to the rung
    goes_on: bool  # False of an arm that pauses: a later line may say that it does
    cell: str = ""  # within which arms are compared

    @property
    def group(self) -> tuple[int, str, str]:
        """What those that it is compared with have in common."""
        return self.epoch, self.dataset, self.cell


@dataclass
class Entrant:
    """One or more arms before a rung."""

    rung_key: str  # of the points that its seeds came to
    epoch: int
    dataset: str
    trials: list[int]  # a trial for every seed, of one of the arms
    needs: list[str]  # the stage in which each of them comes to the rung
    gates: dict[str, set[str]] = field(default_factory=dict)  # by arm: the stages right after the rung
    cell: str = ""  # within which it is compared
    place: str = ""  # the rung key but for the cell: arms of several cells that share all up to here have one place

    @property
    def group(self) -> tuple[int, str, str]:
        """What those that it is compared with have in common."""
        return self.epoch, self.dataset, self.cell

    @property
    def gated(self) -> set[str]:
        """All stages right after the rung."""
        return {key for keys in self.gates.values() for key in keys}


def goes_on(rungs: Rungs, accuracy: float, best: float, others: Sequence[Judgement]) -> bool:
    """Whether an arm with this accuracy at a rung, and this best one so far, goes on; `others` came before it."""
    if len(others) < rungs.min_trials:
        return True
    if rungs.rule == "median":
        return best >= median(other.average for other in others)
    places = max(1, (len(others) + 1) // rungs.reduction)
    return sum(other.accuracy > accuracy for other in others) < places


class RungBook:
    """Who is before which rung, and what was decided; kept in the sweep's folder, so that it is decided once."""

    def __init__(self, rungs: Rungs, folder: Place | None = None) -> None:
        """`folder`: where judgements are kept; None: nowhere. Those made under other rungs count no more."""
        self.rungs = rungs
        self.entrants: dict[str, Entrant] = {}
        self.judgements: dict[str, Judgement] = {}
        self._journal: Journal | None = (folder / JUDGEMENTS).journal() if folder else None
        self._needed: dict[str, set[str]] = defaultdict(set)  # by stage: the rung keys of those that come in it
        self._arrivals: dict[tuple[int, str, str], list[str]] = defaultdict(list)  # by group, of this sweep
        self._at_place: dict[str, list[Entrant]] = defaultdict(list)
        self._digest = _digest(rungs)
        self._read()

    def enter(
        self, forest: Forest, arms: Mapping[str, Sequence[int]], cells: Mapping[str, str] | None = None
    ) -> list[Entrant]:
        """Takes in arms (by hash: the numbers of their trials), again where their stages have changed.

        Returns where they enter. `cells`: by arm, the cell of a search that it is of, where there are several.
        """
        entered: dict[str, Entrant] = {}
        for arm, numbers in arms.items():
            trials = [forest.trials[number] for number in numbers]
            cell = "" if self.rungs.across else (cells or {}).get(arm, "")
            bracket = bracket_of(self.rungs, forest, trials[0])
            cell += f" bracket {bracket}" if bracket else ""
            for epoch in self.rungs.in_bracket(bracket):
                if epoch < trials[0].recipe.budget_epochs:
                    places = [place_at(forest, trial, epoch) for trial in trials]
                    entrant = self._enter(arm, numbers, places, (epoch, trials[0].recipe.dataset, cell))
                    entered[entrant.rung_key] = entrant
        return list(entered.values())

    def waiting_for(self, key: str) -> list[Entrant]:
        """Those that come to a rung in this stage."""
        return [self.entrants[place] for place in sorted(self._needed.get(key, ()))]

    def at_one_place(self, entrant: Entrant) -> list[Entrant]:
        """This one, and those of other cells who share all stages up to here: they go on or stop together."""
        return self._at_place[entrant.place]

    def judge(self, entrant: Entrant, curves: Sequence[Sequence[float]]) -> Judgement:
        """Decides, for good unless arms pause; `curves`: accuracies up to the rung, of every seed that came.

        Raises StoreError.
        """
        mean_curve = [fmean(values) for values in zip(*curves, strict=True)]
        accuracy, best, average = mean_curve[-1], max(mean_curve), fmean(mean_curve)
        verdict = not self.rungs.pauses and goes_on(self.rungs, accuracy, best, self._present(entrant.group))
        judgement = Judgement(
            entrant.rung_key, entrant.epoch, entrant.dataset, accuracy, best, average, verdict, entrant.cell
        )
        self._take_in(judgement)
        self._keep(judgement)
        return judgement

    def due(self, is_last: bool) -> list[Entrant]:
        """Those that pause and are to go on now, the furthest first; `is_last`: no more arms can come to any rung.

        Then they are those of the lowest rung that has such, for from there more come to the next one.
        """
        found: dict[int, list[Entrant]] = defaultdict(list)
        for group in self._arrivals if self.rungs.pauses else ():
            present = self._present(group)
            ranked = sorted(present, key=lambda one: -one.accuracy)[: self._places(len(present), is_last)]
            found[group[0]] += [self.entrants[one.place] for one in ranked if not one.goes_on]
        epochs = sorted((epoch for epoch, entrants in found.items() if entrants), reverse=not is_last)
        return found[epochs[0]] if epochs else []

    def _places(self, arrived: int, is_last: bool) -> int:
        """Of so many that have come, how many go on."""
        if is_last:
            return max(1, arrived // self.rungs.reduction)
        return arrived // self.rungs.reduction if self.rungs.rule == "asha" and arrived >= self.rungs.min_trials else 0

    def promote(self, entrant: Entrant) -> None:
        """What paused goes on after all. Raises StoreError."""
        judgement = replace(self.judgements[entrant.rung_key], goes_on=True)
        self.judgements[entrant.rung_key] = judgement
        self._keep(judgement)

    def _present(self, group: tuple[int, str, str]) -> list[Judgement]:
        """What was decided of the arms of the sweep, in that order; of those that it has no more competes nobody."""
        return [self.judgements[key] for key in self._arrivals[group] if key in self.entrants]

    def accuracies(self, arm: str) -> dict[int, float]:
        """By rung: what an arm had when it was judged there."""
        places = [place for place, entrant in self.entrants.items() if arm in entrant.gates]
        found = [self.judgements[place] for place in places if place in self.judgements]
        return {judgement.epoch: judgement.accuracy for judgement in sorted(found, key=lambda one: one.epoch)}

    # How

    def _enter(
        self,
        arm: str,
        numbers: Sequence[int],
        places: Sequence[tuple[str, str, str | None]],
        group: tuple[int, str, str],
    ) -> Entrant:
        epoch, dataset, cell = group
        place = content_hash([epoch, sorted(point for point, _, _ in places)])
        rung_key = content_hash([place, cell]) if cell else place
        new = Entrant(rung_key, epoch, dataset, list(numbers), [], cell=cell, place=place)
        entrant = self.entrants.setdefault(rung_key, new)
        if entrant is new:
            self._at_place[place].append(entrant)
        for key in entrant.needs:
            self._needed[key].discard(rung_key)
        entrant.needs = [key for _, key, _ in places]
        entrant.gates[arm] = {gate for _, _, gate in places if gate is not None}
        for key in entrant.needs:
            self._needed[key].add(rung_key)
        return entrant

    def _take_in(self, judgement: Judgement) -> None:
        if judgement.place not in self.judgements:
            self._arrivals[judgement.group].append(judgement.place)
        self.judgements[judgement.place] = judgement

    def _read(self) -> None:
        for line in self._journal.entries() if self._journal else ():
            try:
                fields: dict[str, Any] = json.loads(line)
                judgement = Judgement(**{name: value for name, value in fields.items() if name != "rungs"})
            except (ValueError, TypeError):
                continue  # damaged: what it said is decided again
            if fields.get("rungs") == self._digest and (judgement.goes_on or judgement.place not in self.judgements):
                self._take_in(judgement)

    def _keep(self, judgement: Judgement) -> None:
        if self._journal is not None:
            line = json.dumps({**asdict(judgement), "rungs": self._digest}, sort_keys=True) + "\n"
            self._journal.append(line.encode())


def _digest(rungs: Rungs) -> str:
    """The rungs under which a judgement counts; those of before other rules were known count, too.

    What `stop` decides was called `asha` then: what it let go on goes on under either, and what it stopped pauses.
    """
    later = {"across": False, "brackets": 1}  # fields, and what they are where a spec of before does not say them
    fields = {name: value for name, value in rungs.model_dump(mode="json").items() if later.get(name) != value}
    return content_hash({**fields, **({"rule": "asha"} if rungs.rule == "stop" else {})})
