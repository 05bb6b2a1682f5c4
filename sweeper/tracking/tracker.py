"""Keeps MLflow up to date beside a launch, in a thread of its own: a server that is slow or gone delays no trial.

Trials of which something was heard are looked at in every pass; all of them for a small share of the time only, however
many they are, and at the end.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from sweeper.launch.launch import Launch
from sweeper.records.trial_result import Epoch, TrialResult, spent
from sweeper.stages.faults import Failure
from sweeper.stages.forest import Forest, Stage
from sweeper.stages.status import ENDED, Status
from sweeper.storage.base import StoreError
from sweeper.tracking.mlflow_client import TrackingDown
from sweeper.tracking.projection import CONCURRENT_TRIALS, Projection

FIRST_PAUSE_SECONDS = 2.0
SHARE_OF_TIME = 0.1  # at most this share of the driver's time goes into projecting while stages run
WHOLE_SHARE_OF_TIME = 0.03  # and this into looking at all trials
LONGEST_PAUSE_SECONDS = 30.0
TAG_LENGTH = 4000  # MLflow takes a little more
GIVE_UP_AFTER = 2  # failures in a row, once nothing else is left to do


class Tracker(threading.Thread):
    """Projects what is stored, again and again, until it is closed. A `Watcher`."""

    def __init__(self, projection: Projection, launch: Launch, wall_seconds: Callable[[], float]) -> None:
        super().__init__(name="tracker", daemon=True)
        self.projection = projection
        self.launch = launch
        self.wall_seconds = wall_seconds
        self.problem = ""  # why MLflow is behind, while it is
        self._settled: set[int] = set()  # trials that are over and wholly projected
        self._labels: list[str] = []  # by which they were projected
        self._projected = 0  # grows as long as something moves
        self._heard: deque[str] = deque()  # the stages of which something was heard since the last pass
        self._forest: Forest | None = None  # the one that these are of:
        self._trials_of: dict[str, list[int]] = {}  # the trials that go through a stage
        self._whole_at = 0.0  # when all trials are to be looked at again
        self._closing = threading.Event()
        self._abandoned = threading.Event()
        launch.watchers.append(self)

    # As a Watcher, in the driver's thread

    def stage_started(self, stage: Stage) -> None:
        self._heard.append(stage.key)

    def epochs_ended(self, stage: Stage, epochs: Sequence[Epoch]) -> None:
        self._heard.append(stage.key)

    def stage_done(self, stage: Stage) -> None:
        self._heard.append(stage.key)

    def stage_failed(self, stage: Stage, failure: Failure, again: bool) -> None:
        self._heard.append(stage.key)

    # In a thread of its own

    def run(self) -> None:
        failures = 0
        while True:
            last = self._closing.is_set()
            began = time.monotonic()
            try:
                self.catch_up(last)
                failures, self.problem = 0, ""
            except (TrackingDown, StoreError) as down:  # a record may be gone, or damaged, since its stage was done
                failures, self.problem = failures + 1, str(down)
                self._whole_at = 0.0  # what has arrived is not known
            if (last and (not self.problem or failures >= GIVE_UP_AFTER)) or self._abandoned.is_set():
                return
            took = time.monotonic() - began
            pause = max(FIRST_PAUSE_SECONDS, took / SHARE_OF_TIME if not failures else 2.0**failures)
            if not last:
                self._closing.wait(min(pause, LONGEST_PAUSE_SECONDS))

    def close(self, patience_seconds: float) -> None:
        """Projects what is left and ends; waits while it gets on, and at most so many seconds while it does not."""
        self._closing.set()
        seen, since = -1, time.monotonic()
        while self.is_alive() and time.monotonic() - since < patience_seconds:
            self.join(0.1)
            if self._projected != seen:
                seen, since = self._projected, time.monotonic()
        self._abandoned.set()

    def behind(self) -> int:
        """The number of trials that MLflow does not show as they are."""
        return sum(map(self._is_behind, self._unsettled()))

    def _is_behind(self, result: TrialResult) -> bool:
        try:
            return self.projection.behind([result]) > 0
        except StoreError:
            return True

    def _unsettled(self) -> list[TrialResult]:
        numbers = range(len(self.launch.forest.trials))
        return [self._as_shown(self.launch.result(number)) for number in numbers if number not in self._settled]

    def catch_up(self, last: bool) -> None:
        """Projects the trials that changed; all trials from time to time, and where `last` is true."""
        projection = self.projection
        projection.connect()
        began = time.monotonic()
        if not last and began < self._whole_at:
            self._project_all_of(self._trials_heard_of())
            return
        self._heard.clear()
        projection.forget_strangers(trial.recipe.content_hash() for trial in self.launch.forest.trials)
        if not last:
            projection.project_sweep(Status.RUNNING, self._totals())
        if last and self._labels != self.launch.labels[: len(self._labels)]:
            self._settled.clear()  # a sweep that grows tells its arms apart by more than at first
        self._labels = list(self.launch.labels)
        trials = len(self.launch.forest.trials)
        projecting = self._project_all_of(range(trials))
        if not self._abandoned.is_set():
            projection.settle(trials)
        if last and not self._abandoned.is_set():
            status = self.launch.sweep_status()
            begun = self.launch.records or self.launch.saved
            shown = status if status in ENDED else Status.INTERRUPTED if begun else Status.PENDING
            projection.project_sweep(shown, self._totals(), self._left_out())
        ended = time.monotonic()
        self._whole_at = ended + (ended - began - projecting) / WHOLE_SHARE_OF_TIME

    def _project_all_of(self, numbers: Iterable[int]) -> float:
        """Returns the seconds that MLflow took for what had to be written."""
        seconds = 0.0
        left = (number for number in numbers if number not in self._settled)
        while not self._abandoned.is_set():
            batch: dict[int, TrialResult] = {}
            for number in left:
                result = self._as_shown(self.launch.result(number))
                if not self.projection.is_current(result):
                    batch[number] = result
                elif result.status in ENDED:
                    self._settled.add(number)
                if len(batch) == CONCURRENT_TRIALS:
                    break
            if not batch:
                break
            began = time.monotonic()
            self._projected += self.projection.project_together(list(batch.values()))
            seconds += time.monotonic() - began
            self._settled |= {
                number for number, result in batch.items()
                if result.status in ENDED and self.projection.is_current(result)
            }  # fmt: skip
        return seconds

    def _trials_heard_of(self) -> list[int]:
        keys = {self._heard.popleft() for _ in range(len(self._heard))}
        forest = self.launch.forest
        if forest is not self._forest:
            trials_of = defaultdict(list)
            for number, trial in enumerate(forest.trials):
                for key in trial.stages:
                    trials_of[key].append(number)
            self._forest, self._trials_of = forest, trials_of
        return sorted({number for key in keys for number in self._trials_of.get(key, ())})

    def _as_shown(self, result: TrialResult) -> TrialResult:
        """Nothing is RUNNING once the driver ends."""
        return result.at_rest() if self._closing.is_set() else result

    def _left_out(self) -> Mapping[str, str]:
        """The limits that were reached, and what was not run because of them; empty tags where there is nothing."""
        reached = self.launch.limits_reached
        left = self.launch.not_run() if reached else {}
        return {
            "sweeper.limits_reached": ", ".join(reached),
            "sweeper.not_run": "; ".join(f"{label}: {count}" for label, count in left.items())[:TAG_LENGTH],
        }

    def _totals(self) -> Mapping[str, float]:
        launch = self.launch
        statuses = [launch.status(trial) for trial in launch.forest.trials]
        epochs, seconds = spent(launch.forest, launch.records, launch.is_own)
        return {
            "trials": len(statuses),
            "trials_completed": statuses.count(Status.COMPLETED),
            "trials_failed": statuses.count(Status.FAILED),
            "trials_stopped_early": statuses.count(Status.STOPPED_EARLY),
            "epochs_alone": launch.forest.epochs_alone,
            "epochs_shared": launch.forest.epochs_shared,
            "epochs_spent": epochs,
            "spent_seconds": seconds,
            "wall_seconds": self.wall_seconds(),
        }
