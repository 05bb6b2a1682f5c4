"""`sweeper status`, `sweeper runs` and `sweeper track`: what the store says of sweeps that were launched."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from search_spaces.spec import Spec, expand, load_spec
from sweeper.commands.launching import projection_of
from sweeper.commands.summary import arms_table, failures, totals
from sweeper.environment import sources
from sweeper.forest import plant
from sweeper.launch import Launch, Resources
from sweeper.results import TrialResult
from sweeper.scheduling import Status
from sweeper.store import Store
from sweeper.sweep_folder import SweepFile, SweepFolder
from sweeper.text_table import percent, text_table
from sweeper.tracker import Tracker
from trainers.validation import InvalidInput

GOOD, SOME_FAILED = 0, 1


def status(options: argparse.Namespace) -> int:
    """`sweeper status [SWEEP]`"""
    storage = _storage(options)
    names = [options.sweep] if options.sweep else SweepFolder.names(storage)
    views = [SweepView(SweepFolder.find(storage, name)) for name in names]
    if options.json:
        print(json.dumps([view.as_dict() for view in views], indent=1))
    elif options.sweep:
        print(views[0].text())
    elif views:
        rows = [[view.folder.name, view.state, *view.counts()] for view in views]
        print(text_table(["sweep", "state", "completed", "failed", "trials", "epochs left"], rows))
    else:
        print(f"No sweep was launched in {storage}.")
    return GOOD


def runs(options: argparse.Namespace) -> int:
    """`sweeper runs SWEEP`"""
    view = SweepView(SweepFolder.find(_storage(options), options.sweep))
    results = view.results
    if options.json:
        print(json.dumps([_as_dict(result) for result in results], indent=1))
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

    def __init__(self, folder: SweepFolder) -> None:
        self.folder = folder
        self.file: SweepFile = folder.read()
        self.spec: Spec = load_spec(str(folder.spec_path))
        store = Store(folder.storage)
        forest = plant(expand(self.spec), self.file.digests, store)
        self.look = Launch(folder.name, forest, self.file.digests, store, Resources(), sources(), looking=True)
        self.running = folder.is_running()
        results = self.look.results()
        self.results = results if self.running else [_at_rest(result) for result in results]

    @property
    def state(self) -> str:
        if self.running:
            return "running"
        done = {result.status for result in self.results}
        if done <= {Status.COMPLETED}:
            return "completed"
        return "failed" if done <= {Status.COMPLETED, Status.FAILED} else "stopped"

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

    def text(self) -> str:
        lines = [f"{self.folder.name}: {self.state}" + (f" ({self.folder.holder()})" if self.running else "")]
        if self.spec.description:
            lines.append(self.spec.description)
        lines += ["", arms_table(self.results), "", totals(self.look, self.results, self.file)]
        lines += failures(self.look, self.results)
        left = self.look.schedule.epochs_left()
        if left and not self.running:
            lines.append(f"{left:,} epochs are left; launching it again goes on.")
        return "\n".join(lines)


def _storage(options: argparse.Namespace) -> Path:
    return Path(options.storage).expanduser().absolute()


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
