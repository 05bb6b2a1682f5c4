"""A sweep as it stands: its forest, its schedule, and what the store holds of both. It decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from search_spaces.labels import ArmLabels
from sweeper.records.compressed import Chain
from sweeper.records.index import Finished
from sweeper.records.stage_record import StageRecord
from sweeper.records.store import Store
from sweeper.records.trial_result import Epoch, TrialResult, trial_result
from sweeper.stages.faults import Failure, RetryRule
from sweeper.stages.forest import Forest, Stage, Trial
from sweeper.stages.planting import grow
from sweeper.stages.schedule import Schedule
from sweeper.stages.status import Status
from trainers.recipe.recipe import Recipe

# Says which stages to hold now that the trials of these numbers are new in the forest, or have other stages.
Holds = Callable[[Forest, Iterable[int], Callable[[str], bool]], list[str]]


@dataclass
class SweepState:
    """The stages and trials of a sweep, and what became of them by now."""

    sweep: str
    forest: Forest
    digests: Mapping[str, str]
    store: Store
    earlier_names: Sequence[str] = field(default=(), kw_only=True)  # of the sweep, before it was renamed

    read_only = False  # for who only looks at it: nothing is forgotten

    def begin(self, rule: RetryRule, cost: Callable[[Stage], float] | None) -> None:
        """Starts without a stage; `take_in` brings them."""
        self.labels: list[str] = []
        self._naming = ArmLabels()
        self.records = Finished(self.store)
        self.partials: dict[str, StageRecord] = {}  # stages on their way when they were taken in
        self.saved: dict[str, Sequence[Epoch]] = {}  # epochs of unfinished stages that are in the store
        self._numbers: dict[str, int] = {}
        self.forest = Forest({}, [], 0, 0)
        self.schedule = Schedule(self.forest, rule=rule, cost=cost)

    def grown(self, recipes: Sequence[Recipe], begun: set[str]) -> tuple[Forest, dict[str, dict[str, Any]]]:
        """The forest with these recipes too, and the failures that are stored of its new stages.

        `begun`: stages that stay as they are. Recipes that it has already are not added twice.
        """
        new = {recipe.content_hash(): recipe for recipe in recipes}
        unknown = [recipe for recipe_hash, recipe in new.items() if recipe_hash not in self._numbers]
        forest = grow(self.forest, unknown, self.digests, self.store, begun)
        failures = ((key, self.store.read_failure(key)) for key in forest.stages.keys() - self.forest.stages.keys())
        return forest, {key: fields for key, fields in failures if fields is not None}

    def numbers_of(self, recipes: Iterable[Recipe]) -> list[int]:
        """The numbers of the trials of these recipes."""
        return [self._numbers[recipe.content_hash()] for recipe in recipes]

    def take_in(self, forest: Forest, failures: Mapping[str, dict[str, Any]], holds: Holds) -> range:
        """Goes on with a forest that has grown from the one before it; returns the numbers of its new trials."""
        keys = forest.stages.keys() - self.forest.stages.keys()
        before = [*self.forest.trials, *[None] * (len(forest.trials) - len(self.forest.trials))]
        changed = [n for n, (old, trial) in enumerate(zip(before, forest.trials, strict=True)) if trial is not old]
        new = range(len(self.forest.trials), len(forest.trials))
        self._read_records(forest.stored & keys, forest)
        failed = self._failed_before({key: fields for key, fields in failures.items() if key in keys})
        self._read_partials(forest, keys - self.records.keys() - failed.keys())
        held = holds(forest, changed, self.records.__contains__)
        self.schedule.grow(forest, self.records.keys() & keys, failed, held)
        self._numbers |= {forest.trials[number].recipe.content_hash(): number for number in new}
        # Others look on: what they look up by number must be there before the number is.
        self.labels = self._naming.add([forest.trials[number].recipe for number in new])
        self.forest = forest
        return new

    def is_own(self, record: StageRecord) -> bool:
        """Whether this sweep itself trained the stage, under its name or one that it had before."""
        return record.environment.get("sweep") in (self.sweep, *self.earlier_names)

    def begun(self) -> set[str]:
        """Stages that must stay as they are: only what never ran may be cut anew."""
        return self.records.keys() | self.saved.keys() | self.schedule.failures.keys()

    def status(self, trial: Trial) -> Status:
        return self.schedule.trial_status(trial)

    def result(self, number: int) -> TrialResult:
        """What is stored of a trial by now."""
        trial = self.forest.trials[number]
        failure = self.schedule.trial_failure(trial)
        result = trial_result(trial, self.labels[number], self.status(trial), failure, self.records, self.saved)
        if result.status is Status.COMPLETED and isinstance(result.epochs, Chain):
            curve = self.records.curve(trial.stages, trial.recipe.evaluated_by)
            result.epochs.remembered = curve, self.store.index.digests
        return result

    def results(self) -> list[TrialResult]:
        return [self.result(number) for number in range(len(self.forest.trials))]

    def _read_records(self, keys: Iterable[str], forest: Forest) -> None:
        for key in keys:
            brief = self.store.brief(forest.stages[key])
            if brief is not None:
                self.records.take(key, brief)

    def _read_partials(self, forest: Forest, keys: Iterable[str]) -> None:
        for key in keys:
            partial = self.store.partial_record(key)
            if partial and partial.start == forest.stages[key].start:
                self.partials[key] = partial
                self.saved[key] = partial.epochs

    def _failed_before(self, failures: Mapping[str, dict[str, Any]]) -> dict[str, Failure]:
        """Failures that are not worth another try by themselves. The others are forgotten."""
        lasting = {}
        for key, fields in failures.items():
            if key in self.records:
                continue
            failure = Failure.from_dict(fields)
            if failure.fault.retried_next_launch and not self.read_only:
                self.store.clear_failure(key)
            else:
                lasting[key] = failure
                self.saved[key] = fields.get("epochs", ())
        return lasting
