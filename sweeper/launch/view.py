"""A sweep as it is stored now, for the commands that look at one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from search_spaces.spec import Spec
from sweeper.launch.launch import Resources
from sweeper.launch.sweep import PlantedSweep
from sweeper.records.sweep_folder import SweepFile, SweepFolder
from sweeper.records.trial_result import TrialResult
from sweeper.stages.status import Status
from sweeper.storage.locks import GLIMPSE_SECONDS
from trainers.recipe.errors import InvalidInput, nearest


def arms_like(wanted: str, labels: Sequence[str]) -> set[str]:
    """The arm of this name, else those that have this in their names. Raises InvalidInput if there are none."""
    known = list(dict.fromkeys(labels))
    found = {wanted} if wanted in known else {label for label in known if wanted.lower() in label.lower()}
    if not found:
        there = nearest(wanted, known) or f"; there are {'; '.join(known[:8])}"
        raise InvalidInput(f"arm: {wanted!r} is in no arm's name{there}")
    return found


class SweepView:
    """A sweep as it is stored now."""

    def __init__(self, folder: SweepFolder, patience_seconds: float = GLIMPSE_SECONDS) -> None:
        """`patience_seconds`: how long to look for a sign of life of a launch (see `SweepFolder.is_running`)."""
        self.folder = folder
        self.file: SweepFile = folder.read()
        self.spec: Spec = folder.spec()
        self.launch = PlantedSweep(self.spec, folder, self.file.digests, read_only=True).launch(Resources())
        self.running = folder.is_running(patience_seconds)
        results = self.launch.results()
        self.results = results if self.running else [_at_rest(result) for result in results]

    @property
    def state(self) -> str:
        if self.running:
            return "running"
        done = {result.status for result in self.results}
        ended = {Status.COMPLETED, Status.STOPPED_EARLY}
        if done <= ended and not self.launch.steering.wants_more:
            return "completed"
        return "failed" if done <= ended | {Status.FAILED} and Status.FAILED in done else "stopped"

    def counts(self) -> list[str]:
        statuses = [result.status for result in self.results]
        counts = [statuses.count(Status.COMPLETED), statuses.count(Status.FAILED), len(statuses)]
        return [*map(str, counts), f"{self.launch.schedule.epochs_left():,}"]

    def as_dict(self) -> dict[str, Any]:
        completed, failed, trials, _ = self.counts()
        return {
            "sweep": self.folder.name,
            "state": self.state,
            "trials": int(trials),
            "completed": int(completed),
            "failed": int(failed),
            "epochs_left": self.launch.schedule.epochs_left(),
            "tracking": self.file.tracking,
        }


def _at_rest(result: TrialResult) -> TrialResult:
    return result.as_pending() if result.status is Status.RUNNING else result
