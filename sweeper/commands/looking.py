"""`sweeper status`, `sweeper runs` and `sweeper track`: what the store says of sweeps that were launched."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from search_spaces.spec import Spec
from sweeper.commands.hints import hint_to_launch
from sweeper.commands.summary import arms_table, failures, totals
from sweeper.commands.watching import watch
from sweeper.environment import sources
from sweeper.intervals import Estimating
from sweeper.launch import Resources
from sweeper.leases import GLIMPSE_SECONDS
from sweeper.planted_sweep import PlantedSweep
from sweeper.results import TrialResult
from sweeper.scheduling import Status
from sweeper.storage import Place, storage_that_answers
from sweeper.sweep_folder import SweepFile, SweepFolder
from sweeper.text_table import percent, text_table
from sweeper.tracked_runs import SweepFacts
from sweeper.tracker import Tracker
from sweeper.tracking import Projection
from sweeper.tracking_address import artifacts_of
from trainers.validation import InvalidInput, nearest

GOOD, SOME_FAILED = 0, 1


def status(options: argparse.Namespace, estimate: Estimating) -> int:
    """`sweeper status [SWEEP] [--watch]`"""
    storage = _storage(options)
    if options.sweep:
        SweepFolder.find(storage, options.sweep)

    def look() -> tuple[str, bool]:
        names = [options.sweep] if options.sweep else SweepFolder.names(storage)
        views = [SweepView(SweepFolder.find(storage, name)) for name in names]
        return _status_text(options, storage, views, estimate), any(view.running for view in views)

    if options.watch:
        watch(look)
    else:
        print(look()[0])
    return GOOD


def _status_text(options: argparse.Namespace, storage: Place, views: Sequence[SweepView], estimate: Estimating) -> str:
    if options.json:
        # A watcher's output is read line by line.
        return json.dumps([view.as_dict() for view in views], indent=None if options.watch else 1)
    if options.sweep:
        return views[0].text(estimate)
    if not views:
        return f"No sweep was launched in {storage}."
    rows = [[view.folder.name, view.state, *view.counts()] for view in views]
    return text_table(["sweep", "state", "completed", "failed", "trials", "epochs left"], rows)


SORTS: Mapping[str, Callable[[TrialResult], Any]] = {
    "arm": lambda result: result.label,
    "seed": lambda result: result.trial.recipe.seed,
    "status": lambda result: result.status,
    "epochs": lambda result: len(result.epochs),
    "seconds": lambda result: result.seconds,
    "validation_accuracy": lambda result: -(result.validation_accuracy or 0.0),
    "test_accuracy": lambda result: -(result.test_accuracy or 0.0),
}


def runs(options: argparse.Namespace) -> int:
    """`sweeper runs SWEEP [--arm ARM] [--status STATUS] [--sort FIELD]`"""
    view = SweepView(SweepFolder.find(_storage(options), options.sweep))
    results = [result for result in view.results if not options.status or result.status in options.status]
    if options.arm:
        arms = arms_like(options.arm, [result.label for result in view.results])
        results = [result for result in results if result.label in arms]
    if options.sort:
        results.sort(key=SORTS[options.sort])
    if options.json:
        print(json.dumps([_as_dict(result) for result in results], indent=1))
        return GOOD
    if not results:
        print(f"{view.folder.name} has no such trial.")
        return GOOD
    rows = [
        [
            result.name,
            result.status,
            f"{len(result.epochs)}/{result.trial.recipe.budget_epochs}",
            percent(result.validation_accuracy),
            percent(result.test_accuracy),
            f"{result.seconds:.1f}",
        ]
        for result in results
    ]
    print(text_table(["trial", "status", "epochs", "validation accuracy", "test accuracy", "seconds"], rows))
    return GOOD


def arms_like(wanted: str, labels: Sequence[str]) -> set[str]:
    """The arm of this name, else those that have this in their names. Raises InvalidInput if there are none."""
    known = list(dict.fromkeys(labels))
    found = {wanted} if wanted in known else {label for label in known if wanted.lower() in label.lower()}
    if not found:
        there = nearest(wanted, known) or f"; there are {'; '.join(known[:8])}"
        raise InvalidInput(f"arm: {wanted!r} is in no arm's name{there}")
    return found


def track(options: argparse.Namespace) -> int:
    """`sweeper track SWEEP`"""
    folder = SweepFolder.find(_storage(options), options.sweep)
    if folder.is_running():
        raise InvalidInput(f"sweep: {folder.name!r} is being run ({folder.holder()}), and that launch tracks it")
    view = SweepView(folder)
    view.file.tracking = options.tracking or view.file.tracking
    tracker = Tracker(projection_of(view.spec, view.file, folder.storage), view.look, lambda: view.file.wall_seconds)
    tracker.start()
    tracker.close(patience_seconds=60.0)
    behind = tracker.behind()
    if tracker.problem or behind:
        print(f"MLflow does not show {behind} trials as they are: {tracker.problem}")
        return SOME_FAILED
    print(f"MLflow shows all {len(view.results)} trials of {folder.name} as they are.")
    return GOOD


class SweepView:
    """A sweep as it is stored now."""

    def __init__(self, folder: SweepFolder, patience_seconds: float = GLIMPSE_SECONDS) -> None:
        """`patience_seconds`: how long to look for a sign of life of a launch (see `SweepFolder.is_running`)."""
        self.folder = folder
        self.file: SweepFile = folder.read()
        self.spec: Spec = folder.spec()
        self.look = PlantedSweep(self.spec, folder, self.file.digests, looking=True).launch(Resources())
        self.running = folder.is_running(patience_seconds)
        results = self.look.results()
        self.results = results if self.running else [_at_rest(result) for result in results]

    @property
    def state(self) -> str:
        if self.running:
            return "running"
        done = {result.status for result in self.results}
        ended = {Status.COMPLETED, Status.STOPPED_EARLY}
        if done <= ended and not self.look.steering.wants_more:
            return "completed"
        return "failed" if done <= ended | {Status.FAILED} and Status.FAILED in done else "stopped"

    def counts(self) -> list[str]:
        statuses = [result.status for result in self.results]
        counts = [statuses.count(Status.COMPLETED), statuses.count(Status.FAILED), len(statuses)]
        return [*map(str, counts), f"{self.look.schedule.epochs_left():,}"]

    def as_dict(self) -> dict[str, Any]:
        completed, failed, trials, _ = self.counts()
        return {
            "sweep": self.folder.name,
            "state": self.state,
            "trials": int(trials),
            "completed": int(completed),
            "failed": int(failed),
            "epochs_left": self.look.schedule.epochs_left(),
            "tracking": self.file.tracking,
        }

    def text(self, estimate: Estimating) -> str:
        lines = [f"{self.folder.name}: {self.state}" + (f" ({self.folder.holder()})" if self.running else "")]
        if self.spec.description:
            lines.append(self.spec.description)
        lines += ["", arms_table(self.results, estimate), "", totals(self.look, self.results, self.file)]
        lines += failures(self.look, self.results, hint_to_launch("retry", self.folder, self.file))
        left = self.look.schedule.epochs_left()
        if left and not self.running:
            lines.append(f"{left:,} epochs are left; to go on: {hint_to_launch('resume', self.folder, self.file)}")
        return "\n".join(lines)


def projection_of(spec: Spec, file: SweepFile, storage: Place) -> Projection:
    """The MLflow side of a sweep."""
    local = file.tracking.startswith("sqlite:")
    tags = {**sources(), "owner": file.owner}
    facts = SweepFacts(
        spec.name, spec.description, spec.to_yaml(), spec.content_hash(), tags, tuple(spec.varied_fields())
    )
    return Projection(file.tracking, artifacts_of(storage, file.tracking, spec.name) if local else None, facts)


def _storage(options: argparse.Namespace) -> Place:
    return storage_that_answers(options.storage)


def _at_rest(result: TrialResult) -> TrialResult:
    return result.as_pending() if result.status is Status.RUNNING else result


def _as_dict(result: TrialResult) -> dict[str, Any]:
    return {
        "name": result.name,
        "arm": result.label,
        "seed": result.trial.recipe.seed,
        "status": result.status,
        "failure": str(result.failure) if result.failure else None,
        "epochs_done": len(result.epochs),
        "epochs_wanted": result.trial.recipe.budget_epochs,
        "validation_accuracy": result.validation_accuracy,
        **result.finals,
        "recipe_hash": result.trial.recipe.content_hash(),
        "recipe": result.trial.recipe.model_dump(mode="json", exclude_none=True),
    }
