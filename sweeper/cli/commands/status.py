"""`sweeper status`, `sweeper runs` and `sweeper track`: what the store says of sweeps that were launched."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from sweeper.cli.summary import standing
from sweeper.launch.view import SweepView, arms_like
from sweeper.records.sweep_folder import SweepFolder
from sweeper.records.trial_result import TrialResult
from sweeper.storage.place import Place, storage_that_answers
from sweeper.text import Estimating, text_table
from trainers.readable import percent
from trainers.recipe.errors import InvalidInput

GOOD, SOME_FAILED = 0, 1


def status(options: argparse.Namespace, estimate: Estimating) -> int:
    """`sweeper status [SWEEP] [--watch]`"""
    storage = _storage(options)
    if options.sweep:
        SweepFolder.find(storage, options.sweep)
    elif options.version:
        raise InvalidInput("--version: of which sweep? Name one")

    def look() -> tuple[str, bool]:
        names = [options.sweep] if options.sweep else SweepFolder.names(storage)
        views = [SweepView(SweepFolder.find(storage, name), version=options.version) for name in names]
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
        return standing(views[0], estimate)
    if not views:
        return f"No sweep was launched in {storage}."
    rows = [[view.name, view.state, *view.counts()] for view in views]
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
    view = SweepView(SweepFolder.find(_storage(options), options.sweep), version=options.version)
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
        print(f"{view.folder.name} has no such trial.", *view.rest(), sep="\n")
        return GOOD
    rows = [
        [
            result.name,
            result.status,
            f"{len(result.epochs)}/{result.trial.recipe.budget_epochs}",
            percent(result.validation_accuracy, unit=" %"),
            percent(result.test_accuracy, unit=" %"),
            f"{result.seconds:.1f}",
        ]
        for result in results
    ]
    print(text_table(["trial", "status", "epochs", "validation accuracy", "test accuracy", "seconds"], rows))
    if rest := view.rest():
        print("", *rest, sep="\n")
    return GOOD


def _storage(options: argparse.Namespace) -> Place:
    return storage_that_answers(options.storage)


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


PAUSE_SECONDS = 2.0
SHARE_OF_TIME = 0.1  # of the machine's at most goes into looking

Look = Callable[[], tuple[str, bool]]  # what there is to see, and whether something runs


def watch(look: Look, stream: TextIO | None = None) -> None:
    """Shows what `look` sees until nothing runs: in place at a terminal, else whenever it has changed."""
    with _shown(stream or sys.stdout) as show:
        while True:
            began = time.monotonic()
            text, running = look()
            show(text)
            if not running:
                return
            time.sleep(max(PAUSE_SECONDS, (time.monotonic() - began) / SHARE_OF_TIME))


@contextmanager
def _shown(stream: TextIO) -> Iterator[Callable[[str], None]]:
    from sweeper.cli.live import can_be_live, watched

    if can_be_live(stream):
        with watched(stream) as show:
            yield show
        return
    said = ""

    def say(text: str) -> None:
        nonlocal said
        if text != said:
            print(text, file=stream, flush=True)
        said = text

    yield say
