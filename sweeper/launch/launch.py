"""One launch of a sweep: hands out stages, takes in what comes of them, and tells those who watch.

A driver (Ray's or the local one) asks `next_order` for work and gives back each `Step`; it decides nothing itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sweeper.launch.orders import Order, Step
from sweeper.planning.estimates import Estimates
from sweeper.records.index import Brief
from sweeper.records.sweep_folder import planting
from sweeper.records.trial_result import Epoch, seconds_of
from sweeper.search.limits import Amount
from sweeper.search.steered_sweep import SteeredSweep
from sweeper.stages.faults import Failure, Fault, RetryRule
from sweeper.stages.forest import Stage
from sweeper.stages.status import Status
from sweeper.storage.base import StoreError
from sweeper.storage.claims import Claims
from sweeper.text import in_words
from trainers.plugins.known import keys_in

LOOK_AGAIN_SECONDS = 1.0  # whether another launch has finished a stage
SAVED_AFTER = 1_000  # new entries of the index; a killed launch leaves so many records to be read by the next


@dataclass(frozen=True)
class Resources:
    """The CPUs and GPUs of a trial, and how many trials run at once."""

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
    """An object that is told of every event, in the driver's thread: its methods must be quick."""

    def stage_started(self, stage: Stage) -> None: ...
    def epochs_ended(self, stage: Stage, epochs: Sequence[Epoch]) -> None: ...
    def stage_done(self, stage: Stage) -> None: ...
    def stage_failed(self, stage: Stage, failure: Failure, again: bool) -> None: ...


