"""Which stages may run next, and what became of the others. Pure logic: no Ray, no clock, no files."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from sweeper.faults import Failure, Fault
from sweeper.forest import Forest, Stage, Trial


class StageStatus(StrEnum):
    """WAITING (for its parent) -> READY -> RUNNING -> DONE | FAILED;  RUNNING -> READY after a fault that may pass."""

    WAITING = "waiting"
    READY = "ready"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Status(StrEnum):
    """Of a trial.  PENDING -> RUNNING -> COMPLETED | STOPPED_EARLY | FAILED.  Reports average COMPLETED only."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    STOPPED_EARLY = "STOPPED_EARLY"
    FAILED = "FAILED"


@dataclass(frozen=True)
class RetryRule:
    """How often a fault that may pass is tried again, and after how long; the pause doubles each time."""

    max_retries: int = 3
    back_off_seconds: float = 2.0
    same_bug_limit: int = 5  # stages that die at the same place, and more than come through, stop the sweep


class Schedule:
    """The stages of a forest on their way to DONE or FAILED. Longest remaining path first.

    `seconds` arguments are readings of one monotonic clock, the caller's.
    """

    def __init__(
        self,
        forest: Forest,
        done: Iterable[str] = (),
        failed: Mapping[str, Failure] | None = None,
        rule: RetryRule | None = None,
        cost: Callable[[Stage], float] | None = None,
    ) -> None:
        self.stages = forest.stages
        self.rule = rule or RetryRule()
        self.failures: dict[str, Failure] = {}
        self.given_up: str | None = None  # why no further stage is released, once that is so
        self._children: dict[str, list[str]] = defaultdict(list)
        for key, stage in self.stages.items():
            if stage.parent in self.stages:
                self._children[str(stage.parent)].append(key)
        self._order = {key: number for number, key in enumerate(self.stages)}
        self._remaining = self._remaining_costs(cost or (lambda stage: float(stage.end - stage.start)))
        self._status = dict.fromkeys(self.stages, StageStatus.WAITING)
        self._ready: list[tuple[float, int, str]] = []
        self._delayed: list[tuple[float, str]] = []
        self._alone: list[str] = []  # to run while nothing else does
        self._tried_alone: set[str] = set()
        self._retries: Counter[str] = Counter()
        self._bugs: Counter[str] = Counter()
        self._running: set[str] = set()
        self._finished = 0  # by this schedule
        for key in done:
            if key in self.stages:
                self._status[key] = StageStatus.DONE
        for key, failure in (failed or {}).items():
            if key in self.stages and self._status[key] is not StageStatus.DONE:
                self._fail_for_good(key, failure)
        for key, stage in self.stages.items():
            if self._status[key] is StageStatus.WAITING and self._parent_is_done(stage):
                self._make_ready(key)

    # What may run

    def next_stage(self, seconds: float) -> Stage | None:
        """The stage to run now, marked as running; None while there is none."""
        if self.given_up or self._runs_alone():
            return None
        while self._delayed and self._delayed[0][0] <= seconds:
            self._make_ready(heapq.heappop(self._delayed)[1])
        if self._ready:
            key = heapq.heappop(self._ready)[2]
        elif self._alone and not self._running:
            key = self._alone[0]
        else:
            return None
        self._status[key] = StageStatus.RUNNING
        self._running.add(key)
        return self.stages[key]

    @property
    def is_over(self) -> bool:
        """Nothing runs, and nothing ever will."""
        if self._running:
            return False
        return bool(self.given_up) or not (self._ready or self._delayed or self._alone)

    # What became of it

    def finish(self, key: str) -> None:
        """The stage is in the store; its children may run."""
        self._leave(key)
        self._status[key] = StageStatus.DONE
        self._finished += 1
        for child in self._children[key]:
            if self._status[child] is StageStatus.WAITING:
                self._make_ready(child)

    def fail(self, key: str, failure: Failure, seconds: float) -> bool:
        """The stage ended without a result. True if it will be tried again."""
        self._leave(key)
        retried = self._retries[key]
        if failure.fault is Fault.INFRASTRUCTURE and retried < self.rule.max_retries:
            self._retries[key] += 1
            self._status[key] = StageStatus.READY
            heapq.heappush(self._delayed, (seconds + self.rule.back_off_seconds * 2**retried, key))
            return True
        if failure.fault is Fault.OUT_OF_MEMORY and key not in self._tried_alone:
            self._tried_alone.add(key)
            self._status[key] = StageStatus.READY
            self._alone.append(key)
            return True
        self._fail_for_good(key, failure)
        self._count_bug(failure)
        return False

    def status(self, key: str) -> StageStatus:
        return self._status[key]

    def failure(self, key: str) -> Failure | None:
        """Why this stage failed: itself, or the one above it that did."""
        return self.failures.get(key)

    @property
    def running(self) -> frozenset[str]:
        return frozenset(self._running)

    def counts(self) -> Counter[StageStatus]:
        return Counter(self._status.values())

    def epochs_left(self) -> int:
        """Epochs of the stages that are neither done nor failed, those running counted in full."""
        over = (StageStatus.DONE, StageStatus.FAILED)
        return sum(stage.epochs for key, stage in self.stages.items() if self._status[key] not in over)

    def trial_status(self, trial: Trial) -> Status:
        """RUNNING as soon as a stage of it has run, whoever it was run for."""
        states = {self._status[key] for key in trial.stages}
        if StageStatus.FAILED in states:
            return Status.FAILED
        if states <= {StageStatus.DONE}:
            return Status.COMPLETED
        if states & {StageStatus.DONE, StageStatus.RUNNING}:
            return Status.RUNNING
        return Status.PENDING

    def trial_failure(self, trial: Trial) -> Failure | None:
        return next((self.failures[key] for key in trial.stages if key in self.failures), None)

    def remaining_cost(self, key: str) -> float:
        """Cost of the dearest path from this stage's start to a leaf."""
        return self._remaining[key]

    # How

    def _remaining_costs(self, cost: Callable[[Stage], float]) -> dict[str, float]:
        remaining: dict[str, float] = {}
        roots = [key for key, stage in self.stages.items() if stage.parent not in self.stages]
        stack = [(key, False) for key in roots]
        while stack:
            key, children_known = stack.pop()
            if children_known:
                below = max((remaining[child] for child in self._children[key]), default=0.0)
                remaining[key] = cost(self.stages[key]) + below
            else:
                stack.append((key, True))
                stack.extend((child, False) for child in self._children[key])
        return remaining

    def _parent_is_done(self, stage: Stage) -> bool:
        # A parent outside the forest is a point that the store held before this sweep was planted.
        return stage.parent not in self.stages or self._status[str(stage.parent)] is StageStatus.DONE

    def _make_ready(self, key: str) -> None:
        self._status[key] = StageStatus.READY
        heapq.heappush(self._ready, (-self._remaining[key], self._order[key], key))

    def _runs_alone(self) -> bool:
        return bool(self._running.intersection(self._alone))

    def _leave(self, key: str) -> None:
        self._running.discard(key)
        if key in self._alone:
            self._alone.remove(key)

    def _fail_for_good(self, key: str, failure: Failure) -> None:
        stack = [key]
        while stack:
            failed = stack.pop()
            if self._status[failed] is not StageStatus.DONE:
                self._status[failed] = StageStatus.FAILED
                self.failures.setdefault(failed, failure)
                stack.extend(self._children[failed])

    def _count_bug(self, failure: Failure) -> None:
        if failure.fault is not Fault.BUG:
            return
        self._bugs[failure.place] += 1
        count = self._bugs[failure.place]
        if count >= self.rule.same_bug_limit and count > self._finished:
            self.given_up = f"{count} stages died of the same bug, {failure.reason}"
