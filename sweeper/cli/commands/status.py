"""`sweeper status` and `sweeper runs`: what the store says of sweeps that were launched."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

import click

from sweeper.cli.command import ExitCode, OneOf, command
from sweeper.cli.options import cluster_option, json_option, storage_option, sweep_argument, version_option
from sweeper.records.sweep_folder import SweepFolder
from sweeper.stages.status import Status
from sweeper.storage.place import Place, storage_that_answers
from sweeper.text import text_table
from trainers.errors import InvalidInput
from trainers.readable import lowered, percent

if TYPE_CHECKING:
    from sweeper.launch.view import SweepView
    from sweeper.records.trial_result import TrialResult

NOT_LAUNCHED = "not launched"


@command("sweeper status lenet_options")
@sweep_argument("one sweep in detail, or a line for each of a chain (default: for all)", optional=True)
@storage_option
@cluster_option()
@version_option()
@click.option("--watch", is_flag=True, help="again and again, as long as a launch runs")
@json_option()
def status(
    sweep: str | None, storage: str, cluster: str | None, version: int | None, watch: bool, as_json: bool
) -> int:
    """Prints how far sweeps are."""
    if cluster:
        from sweeper.cli.commands.cluster import status_on_cluster

        return status_on_cluster(cluster, sweep, watch, as_json)
    place = storage_that_answers(storage)
    in_detail = sweep is not None and not _names_several(place, sweep)
    if version and not in_detail:
        raise InvalidInput("--version: of which sweep? Name one")
    errors: dict[str, str] = {}

    def look() -> tuple[str, bool]:
        seen = _seen(place, sweep, version, in_detail)
        errors.clear()
        errors.update(seen.errors)
        running = any(view.running for view in seen.views)
        if as_json:  # a watcher's output is read line by line
            return json.dumps(seen.as_list(), indent=None if watch else 1), running
        return seen.text(in_detail) or f"No sweep was launched in {place}.", running

    if watch:
        watch_until_nothing_runs(look)
    else:
        print(look()[0])
    for line in (line for error in errors.values() for line in error.splitlines()):
        print(f"sweeper: error: {line}", file=sys.stderr)
    return ExitCode.SOME_FAILED if errors else ExitCode.GOOD


@dataclass
class _Seen:
    """What is to be shown of sweeps."""

    views: list[SweepView] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)  # of those that cannot be read
    missing: list[str] = field(default_factory=list)  # of a chain: those that were not launched

    def as_list(self) -> list[dict[str, Any]]:
        """The sweeps as plain values, for `--json`."""
        return [
            *(view.as_dict() for view in self.views),
            *({"sweep": name, "error": error} for name, error in self.errors.items()),
            *({"sweep": name, "state": NOT_LAUNCHED} for name in self.missing),
        ]

    def text(self, in_detail: bool) -> str:
        """A line a sweep, or all of the only one; empty where there is none."""
        if in_detail:
            from sweeper.cli.summary import standing

            return standing(self.views[0])
        rows = [[view.name, view.state, *view.counts()] for view in self.views]
        rows += [[name, "unreadable", "", "", "", ""] for name in self.errors]
        rows += [[name, NOT_LAUNCHED, "", "", "", ""] for name in self.missing]
        return text_table(["sweep", "state", "completed", "failed", "trials", "epochs left"], rows) if rows else ""


def _names_several(place: Place, name: str) -> bool:
    """Whether it is a chain that was launched, not a sweep. Raises InvalidInput where it is neither."""
    from sweeper.cli.chains import sweeps_of

    if sweeps_of(place, [name])[0] != [name]:
        return True
    SweepFolder.find(place, name)
    return False


def _seen(place: Place, asked: str | None, version: int | None, in_detail: bool) -> _Seen:
    """The sweeps that are asked for, all where none is. Raises InvalidInput where the only one cannot be read."""
    from sweeper.cli.chains import sweeps_of
    from sweeper.launch.view import SweepView

    seen = _Seen()
    names, seen.missing = sweeps_of(place, [asked]) if asked else (SweepFolder.names(place), [])
    for name in names:
        try:
            seen.views.append(SweepView(SweepFolder.find(place, name), version=version))
        except InvalidInput as error:
            if in_detail:
                raise
            seen.errors[name] = str(error)  # of one sweep: the others are shown
    return seen


SORTS: Mapping[str, Callable[[TrialResult], Any]] = {
    "arm": lambda result: result.label,
    "seed": lambda result: result.trial.recipe.seed,
    "status": lambda result: result.status,
    "epochs": lambda result: len(result.epochs),
    "seconds": lambda result: result.seconds,
    "validation_accuracy": lambda result: -(result.validation_accuracy or 0.0),
    "test_accuracy": lambda result: -(result.test_accuracy or 0.0),
}


@command("sweeper runs lenet_options --arm GS --status COMPLETED --sort validation_accuracy")
@sweep_argument()
@storage_option
@click.option("--arm", metavar="TEXT", help="only this arm, or those that have this in their names")
@click.option(
    "--status", "statuses", metavar="STATUS", multiple=True, type=OneOf([*Status], case_sensitive=False),
    help="only trials that are so (again for more)",
)  # fmt: skip
@click.option(
    "--sort", "sorted_by", metavar="FIELD", type=OneOf(SORTS),
    help=f"by {', '.join(SORTS)}; the best accuracy first, the least of the others",
)  # fmt: skip
@version_option()
@json_option()
def runs(
    sweep: str, storage: str, arm: str | None, statuses: Sequence[Status], sorted_by: str | None, version: int | None,
    as_json: bool,
) -> int:  # fmt: skip
    """Prints the trials of a sweep."""
    from sweeper.launch.view import SweepView, arms_like
    from trainers.costs.registry import cost_named

    view = SweepView(SweepFolder.find(storage_that_answers(storage), sweep), version=version)
    own_costs = {name: cost_named(name) for name in view.spec.costs}
    results = [result for result in view.results if not statuses or result.status in statuses]
    if arm:
        arms = arms_like(arm, [result.label for result in view.results])
        results = [result for result in results if result.label in arms]
    if sorted_by:
        results.sort(key=SORTS[sorted_by])
    if as_json:
        print(json.dumps([_as_dict(result) for result in results], indent=1))
        return ExitCode.GOOD
    if not results:
        print(f"{view.folder.name} has no such trial.", *view.rest(), sep="\n")
        return ExitCode.GOOD
    rows = [
        [
            result.name,
            result.status,
            f"{len(result.epochs)}/{result.trial.recipe.budget_epochs}",
            percent(result.validation_accuracy, unit=" %"),
            percent(result.test_accuracy, unit=" %"),
            f"{result.seconds:.1f}",
            *(row.unit.print(result.finals.get(name, float("nan"))) for name, row in own_costs.items()),
        ]
        for result in results
    ]
    heads = ["trial", "status", "epochs", "validation accuracy", "test accuracy", "seconds"]
    print(text_table([*heads, *(lowered(row.title) for row in own_costs.values())], rows))
    if rest := view.rest():
        print("", *rest, sep="\n")
    return ExitCode.GOOD


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


def watch_until_nothing_runs(look: Look, stream: TextIO | None = None) -> None:
    """Shows what `look` returns until nothing runs: in place at a terminal, else whenever it has changed."""
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