@dataclass
class Launch(SteeredSweep):
    """A sweep that is being trained: its stages, records and watchers. `stop` may be called from a signal handler."""

    resources: Resources
    sources: dict[str, str]
    data_dir: Path | None = None
    plugins: Mapping[str, str] = field(default_factory=dict)  # in the storage: by key, the digest of their files
    rule: RetryRule = field(default_factory=RetryRule)
    save_seconds: float = 30.0
    needs_bytes: int = 0  # of memory, that a node of a cluster must have; 0: whatever it has
    clock: Callable[[], float] = time.monotonic
    watchers: list[Watcher] = field(default_factory=list)
    stop_requested: bool = False
    tell: Callable[[str], None] = lambda line: None  # of what concerns no stage
    read_only: bool = False  # only to be looked at: nothing is started, nothing forgotten
    estimates: Estimates | None = None  # of how long stages take; without them epochs count

    def __post_init__(self) -> None:
        self.claims = Claims(self.store.root, self.clock)
        self.elsewhere: set[str] = set()  # stages that another launch trains now
        self.broken = ""  # why it stopped by itself
        self.refused = ""  # why no worker may train for it: one has other code
        self.nodes_left_out: dict[str, str] = {}  # by name: why no stage is started on them any more
        self.waits_for = ""  # what its driver needs before it can start another stage
        self.no_nodes = ""  # what it has waited for in vain
        self.out_of = ""  # the limit that was reached while stages ran
        self._live: dict[str, list[Epoch]] = {}
        self._started: set[str] = set()  # by this launch
        self._found: dict[str, int] = {}  # epochs that were saved of stages when this launch first started them
        self._saved_before: dict[str, int] = {}  # epochs of stages that were saved when they failed last, or started
        planted = self.forest
        self.begin(self.rule, self.estimates.cost(planted) if self.estimates else None)
        self.steer(planted, self.store.failures())
        if not self.read_only:
            self.store.index.save()

    def begun(self) -> set[str]:
        """Stages that must stay as they are: what ran, or was given out."""
        return super().begun() | self._started | self.elsewhere

    # For drivers

    def next_order(self) -> Order | None:
        """The work to start now; None while there is none (see `is_over` for whether there will be more)."""
        if self.stop_requested:
            return None
        stage = self._next_stage()
        if stage is None:
            return None
        self._live[stage.key] = []
        self._started.add(stage.key)
        found = len(self.saved.get(stage.key, ()))
        self._found.setdefault(stage.key, found)
        self._saved_before.setdefault(stage.key, found)
        for watcher in self.watchers:
            watcher.stage_started(stage)
        return self.order(stage)

    def _next_stage(self) -> Stage | None:
        try:
            while not self.read_only:
                stage = self.schedule.next_stage(self.clock())
                if stage is not None:
                    if not self.steering.may_start(self, stage):
                        self.schedule.withhold(stage.key)
                    elif self._is_ours(stage):
                        return stage
                elif self.schedule.is_reserved or not self._bring_more():
                    break
        except StoreError as error:
            self._break_off(error)
        return None

    def has_more_than(self, waiting: int) -> bool:
        """Whether there is a stage to start besides those for so many workers that are on their way already."""
        if self.stop_requested or self.read_only:
            return False
        try:
            while self.schedule.ready(self.clock()) <= waiting:
                if self.schedule.is_reserved or not self._bring_more():
                    return False
        except StoreError as error:
            self._break_off(error)
        return not self.stop_requested

    def _bring_more(self) -> bool:
        """Tries to make another stage ready: of what pauses or waits, or of a point to ask for. False: nothing more."""
        if self.steering.promote(self) or self.steering.take_one_on(self):
            return True
        if self.steering.may_ask:
            with planting(self.store.root):  # nothing is swept up that the new trials are to share
                if recipes := self.steering.ask(self):
                    self.add(recipes)
                    return True
        if self.steering.settle(self):
            return True
        self.steering.ran_dry()
        return False

    def _break_off(self, error: StoreError) -> None:
        """What it must remember cannot be written down: it stops, and can be launched again."""
        self.broken = str(error)
        self.stop()

    def order(self, stage: Stage) -> Order:
        """The order by which a worker trains this stage."""
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
            plugins={key: self.plugins[key] for key in keys_in(stage.recipe.plugins)},
        )

    def take(self, key: str, step: Step) -> None:
        """Takes in what a worker reports of its stage."""
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
        elif limit := self.steering.overspent(self, self._live):
            self.out_of = limit
            self.stop()

    def fail(self, key: str, failure: Failure) -> None:
        """Notes that the stage ended without a result: its worker said so, or died."""
        if key not in self.schedule.running:
            return
        before, saved = self._saved_before.get(key, 0), len(self.saved.get(key, ()))
        self._saved_before[key] = max(before, saved)
        again = self.schedule.fail(key, failure, self.clock(), came_further=saved > before)
        epochs = self._live.pop(key, [])
        if not again:
            self._keep_failure(key, failure, epochs)
        self._ended_without_result(key, failure, again, epochs)

    def put_back(self, key: str, why: str) -> None:
        """The stage was ended, without a fault of its own: it is ready again."""
        if key in self.schedule.running:
            self.schedule.postpone(key, self.clock())
            failure = Failure(Fault.INFRASTRUCTURE, why)
            self._ended_without_result(key, failure, True, self._live.pop(key, []))

    def _ended_without_result(self, key: str, failure: Failure, again: bool, epochs: Sequence[Epoch]) -> None:
        stage = self.forest.stages[key]
        self.elsewhere.discard(key)
        self.claims.release(key)
        try:
            self.steering.stage_failed(self, stage, epochs)
        except StoreError as error:
            self._break_off(error)
        for watcher in self.watchers:
            watcher.stage_failed(stage, failure, again)

    def refuse(self, key: str, why: str) -> None:
        """Stops the launch, as a worker must not train this stage nor any other; the stage was not started."""
        if key in self.schedule.running:
            self.schedule.withhold(key)
            self._live.pop(key, None)
            self.claims.release(key)
        self.refused = why
        self.stop()

    def leave_out(self, node: str, why: str) -> None:
        """Notes that no further stage is started on this node of the cluster."""
        self.nodes_left_out[node] = why
        self.tell(f"node {node} is left out: {why}")

    def give_up_waiting(self, why: str) -> None:
        """What it waits for does not come: it stops, and can be launched again."""
        self.no_nodes = why
        self.stop()

    @property
    def waits(self) -> bool:
        """Whether what is left waits for something, and not for a worker of this launch."""
        return bool(self.waits_for or self.elsewhere or self.schedule.due_at is not None)

    def why_still(self) -> str:
        """Why no epoch ends now, in words."""
        if self.waits_for:
            return f"waits for {self.waits_for}"
        if running := len(self.schedule.running):
            return f"{running:,} {'stage trains' if running == 1 else 'stages train'}, and no epoch has ended"
        if (due_at := self.schedule.due_at) is not None and not self.elsewhere:
            return f"the next try is due in {in_words(max(0.0, due_at - self.clock()))}"
        return "another launch trains what is left" if self.elsewhere else "no worker has started yet"

    @property
    def is_over(self) -> bool:
        if self.stop_requested:
            return not self.schedule.running
        return self.schedule.is_over and (self.read_only or not self.steering.may_bring_more)

    def let_go(self) -> None:
        """Releases all claims once the driver has ended: another launch may train what is unfinished."""
        self.claims.release_all()
        self.store.index.save()

    def stop(self) -> None:
        """Starts no more stages; the driver ends those that run."""
        self.stop_requested = True

    # For those who look on

    def sweep_status(self) -> Status:
        """The sweep's status. COMPLETED: all trials, as far as rungs let them; STOPPED_EARLY: as limits allow."""
        counts = {self.status(trial) for trial in self.forest.trials}
        if counts <= {Status.COMPLETED, Status.STOPPED_EARLY} and not self.steering.wants_more:
            return Status.COMPLETED
        if self.out_of or (self.is_over and not self.stop_requested):
            return Status.STOPPED_EARLY if self.limits_reached and Status.FAILED not in counts else Status.FAILED
        return Status.RUNNING

    def spent(self) -> Amount:
        """The resources spent so far that count against the limits."""
        return self.steering.spent(self._live)

    def trained_here(self) -> tuple[int, float]:
        """The epochs that this launch itself trained and kept, and their seconds of training and evaluation."""
        count, seconds = 0, 0.0
        for key, found in self._found.items():
            record = self.records.get(key)
            kept = record.epochs if record else self.saved.get(key, ())
            count += max(0, len(kept) - found)
            seconds += record.seconds if record and not found else seconds_of(kept[found:])
        return count, seconds

    # How

    def _is_ours(self, stage: Stage) -> bool:
        """Claims the stage, unless another launch trains it now, or has done so since this one was planned."""
        try:
            if not self.claims.take(stage.key):
                self.elsewhere.add(stage.key)
                self.schedule.postpone(stage.key, self.clock() + LOOK_AGAIN_SECONDS)
                return False
            self.elsewhere.discard(stage.key)
            brief = self.store.brief(stage)
            if brief is not None and self.store.is_left_out(stage.key):
                brief = None  # what goes on from here needs the state
            fields = None if brief else self.store.read_failure(stage.key)
        except StoreError as error:
            self.fail(stage.key, Failure(Fault.INFRASTRUCTURE, str(error)))
            return False
        if brief is not None:
            self._finish(stage, brief)
        elif fields is not None and not (failure := Failure.from_dict(fields)).fault.retried_next_launch:
            self._live[stage.key] = list(fields.get("epochs", ()))
            self.fail(stage.key, failure)  # the other launch has found out that it cannot work
        else:
            return True
        return False

    def _take_result(self, stage: Stage) -> None:
        try:
            brief = self.store.brief(stage)
            problem = "its record was written, and is not in the store"
        except StoreError as error:
            brief, problem = None, str(error)
        if brief is None:
            self.fail(stage.key, Failure(Fault.INFRASTRUCTURE, problem))
        else:
            self._finish(stage, brief)

    def _finish(self, stage: Stage, brief: Brief) -> None:
        self.records.take(stage.key, brief)
        self.store.index.save(at_least=max(SAVED_AFTER, len(self.store.index) // 4))
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
