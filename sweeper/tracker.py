"""Keeps MLflow up to date beside a launch, in a thread of its own: a server that is slow or gone delays no trial."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from sweeper.launch import Launch
from sweeper.results import TrialResult, spent
from sweeper.scheduling import Status
from sweeper.tracked_runs import ENDED
from sweeper.tracking import Projection, TrackingDown

FIRST_PAUSE_SECONDS = 2.0
SHARE_OF_TIME = 0.1  # at most this share of the driver's time goes into projecting while stages run
LONGEST_PAUSE_SECONDS = 30.0
TAG_LENGTH = 4000  # MLflow takes a little more
GIVE_UP_AFTER = 2  # failures in a row, once nothing else is left to do


class Tracker(threading.Thread):
    """Projects what is stored, again and again, until it is closed."""

    def __init__(self, projection: Projection, launch: Launch, wall_seconds: Callable[[], float]) -> None:
        super().__init__(name="tracker", daemon=True)
        self.projection = projection
        self.launch = launch
        self.wall_seconds = wall_seconds
        self.problem = ""  # why MLflow is behind, while it is
        self._settled: set[int] = set()  # trials that are over and wholly projected
        self._labels: list[str] = []  # by which they were projected
        self._projected = 0  # grows as long as something moves
        self._closing = threading.Event()
        self._abandoned = threading.Event()

    def run(self) -> None:
        failures = 0
        while True:
            last = self._closing.is_set()
            began = time.monotonic()
            try:
                self._pass(last)
                failures, self.problem = 0, ""
            except TrackingDown as down:
                failures, self.problem = failures + 1, str(down)
            if (last and (not self.problem or failures >= GIVE_UP_AFTER)) or self._abandoned.is_set():
                return
            took = time.monotonic() - began
            pause = max(FIRST_PAUSE_SECONDS, took / SHARE_OF_TIME if not failures else 2.0**failures)
            if not last:
                self._closing.wait(min(pause, LONGEST_PAUSE_SECONDS))

    def close(self, patience_seconds: float) -> None:
        """Projects what is left and ends; waits as long as something moves, at most so long without."""
        self._closing.set()
        seen, since = -1, time.monotonic()
        while self.is_alive() and time.monotonic() - since < patience_seconds:
            self.join(0.1)
            if self._projected != seen:
                seen, since = self._projected, time.monotonic()
        self._abandoned.set()

    def behind(self) -> int:
        """Trials that MLflow does not show as they are."""
        return self.projection.behind(self._unsettled())

    def _unsettled(self) -> list[TrialResult]:
        numbers = range(len(self.launch.forest.trials))
        return [self._as_shown(self.launch.result(number)) for number in numbers if number not in self._settled]

    def _pass(self, last: bool) -> None:
        projection = self.projection
        projection.connect()
        projection.forget_strangers(trial.recipe.content_hash() for trial in self.launch.forest.trials)
        if not last:
            projection.project_sweep(Status.RUNNING, self._totals())
        if last and self._labels != self.launch.labels[: len(self._labels)]:
            self._settled.clear()  # a sweep that grows tells its arms apart by more than at first
        self._labels = list(self.launch.labels)
        for number in range(len(self.launch.forest.trials)):
            if self._abandoned.is_set():
                return
            if number not in self._settled:
                result = self._as_shown(self.launch.result(number))
                self._projected += projection.project(result)
                if result.status in ENDED:
                    self._settled.add(number)
        if last:
            status = self.launch.sweep_status()
            shown = status if status in ENDED else Status.PENDING
            projection.project_sweep(shown, self._totals(), self._left_out())

    def _as_shown(self, result: TrialResult) -> TrialResult:
        """Nothing is RUNNING once the driver ends."""
        if self._closing.is_set() and result.status is Status.RUNNING:
            return result.as_pending()
        return result

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
        epochs, seconds = spent(launch.forest, launch.records, launch.sweep)
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
