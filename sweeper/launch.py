"""One launch of a sweep: hands out stages, takes in what comes of them, and tells those who watch.

A driver (Ray's or the local one) asks `next_order` for work and gives back each `Step`; it decides nothing itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from search_spaces.labels import arm_labels
from sweeper.claims import Claims
from sweeper.estimates import Estimates
from sweeper.faults import Failure, Fault
from sweeper.forest import Forest, Stage, Trial, grow
from sweeper.orders import Order, Step
from sweeper.results import Epoch, TrialResult, trial_result
from sweeper.scheduling import RetryRule, Schedule, Status
from sweeper.store import StageRecord, Store, StoreError
from trainers.recipe import Recipe

# Faults that launching again tries again by itself; the others wait for `sweeper retry`.
PASSING = (Fault.INFRASTRUCTURE, Fault.OUT_OF_MEMORY)
LOOK_AGAIN_SECONDS = 1.0  # whether another launch has finished a stage


@dataclass(frozen=True)
class Resources:
    """What a trial gets, and how many run at once."""

    cpus_per_trial: float = 1.0
    gpus_per_trial: float = 0.0
    max_parallel: int | None = None

    @property
    def threads(self) -> int:
        return max(1, int(self.cpus_per_trial))

    @property
    def device(self) -> str:
        return "cuda" if self.gpus_per_trial else "cpu"


class Watcher(Protocol):
    """Told of everything that happens, in the driver's thread: be quick."""

    def stage_started(self, stage: Stage) -> None: ...
    def epochs_ended(self, stage: Stage, epochs: Sequence[Epoch]) -> None: ...
    def stage_done(self, stage: Stage) -> None: ...
    def stage_failed(self, stage: Stage, failure: Failure, again: bool) -> None: ...


