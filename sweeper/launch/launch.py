"""One launch of a sweep: hands out stages, takes in what comes of them, and tells those who watch.

A driver (Ray's or the local one) asks `next_order` for work and gives back each `Step`; it decides nothing itself.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from search_spaces.labels import ArmLabels
from sweeper.launch.orders import Order, Step
from sweeper.planning.estimates import Estimates
from sweeper.records.compressed import packed
from sweeper.records.stage_record import StageRecord
from sweeper.records.store import Store
from sweeper.records.trial_result import Epoch, TrialResult, trial_result
from sweeper.search.limits import Amount
from sweeper.search.policy import Steering
from sweeper.stages.faults import PASSING, Failure, Fault
from sweeper.stages.forest import Forest, Stage, Trial, grow
from sweeper.stages.schedule import RetryRule, Schedule
from sweeper.stages.status import Status
from sweeper.storage.claims import Claims
from sweeper.storage.folder import StoreError
from trainers.recipe.recipe import Recipe

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
    steering: Steering = field(default_factory=Steering)

    def __post_init__(self) -> None:
        self.claims = Claims(self.store.root, self.clock)
        self.elsewhere: set[str] = set()  # stages that another launch trains now
        self.labels: list[str] = []
        self._naming = ArmLabels()
        self.broken = ""  # why it stopped by itself
        self.out_of = ""  # the limit that was reached while stages ran
        self.records: dict[str, StageRecord] = {}
        self.partials: dict[str, StageRecord] = {}  # stages on their way when the launch began
        self.saved: dict[str, Sequence[Epoch]] = {}  # epochs of unfinished stages that are in the store
        self._live: dict[str, list[Epoch]] = {}
        self._started: set[str] = set()  # by this launch
        self._numbers: dict[str, int] = {}
        planted, self.forest = self.forest, Forest({}, [], 0, 0)
        cost = self.estimates.cost(planted) if self.estimates else None
        self.schedule = Schedule(self.forest, rule=self.rule, cost=cost)
        self._take_in(planted, self.store.failures())

    def add(self, recipes: Sequence[Recipe]) -> list[int]:
        """Takes in trials while it runs; returns the numbers of their trials. What is there already is there once."""
        new = {recipe.content_hash(): recipe for recipe in recipes}
        unknown = [recipe for recipe_hash, recipe in new.items() if recipe_hash not in self._numbers]
        forest = grow(self.forest, unknown, self.digests, self.store, self._begun())
        failures = ((key, self.store.read_failure(key)) for key in forest.stages.keys() - self.forest.stages.keys())
        self._take_in(forest, {key: fields for key, fields in failures if fields is not None})
        return [self._numbers[recipe.content_hash()] for recipe in recipes]

    def _take_in(self, forest: Forest, failures: Mapping[str, dict[str, Any]]) -> None:
        """Goes on with a forest that has grown from the one before it."""
        keys = forest.stages.keys() - self.forest.stages.keys()
        before = [*self.forest.trials, *[None] * (len(forest.trials) - len(self.forest.trials))]
        changed = [n for n, (old, trial) in enumerate(zip(before, forest.trials, strict=True)) if trial is not old]
        new = range(len(self.forest.trials), len(forest.trials))
        self._read_records(forest.stored & keys, forest)
        failed = self._failed_before({key: fields for key, fields in failures.items() if key in keys})
        self._read_partials(forest, keys - self.records.keys() - failed.keys())
        holds = self.steering.holds(forest, changed, self.records.__contains__)
        self.schedule.grow(forest, self.records.keys() & keys, failed, holds)
        self._numbers |= {forest.trials[number].recipe.content_hash(): number for number in new}
        # Others look on: what they look up by number must be there before the number is.
        self.labels = self._naming.add([forest.trials[number].recipe for number in new])
        self.forest = forest
        self.steering.begin(self, new)

    def _begun(self) -> set[str]:
        """Stages that must stay as they are: only what never ran may be cut anew."""
        return self._started | self.elsewhere | self.records.keys() | self.saved.keys() | self.schedule.failures.keys()

    def _read_records(self, keys: Iterable[str], forest: Forest | None = None) -> None:
        stages = (forest or self.forest).stages
        for key in keys:
            record = self.store.read_span(key, stages[key].start)
            if record is not None:
                self.records[key] = packed(record)

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
        stage = self._next_stage()
        if stage is None:
            return None
        self._live[stage.key] = []
        self._started.add(stage.key)
        for watcher in self.watchers:
            watcher.stage_started(stage)
        return self.order(stage)

    def _next_stage(self) -> Stage | None:
        try:
            while not self.looking:
                stage = self.schedule.next_stage(self.clock())
                if stage is not None:
                    if not self.steering.may_start(self, stage):
                        self.schedule.withhold(stage.key)
                    elif self._is_ours(stage):
                        return stage
                elif self.schedule.is_reserved or not self.steering.bring_more(self):
                    break
        except StoreError as error:
            self._break_off(error)
        return None

    def _break_off(self, error: StoreError) -> None:
        """What it must remember cannot be written down: it stops, and can be launched again."""
        self.broken = str(error)
        self.stop()

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
            self._take_result(stage)
        elif limit := self.steering.overspent(self._live):
            self.out_of = limit
            self.stop()

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
        try:
            self.steering.stage_failed(self, stage, epochs)
        except StoreError as error:
            self._break_off(error)
        for watcher in self.watchers:
            watcher.stage_failed(stage, failure, again)

    @property
    def is_over(self) -> bool:
        if self.stop_requested:
            return not self.schedule.running
        return self.schedule.is_over and (self.looking or not self.steering.may_bring_more)

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
        result = trial_result(trial, self.labels[number], self.status(trial), failure, self.records, self.saved)
        search_trial = self.steering.search_trial(number)
        return result if search_trial is None else replace(result, search_trial=search_trial)

    def results(self) -> list[TrialResult]:
        return [self.result(number) for number in range(len(self.forest.trials))]

    def sweep_status(self) -> Status:
        """COMPLETED: every trial, as far as the rungs let it; STOPPED_EARLY: as far as the limits allow."""
        counts = {self.status(trial) for trial in self.forest.trials}
        if counts <= {Status.COMPLETED, Status.STOPPED_EARLY} and not self.steering.wants_more:
            return Status.COMPLETED
        if self.out_of or (self.is_over and not self.stop_requested):
            return Status.STOPPED_EARLY if self.limits_reached and Status.FAILED not in counts else Status.FAILED
        return Status.RUNNING

    @property
    def limits_reached(self) -> list[str]:
        """The limits that kept trials from being run, with their values."""
        account = self.steering.account
        return account.reached if account and (self.steering.wants_more or self.not_run()) else []

    def spent(self) -> Amount:
        """What counts against the limits by now."""
        return self.steering.spent(self._live)

    def not_run(self) -> Counter[str]:
        """By arm: trials that have neither completed nor failed, nor were they stopped early."""
        left = (Status.PENDING, Status.RUNNING)
        trials = zip(self.forest.trials, self.labels, strict=False)
        return Counter(label for trial, label in trials if self.status(trial) in left)

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

    def _take_result(self, stage: Stage) -> None:
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
        self.records[stage.key] = packed(record)
        self._live.pop(stage.key, None)
        self.saved.pop(stage.key, None)
        self.schedule.finish(stage.key)
        self.claims.release(stage.key)
        try:
            self.steering.stage_done(self, stage)
        except StoreError as error:
            self._break_off(error)
        for watcher in self.watchers:
            watcher.stage_done(stage)

    def _keep_failure(self, key: str, failure: Failure, epochs: Sequence[Epoch]) -> None:
        fields: dict[str, Any] = {**failure.as_dict(), "epochs": list(epochs), "sources": self.sources}
        try:
            self.store.write_failure(key, fields)
            self.saved[key] = epochs
        except StoreError:
            self.saved.pop(key, None)  # the disk is full, say: it is told at the end, and tried again next time
