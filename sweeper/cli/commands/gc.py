"""`sweeper gc`: what lies in the store and no sweep refers to any more. Removes nothing unless told to."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import nullcontext

import click

from sweeper.cli import values
from sweeper.cli.command import ExitCode, command
from sweeper.cli.hints import storage_flag
from sweeper.cli.options import storage_option
from sweeper.launch.view import SweepView
from sweeper.records.bucket_store import open_store
from sweeper.records.inventory import Inventory, StoredStage
from sweeper.records.store import Store
from sweeper.records.sweep_folder import SweepFolder, sweeping_up
from sweeper.storage.claims import PATIENCE_SECONDS
from sweeper.storage.folder import storage_errors
from sweeper.storage.place import Place, storage_that_answers
from sweeper.text import counted, in_bytes, text_table
from trainers.recipe.errors import InvalidInput

SECONDS_A_DAY = 86_400.0


@command("sweeper gc --older-than 30 --delete")
@storage_option
@click.option("--delete", is_flag=True, help="remove it (default: say what would be removed)")
@click.option(
    "--older-than",
    metavar="DAYS",
    type=values.days,
    default=0.0,
    help="only what was trained so long ago (default: all)",
)
def gc(storage: str, delete: bool, older_than: float) -> int:
    """Prints what no sweep refers to, and removes it if told."""
    place = storage_that_answers(storage)
    if not _is_there(place):
        print(f"Nothing is stored in {place}.")
        return ExitCode.GOOD
    inventory = Inventory(place)
    with sweeping_up(place) if delete else nullcontext():
        stored = list(inventory.stages())
        wanted = _Wanted(place)
        if delete and wanted.searching:
            raise InvalidInput(
                f"gc: nothing is removed while {wanted.searching[0]!r} searches: what it will ask for is not known"
            )
        unwanted = [stage for stage in stored if not wanted.has(stage)]
        old = [stage for stage in unwanted if _days(stage) >= older_than]
        print(f"In {place}: {_amount(stored)}; {counted(len(wanted.sweeps), 'sweep')}.")
        younger = f"; {_amount(old)} of them are older than {older_than:g} days" if older_than else ""
        print(f"No sweep refers to {_amount(unwanted)}{younger}." if unwanted else "A sweep refers to each of them.")
        if old:
            print(_table(open_store(place), old))
        if delete:
            for stage in old:
                inventory.remove(stage)
            print(f"Removed: {_amount(old)}.")
            if left := inventory.remove_leftovers():
                print(f"Removed: {counted(left, 'state')} that crashed writers left.")
        elif old:
            more = f" --older-than {older_than:g}" if older_than else ""
            flag = storage_flag(place)
            print(f"Nothing was removed; to remove them: sweeper gc{flag}{more} --delete")
    return ExitCode.GOOD


def _is_there(storage: Place) -> bool:
    with storage_errors("read", storage):
        return (storage / "stages").is_dir()


class _Wanted:
    """What the sweeps of a storage refer to. Raises InvalidInput if that cannot be told of one of them."""

    def __init__(self, storage: Place) -> None:
        self.sweeps = SweepFolder.names(storage)
        self.searching: list[str] = []  # of these, those that run and are not planned to their end
        self._keys: set[str] = set()
        self._lineages: set[str] = set()
        for name in self.sweeps:
            try:
                view = SweepView(SweepFolder(storage, name), PATIENCE_SECONDS)
            except InvalidInput as error:
                raise InvalidInput(f"gc: nothing is removed, as {name!r} cannot be read: {error}") from None
            stages = view.look.forest.stages
            self._keys |= stages.keys()
            if view.running and view.spec.search:
                self.searching.append(name)
            if view.running:
                # It goes by what was stored when it began, and that may be other points of the same lineages.
                self._lineages |= {stage.lineage for stage in stages.values()}

    def has(self, stage: StoredStage) -> bool:
        return stage.key in self._keys or stage.lineage in self._lineages


def _table(store: Store, stages: Sequence[StoredStage]) -> str:
    """By the sweep that they were trained for."""
    by_sweep: dict[str, list[StoredStage]] = defaultdict(list)
    for stage in stages:
        record = store.read(stage.key)
        by_sweep[str(record.environment.get("sweep", "?")) if record else "?"].append(stage)
    rows = [
        [sweep, f"{len(members):,}", in_bytes(sum(stage.size for stage in members)), f"{min(map(_days, members)):.0f}"]
        for sweep, members in by_sweep.items()
    ]
    return text_table(["trained for", "stages", "size", "days ago"], rows)


def _amount(stages: Sequence[StoredStage]) -> str:
    return f"{counted(len(stages), 'stage')} ({in_bytes(sum(stage.size for stage in stages))})"


def _days(stage: StoredStage) -> float:
    return max(0.0, time.time() - stage.written) / SECONDS_A_DAY