@dataclass
class Launch:
    """The state of a running sweep. `stop` may be called from a signal handler."""

    sweep: str
    forest: Forest
    digests: Mapping[str, str]
    store: Store
    resources: Resources
    sources: dict[str, str]
    data_dir: Path | None = None
    rule: RetryRule = field(default_factory=RetryRule)
    save_seconds: float = 30.0
    clock: Callable[[], float] = time.monotonic
    watchers: list[Watcher] = field(default_factory=list)
    stop_requested: bool = False
    looking: bool = False  # only to be looked at: nothing is started, nothing forgotten
    estimates: Estimates | None = None  # of how long stages take; without them epochs count

    def __post_init__(self) -> None:
        self.claims = Claims(self.store.root, self.clock)
        self.elsewhere: set[str] = set()  # stages that another launch trains now
        self.labels = arm_labels([trial.recipe for trial in self.forest.trials])
        self.records: dict[str, StageRecord] = {}
        self.saved: dict[str, Sequence[Epoch]] = {}  # epochs of unfinished stages that are in the store
        self._live: dict[str, list[Epoch]] = {}
        self._started: set[str] = set()  # by this launch
        self._numbers = {trial.recipe.content_hash(): n for n, trial in enumerate(self.forest.trials)}
        self._read_records(self.forest.stored)
        failed = self._failed_before(self.store.failures())
        cost = self.estimates.cost(self.forest) if self.estimates else None
        self.schedule = Schedule(self.forest, self.records, failed, self.rule, cost)
        self._read_partials(self.forest.stages.keys() - failed.keys())

    def add(self, recipes: Sequence[Recipe]) -> list[int]:
        """Takes in trials while it runs; returns the numbers of their trials. What is there already is there once."""
        new = {recipe.content_hash(): recipe for recipe in recipes}
        new = {recipe_hash: recipe for recipe_hash, recipe in new.items() if recipe_hash not in self._numbers}
        forest = grow(self.forest, list(new.values()), self.digests, self.store, self._begun())
        keys = forest.stages.keys() - self.forest.stages.keys()
        self._read_records(forest.stored & keys, forest)
        failures = ((key, self.store.read_failure(key)) for key in keys)
        failed = self._failed_before({key: fields for key, fields in failures if fields is not None}, forest)
        self._read_partials(keys - failed.keys(), forest)
        self.schedule.grow(forest, self.records.keys() & keys, failed)
        self._numbers |= {recipe_hash: n for n, recipe_hash in enumerate(new, len(self.forest.trials))}
        # Others look on: what they look up by number must be there before the number is.
        self.labels = arm_labels([trial.recipe for trial in forest.trials])
        self.forest = forest
        return [self._numbers[recipe.content_hash()] for recipe in recipes]

    def _begun(self) -> set[str]:
        """Stages that must stay as they are: only what never ran may be cut anew."""
        return self._started | self.elsewhere | self.records.keys() | self.saved.keys() | self.schedule.failures.keys()

    def _read_records(self, keys: Iterable[str], forest: Forest | None = None) -> None:
        stages = (forest or self.forest).stages
        for key in keys:
            record = self.store.read_span(key, stages[key].start)
            if record is not None:
                self.records[key] = record

    def _read_partials(self, keys: Set[str], forest: Forest | None = None) -> None:
        stages = (forest or self.forest).stages
        for key in keys - self.records.keys():
            partial = self.store.partial_record(key)
            if partial and partial.start == stages[key].start:
                self.saved[key] = partial.epochs

    def _failed_before(
        self, failures: Mapping[str, dict[str, Any]], forest: Forest | None = None
    ) -> dict[str, Failure]:
        """Failures that are not worth another try by themselves. The others are forgotten."""
        lasting = {}
        for key, fields in failures.items():
            if key not in (forest or self.forest).stages or key in self.records:
                continue
            failure = Failure.from_dict(fields)
            if failure.fault in PASSING and not self.looking:
                self.store.clear_failure(key)
            else:
                lasting[key] = failure
                self.saved[key] = fields.get("epochs", ())
        return lasting

    # For drivers

    def next_order(self) -> Order | None:
        """The work to start now; None while there is none (or never again: see `is_over`)."""
        if self.stop_requested:
            return None
        while (stage := self.schedule.next_stage(self.clock())) is not None:
            if self._is_ours(stage):
                self._live[stage.key] = []
                self._started.add(stage.key)
                for watcher in self.watchers:
                    watcher.stage_started(stage)
                return self.order(stage)
        return None

    def order(self, stage: Stage) -> Order:
        """All that a worker must know to train this stage."""
        return Order.of(
            stage,
            digest=self.digests[stage.recipe.dataset],
            storage=str(self.store.root),
            data_dir=str(self.data_dir) if self.data_dir else None,
            device=self.resources.device,
            threads=self.resources.threads,
            sweep=self.sweep,
            sources=self.sources,
            save_seconds=self.save_seconds,
        )

    def take(self, key: str, step: Step) -> None:
        """What a worker said of its stage."""
        if key not in self.schedule.running:
            return  # an answer that came after its stage was given up
        stage = self.forest.stages[key]
        live = self._live[key]
        live += step.epochs
        self.saved[key] = live[: step.saved - stage.start]
        if step.epochs:
            for watcher in self.watchers:
                watcher.epochs_ended(stage, step.epochs)
        if step.failure is not None:
            self.fail(key, step.failure)
        elif step.done:
            self._take_in(stage)

    def fail(self, key: str, failure: Failure) -> None:
        """The stage ended without a result: its worker said so, or is gone."""
        if key not in self.schedule.running:
            return
        stage = self.forest.stages[key]
        again = self.schedule.fail(key, failure, self.clock())
        self.elsewhere.discard(key)
        epochs = self._live.pop(key, [])
        if not again:
            self._keep_failure(key, failure, epochs)
        self.claims.release(key)
        for watcher in self.watchers:
            watcher.stage_failed(stage, failure, again)

    @property
    def is_over(self) -> bool:
        return self.schedule.is_over or (self.stop_requested and not self.schedule.running)

    def let_go(self) -> None:
        """The driver has ended: what it left unfinished may be trained by another launch from now on."""
        self.claims.release_all()

    def stop(self) -> None:
        """Start nothing any more; the driver ends what runs."""
        self.stop_requested = True

    # For those who look on

    def status(self, trial: Trial) -> Status:
        return self.schedule.trial_status(trial)

    def result(self, number: int) -> TrialResult:
        """What is stored of a trial by now."""
        trial = self.forest.trials[number]
        failure = self.schedule.trial_failure(trial)
        return trial_result(trial, self.labels[number], self.status(trial), failure, self.records, self.saved)

    def results(self) -> list[TrialResult]:
        return [self.result(number) for number in range(len(self.forest.trials))]

    def sweep_status(self) -> Status:
        counts = {self.status(trial) for trial in self.forest.trials}
        if counts <= {Status.COMPLETED}:
            return Status.COMPLETED
        if self.is_over and not self.stop_requested:
            return Status.FAILED
        return Status.RUNNING

    # How

    def _is_ours(self, stage: Stage) -> bool:
        """Claims the stage, unless another launch trains it now, or has done so since this one was planned."""
        try:
            if not self.claims.take(stage.key):
                self.elsewhere.add(stage.key)
                self.schedule.postpone(stage.key, self.clock() + LOOK_AGAIN_SECONDS)
                return False
            self.elsewhere.discard(stage.key)
            record = self.store.read_span(stage.key, stage.start)
            fields = None if record else self.store.read_failure(stage.key)
        except StoreError as error:
            self.fail(stage.key, Failure(Fault.INFRASTRUCTURE, str(error)))
            return False
        if record is not None:
            self._finish(stage, record)
        elif fields is not None and (failure := Failure.from_dict(fields)).fault not in PASSING:
            self._live[stage.key] = list(fields.get("epochs", ()))
            self.fail(stage.key, failure)  # the other launch has found out that it cannot work
        else:
            return True
        return False

    def _take_in(self, stage: Stage) -> None:
        try:
            record = self.store.read_span(stage.key, stage.start)
            problem = "its record was written, and is not in the store"
        except StoreError as error:
            record, problem = None, str(error)
        if record is None:
            self.fail(stage.key, Failure(Fault.INFRASTRUCTURE, problem))
        else:
            self._finish(stage, record)

    def _finish(self, stage: Stage, record: StageRecord) -> None:
        self.records[stage.key] = record
        self._live.pop(stage.key, None)
        self.saved.pop(stage.key, None)
        self.schedule.finish(stage.key)
        self.claims.release(stage.key)
        for watcher in self.watchers:
            watcher.stage_done(stage)

    def _keep_failure(self, key: str, failure: Failure, epochs: Sequence[Epoch]) -> None:
        fields: dict[str, Any] = {**failure.as_dict(), "epochs": list(epochs), "sources": self.sources}
        try:
            self.store.write_failure(key, fields)
            self.saved[key] = epochs
        except StoreError:
            self.saved.pop(key, None)  # the disk is full, say: it is told at the end, and tried again next time
