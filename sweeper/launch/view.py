"""A sweep as it is stored now, for the commands that look at one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from search_spaces.spec import Spec
from sweeper.launch.launch import Resources
from sweeper.launch.sweep import PlantedSweep
from sweeper.records.environment import utc_now
from sweeper.records.sweep_folder import SweepFile, SweepFolder
from sweeper.search.spec_versions import Versions, rest_of
from sweeper.stages.status import Status
from sweeper.storage.locks import GLIMPSE_SECONDS
from trainers.errors import InvalidInput, nearest


def arms_like(wanted: str, labels: Sequence[str]) -> set[str]:
    """The arm of this name, else the arms whose names contain it. Raises InvalidInput if there are none."""
    known = list(dict.fromkeys(labels))
    found = {wanted} if wanted in known else {label for label in known if wanted.lower() in label.lower()}
    if not found:
        there = nearest(wanted, known) or f"; there are {'; '.join(known[:8])}"
        raise InvalidInput(f"arm: {wanted!r} is in no arm's name{there}")
    return found


class SweepView:
    """One version of a sweep as it is stored now."""

    def __init__(
        self, folder: SweepFolder, patience_seconds: float = GLIMPSE_SECONDS, version: int | None = None
    ) -> None:
        """Reads the sweep. `patience_seconds`: how long to look for a running launch (see `SweepFolder.is_running`).

        `version`: None is the present one. Raises InvalidInput for one that there is not.
        """
        self.folder = folder
        self.file: SweepFile = folder.read()
        self.versions = Versions.of(folder)
        self.version = self.versions.find(version)
        self.is_present = self.version == self.versions.present
        self.spec: Spec = folder.spec() if self.is_present else self.versions.spec(self.version)
        digests = self.file.digests if self.is_present else self.versions[self.version].digests
        sources_apart = self.file.sources_apart(self.version)
        planted = PlantedSweep(self.spec, folder, digests, sources_apart, read_only=True)
        self.launch = planted.launch(Resources())
        self.running = self.is_present and folder.is_running(patience_seconds)
        if self.is_present:
            self._add_seconds(planted)
        results = self.launch.results()
        self.results = results if self.running else [result.at_rest() for result in results]

    def _add_seconds(self, planted: PlantedSweep) -> None:
        """Fills in how long the last launch took by now, or until it was killed: it did not say so itself."""
        last = self.file.launches[-1] if self.file.launches else {}
        if last.get("outcome") == "running":
            began = str(last["started_at"])
            passed = datetime.fromisoformat(utc_now()) - datetime.fromisoformat(began)
            last["seconds"] = max(0.0, passed.total_seconds()) if self.running else planted.seconds_since(began)

    @property
    def state(self) -> str:
        if self.running:
            return "running"
        done = {result.status for result in self.results}
        ended = {Status.COMPLETED, Status.STOPPED_EARLY}
        if done <= ended and not self.launch.steering.wants_more:
            return "completed"
        return "failed" if done <= ended | {Status.FAILED} and Status.FAILED in done else "stopped"

    @property
    def name(self) -> str:
        """The name of the sweep, with its version where there are several."""
        several = len(self.versions.numbers) > 1
        return f"{self.folder.name}{f', version {self.version}' if several else ''}"

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
            "version": self.version,
            "versions": self.versions.numbers,
        }

    def rest(self) -> list[str]:
        """Lines that count the trials of other versions; empty where there are none."""
        return rest_of(self.versions, self.version, {result.trial.recipe.content_hash() for result in self.results})
