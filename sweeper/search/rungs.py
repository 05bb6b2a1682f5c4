"""Rungs: epochs at which arms are compared by validation accuracy, and those that do badly are stopped.

An arm is judged when all its seeds have come to the rung (or failed before it), with what is known at that moment, and
never again; all its seeds go on or stop together, so that no arm's mean is one of its luckier seeds. Arms that share
the stages up to a rung are one there: they come to it once and go on or stop together.

`asha`: n arms on this data set have come to the rung, this one included. It goes on if its accuracy, the mean over its
seeds, is among the best n // reduction of them (at least one). This is the top-k test of ASHA (Li et al., "A System for
Massively Parallel Hyperparameter Tuning", MLSys 2020, algorithm 2), asked once, on arrival: what is stopped is not
taken up again, and nobody waits for others.

`median`: it is stopped if its best accuracy so far is strictly below the median of the running averages, up to the same
epoch, of those that came before it (Golovin et al., "Google Vizier", KDD 2017, section 3.2.2, where the others are
completed trials).

Either rule lets the first `min_trials` arms pass.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean, median
from typing import Any

from search_spaces.spec import Rungs
from sweeper.stages.forest import Forest, Trial, point_key
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
    goes_on: bool


@dataclass
class Entrant:
    """One or more arms before a rung."""

    rung_key: str  # of the points that its seeds came to
    epoch: int
    dataset: str
    trials: list[int]  # a trial for every seed, of one of the arms
    needs: list[str]  # the stage in which each of them comes to the rung
    gates: dict[str, set[str]] = field(default_factory=dict)  # by arm: the stages right after the rung

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
        self._needed: dict[str, set[str]] = defaultdict(set)  # by stage: the places of those that come in it
        self._digest = content_hash(rungs.model_dump(mode="json"))
        self._read()

    def enter(self, forest: Forest, arms: Mapping[str, Sequence[int]]) -> None:
        """Takes in arms (by hash: the numbers of their trials), again where their stages have changed."""
        for arm, numbers in arms.items():
            trials = [forest.trials[number] for number in numbers]
            for epoch in self.rungs.epochs:
                if epoch < trials[0].recipe.budget_epochs:
                    self._enter(forest, arm, numbers, [_at(forest, trial, epoch) for trial in trials], epoch)

    def waiting_for(self, key: str) -> list[Entrant]:
        """Those that come to a rung in this stage."""
        return [self.entrants[place] for place in sorted(self._needed.get(key, ()))]

    def undecided(self) -> list[Entrant]:
        return [entrant for place, entrant in self.entrants.items() if place not in self.judgements]

    def judge(self, entrant: Entrant, curves: Sequence[Sequence[float]]) -> Judgement:
        """Decides, for good; `curves`: accuracies up to the rung, of every seed that came. Raises StoreError."""
        mean_curve = [fmean(values) for values in zip(*curves, strict=True)]
        accuracy, best, average = mean_curve[-1], max(mean_curve), fmean(mean_curve)
        # What was decided of arms that do not belong to the sweep any more is kept, and competes with nobody.
        others = [
            other
            for key, other in self.judgements.items()
            if key in self.entrants and (other.epoch, other.dataset) == (entrant.epoch, entrant.dataset)
        ]
        verdict = goes_on(self.rungs, accuracy, best, others)
        judgement = Judgement(entrant.rung_key, entrant.epoch, entrant.dataset, accuracy, best, average, verdict)
        self.judgements[entrant.rung_key] = judgement
        self._keep(judgement)
        return judgement

    def accuracies(self, arm: str) -> dict[int, float]:
        """By rung: what an arm had when it was judged there."""
        places = [place for place, entrant in self.entrants.items() if arm in entrant.gates]
        found = [self.judgements[place] for place in places if place in self.judgements]
        return {judgement.epoch: judgement.accuracy for judgement in sorted(found, key=lambda one: one.epoch)}

    # How

    def _enter(
        self,
        forest: Forest,
        arm: str,
        numbers: Sequence[int],
        places: Sequence[tuple[str, str, str | None]],
        epoch: int,
    ) -> None:
        place = content_hash([epoch, sorted(point for point, _, _ in places)])
        dataset = forest.trials[numbers[0]].recipe.dataset
        entrant = self.entrants.setdefault(place, Entrant(place, epoch, dataset, list(numbers), []))
        for key in entrant.needs:
            self._needed[key].discard(place)
        entrant.needs = [key for _, key, _ in places]
        entrant.gates[arm] = {gate for _, _, gate in places if gate is not None}
        for key in entrant.needs:
            self._needed[key].add(place)

    def _read(self) -> None:
        for line in self._journal.entries() if self._journal else ():
            try:
                fields: dict[str, Any] = json.loads(line)
                judgement = Judgement(**{name: value for name, value in fields.items() if name != "rungs"})
            except (ValueError, TypeError):
                continue  # damaged: what it said is decided again
            if fields.get("rungs") == self._digest:
                self.judgements.setdefault(judgement.place, judgement)

    def _keep(self, judgement: Judgement) -> None:
        if self._journal is not None:
            line = json.dumps({**asdict(judgement), "rungs": self._digest}, sort_keys=True) + "\n"
            self._journal.append(line.encode())


def _at(forest: Forest, trial: Trial, epoch: int) -> tuple[str, str, str | None]:
    """Where a trial is after so many epochs: the point, the stage in which it comes there, and the stage right after.

    No stage right after: a stored stage goes on past that point, so nothing can be stopped there.
    """
    before = 0
    for place, key in enumerate(trial.stages):
        stage = forest.stages[key]
        if before + stage.epochs >= epoch:
            point = point_key(stage.lineage, stage.start + epoch - before)
            return point, key, trial.stages[place + 1] if before + stage.epochs == epoch else None
        before += stage.epochs
    raise ValueError(f"the trial has no epoch {epoch}")
