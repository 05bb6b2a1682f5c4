"""Which stages may run next, and what became of the others. Pure logic: no Ray, no clock, no files."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from sweeper.stages.faults import Failure, Fault, Retry, RetryRule
from sweeper.stages.forest import Forest, Stage, Trial
from sweeper.stages.status import OVER, StageStatus, Status


class Schedule:
    """The stages of a forest on their way to DONE or FAILED.

    Of the first half of the seeds one after the other, so that arms can be compared early; then, and within a seed, the
    longest remaining path first, so that the end does not wait for one long path.

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
        self.rule = rule or RetryRule()
        self.stages: dict[str, Stage] = {}
        self.failures: dict[str, Failure] = {}
        self.given_up: str | None = None  # why no further stage is released, once that is so
        self._cost = cost or (lambda stage: float(stage.epochs))
        self._children: dict[str | None, list[str]] = defaultdict(list)
        self._order: dict[str, int] = {}
        self._remaining: dict[str, float] = {}
        self._status: dict[str, StageStatus] = {}
        self._holds: Counter[str] = Counter()  # reasons for which a stage may not run although its parent is done
        self._ready: list[tuple[int, float, int, str]] = []  # a heap; some entries are stale
        self._seeds: dict[int, int] = {}  # their numbers, in the order of the forest
        self._queued: set[str] = set()  # those whose entries are not
        self._delayed: list[tuple[float, str]] = []
        self._alone: list[str] = []  # to run while nothing else does
        self._tried_alone: set[str] = set()
        self._retries: Counter[str] = Counter()
        self._bugs: Counter[str] = Counter()
        self._running: set[str] = set()
        self._finished = 0  # by this schedule
        self.grow(forest, done, failed)

    def grow(
        self,
        forest: Forest,
        done: Iterable[str] = (),
        failed: Mapping[str, Failure] | None = None,
        held: Iterable[str] = (),
    ) -> None:
        """Takes in a forest that has grown from the one before it. `held`: new stages that are not to run yet."""
        new = [key for key in forest.stages if key not in self.stages]
        recut = [key for key, stage in self.stages.items() if forest.stages[key].parent != stage.parent]
        for key in recut:
            self._children[self.stages[key].parent].remove(key)
            self._queued.discard(key)
        self.stages = forest.stages
        changed = {*new, *recut}
        for key in [*new, *recut]:
            self._children[self.stages[key].parent].append(key)
            self._order.setdefault(key, len(self._order))
            self._seeds.setdefault(self.stages[key].recipe.seed, len(self._seeds))
            self._status[key] = StageStatus.WAITING
        for key in reversed(forest.stages):
            if key in changed:
                self._remaining[key] = self._remaining_of(key)
        for key in changed:
            if (parent := self.stages[key].parent) not in changed:  # or it has been counted with all below it
                self._pass_up(parent)
        self._holds.update(held)
        for key in done:
            if key in self.stages:
                self._status[key] = StageStatus.DONE
        for key, failure in (failed or {}).items():
            if key in self.stages and self._status[key] is not StageStatus.DONE:
                self._fail_for_good(key, failure)
        for key in [*new, *recut]:
            self._inherit(key)
            self._make_ready_if_it_may(key)

    # What may run

    def next_stage(self, seconds: float) -> Stage | None:
        """The stage to run now, marked as running; None while there is none."""
        if self.given_up or self._runs_alone():
            return None
        while self._delayed and self._delayed[0][0] <= seconds:
            key = heapq.heappop(self._delayed)[1]
            if self._status[key] is StageStatus.READY:  # it may have been stopped
                self._make_ready(key)
        if self._queued:
            key = self._pop_ready()
        elif self._alone and not self._running:
            key = self._alone[0]
        else:
            return None
        self._status[key] = StageStatus.RUNNING
        self._running.add(key)
        return self.stages[key]

    def ready(self, seconds: float) -> int:
        """How many stages could be started now, one after the other."""
        if self.given_up or self._runs_alone():
            return 0
        due = sum(when <= seconds for when, _ in self._delayed)
        return len(self._queued) + due or int(bool(self._alone) and not self._running)

    @property
    def due_at(self) -> float | None:
        """When the next of the stages that wait for their time is to be tried; None where none waits."""
        return self._delayed[0][0] if self._delayed else None

    @property
    def is_reserved(self) -> bool:
        """Whether nothing else may be started: the sweep is given up, or a stage is to run alone."""
        return bool(self.given_up or self._alone)

    @property
    def is_over(self) -> bool:
        """Nothing runs, and nothing ever will."""
        if self._running:
            return False
        return bool(self.given_up) or not (self._queued or self._delayed or self._alone)

    # What became of it

    def finish(self, key: str) -> None:
        """The stage is in the store; its children may run."""
        self._leave(key)
        self._status[key] = StageStatus.DONE
        self._finished += 1
        for child in self._children[key]:
            self._make_ready_if_it_may(child)

    def release(self, keys: Iterable[str]) -> None:
        """Takes back one hold of each of these stages."""
        for key in keys:
            self._holds[key] -= 1
            self._make_ready_if_it_may(key)

    def hold(self, keys: Iterable[str]) -> None:
        """These stages, which wait, have one more reason not to run yet."""
        self._holds.update(keys)

    def stop(self, keys: Iterable[str]) -> None:
        """What goes on from here is not wanted any more: these stages and all below them, as far as they do not run."""
        for key in self._with_descendants(keys):
            if self._status[key] in (StageStatus.WAITING, StageStatus.READY):
                self._status[key] = StageStatus.STOPPED
                self._queued.discard(key)
                if key in self._alone:
                    self._alone.remove(key)

    def withhold(self, key: str) -> None:
        """The stage was given out, and is not to run now: it is held instead."""
        self._leave(key)
        self._status[key] = StageStatus.WAITING
        self._holds[key] += 1

    def below(self, key: str) -> list[str]:
        """The stage and all that go on from it."""
        return list(self._with_descendants([key]))

    def fail(self, key: str, failure: Failure, seconds: float, came_further: bool = False) -> bool:
        """The stage ended without a result. True if it will be tried again.

        `came_further`: since it failed last more of its epochs were saved, so failures are counted anew.
        """
        self._leave(key)
        retried = self._retries[key] = 0 if came_further else self._retries[key]
        if failure.fault.retried_at_once is Retry.LATER and retried < self.rule.max_retries:
            self._retries[key] += 1
            self._status[key] = StageStatus.READY
            heapq.heappush(self._delayed, (seconds + self.rule.back_off_seconds * 2**retried, key))
            return True
        if failure.fault.retried_at_once is Retry.ALONE and key not in self._tried_alone:
            self._tried_alone.add(key)
            self._status[key] = StageStatus.READY
            self._alone.append(key)
            return True
        self._fail_for_good(key, failure)
        self._count_bug(failure)
        return False

    def postpone(self, key: str, seconds: float) -> None:
        """The stage was handed out and ended without a fault of its own. It is ready again at `seconds`."""
        self._leave(key)
        self._tried_alone.discard(key)
        self._status[key] = StageStatus.READY
        heapq.heappush(self._delayed, (seconds, key))

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

    def left(self) -> list[Stage]:
        """The stages that are neither done, failed nor stopped."""
        return [stage for key, stage in self.stages.items() if self._status[key] not in OVER]

    def epochs_left(self) -> int:
        """Epochs of the stages that are left, those running counted in full."""
        return sum(stage.epochs for stage in self.left())

    def trial_status(self, trial: Trial) -> Status:
        """RUNNING as soon as a stage of it has run, whoever it was run for."""
        states = {self._status[key] for key in trial.stages}
        if StageStatus.FAILED in states:
            return Status.FAILED
        if StageStatus.STOPPED in states:
            return Status.STOPPED_EARLY
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

    def _remaining_of(self, key: str) -> float:
        return self._cost(self.stages[key]) + max(
            (self._remaining.get(child, 0.0) for child in self._children[key]), default=0.0
        )

    def _pass_up(self, key: str | None) -> None:
        """What grew below this stage makes the paths through it longer, and those through the stages above it."""
        while key is not None and key in self.stages and self._remaining_of(key) != self._remaining[key]:
            self._remaining[key] = self._remaining_of(key)
            if key in self._queued:
                self._push(key)
            key = self.stages[key].parent

    def _parent_is_done(self, stage: Stage) -> bool:
        # A parent outside the forest is a point that the store held before this sweep was planted.
        return stage.parent not in self.stages or self._status[str(stage.parent)] is StageStatus.DONE

    def _make_ready(self, key: str) -> None:
        self._status[key] = StageStatus.READY
        if key in self._tried_alone:  # it was lost, or held back, before it had its try
            self._alone.append(key)
            return
        self._queued.add(key)
        self._push(key)

    def _push(self, key: str) -> None:
        turn = min(self._seeds[self.stages[key].recipe.seed], len(self._seeds) // 2)
        heapq.heappush(self._ready, (turn, -self._remaining[key], self._order[key], key))

    def _pop_ready(self) -> str:
        while True:
            _, priority, _, key = heapq.heappop(self._ready)
            if key in self._queued and -priority == self._remaining[key]:
                self._queued.remove(key)
                return key

    def _make_ready_if_it_may(self, key: str) -> None:
        waits = self._status[key] is StageStatus.WAITING and not self._holds[key]
        if waits and self._parent_is_done(self.stages[key]):
            self._make_ready(key)

    def _inherit(self, key: str) -> None:
        """What becomes of a new stage whose parent came to nothing."""
        parent = self.stages[key].parent
        if parent is None or parent not in self.stages:
            return
        if parent in self.failures:
            self._fail_for_good(key, self.failures[parent])
        elif self._status[parent] is StageStatus.STOPPED:
            self.stop([key])

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

    def _with_descendants(self, keys: Iterable[str]) -> Iterator[str]:
        stack = list(keys)
        while stack:
            key = stack.pop()
            yield key
            stack.extend(self._children[key])

    def _count_bug(self, failure: Failure) -> None:
        if failure.fault not in (Fault.BUG, Fault.DAMAGED_DATA):
            return
        cause = failure.place if failure.fault is Fault.BUG else failure.reason  # which names the file
        self._bugs[cause] += 1
        count = self._bugs[cause]
        if count >= self.rule.same_bug_limit and count > self._finished:
            what = "bug" if failure.fault is Fault.BUG else "damage"
            self.given_up = f"{count} stages died of the same {what}, {failure.reason}"
