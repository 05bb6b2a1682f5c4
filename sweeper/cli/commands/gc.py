"""`sweeper gc`: what lies in the store and no sweep refers to any more. Removes nothing unless told to."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from sweeper.cli import values
from sweeper.cli.command import ExitCode, answered_yes, command, may_ask
from sweeper.cli.hints import storage_flag
from sweeper.cli.options import storage_option, yes_option
from sweeper.records.sweep_folder import sweeping_up
from sweeper.storage.place import Place, storage_that_answers
from sweeper.text import text_table
from trainers.costs.units import BYTE
from trainers.errors import InvalidInput
from trainers.plugins.known import SHOWN
from trainers.readable import counted

if TYPE_CHECKING:
    from sweeper.records.store import Store, StoredStage

SECONDS_A_DAY = 86_400.0


@dataclass(frozen=True)
class _Asked:
    """What may go."""

    delete: bool
    older_than: float  # days
    earlier_versions: bool


@command("sweeper gc --older-than 30 --delete")
@storage_option
@click.option("--delete", is_flag=True, help="remove it (default: say what would be removed)")
@click.option(
    "--older-than", metavar="DAYS", type=values.days, default=0.0,
    help="only what was trained so long ago (default: all)",
)  # fmt: skip
@click.option(
    "--earlier-versions", is_flag=True,
    help="count what only earlier versions of sweeps refer to among what may go",
)  # fmt: skip
@yes_option()
def gc(storage: str, delete: bool, older_than: float, earlier_versions: bool, yes: bool) -> int:
    """Prints what no sweep refers to, and removes it if told."""
    from sweeper.plugins.stored import kept_digests

    place, asked = storage_that_answers(storage), _Asked(delete, older_than, earlier_versions)
    if not (place / "stages").is_dir() and not kept_digests(place):
        print(f"Nothing is stored in {place}.")
        return ExitCode.GOOD
    agreed: set[str] | None = None  # to what was asked about; None: to all
    if delete and may_ask(yes):
        unwanted = _Unwanted(place, asked)  # without the lock: launches do not wait for an answer
        print(*unwanted.lines(), sep="\n")
        if unwanted.any and not answered_yes(f"Remove {unwanted.amount()} for good?"):
            print("Nothing was removed (--yes never asks).")
            return ExitCode.INTERRUPTED
        agreed = {stage.key for stage in unwanted.old}
    with sweeping_up(place) if delete else nullcontext():
        unwanted = _Unwanted(place, asked)
        if agreed is None:
            print(*unwanted.lines(), sep="\n")
        if delete:
            _remove(unwanted, agreed)
        elif unwanted.any:
            print(f"Nothing was removed; to remove them: sweeper gc{_flags(place, asked)} --delete")
    return ExitCode.GOOD


def _remove(unwanted: _Unwanted, agreed: set[str] | None) -> None:
    from sweeper.plugins.stored import remove_kept

    chosen = [stage for stage in unwanted.old if agreed is None or stage.key in agreed]
    for stage in chosen:
        unwanted.store.remove(stage)
    for digest in unwanted.plugins:
        remove_kept(unwanted.storage, digest)
    print(f"Removed: {unwanted.amount(chosen)}.")
    if left := unwanted.store.remove_leftovers():
        print(f"Removed: {counted(left, 'state')} that crashed writers left.")


def _flags(storage: Place, asked: _Asked) -> str:
    older = f" --older-than {asked.older_than:g}" if asked.older_than else ""
    return f"{storage_flag(storage)}{older}{' --earlier-versions' if asked.earlier_versions else ''}"


class _Unwanted:
    """What is stored in vain. Raises InvalidInput where it is to be removed and that cannot be told for sure."""

    def __init__(self, storage: Place, asked: _Asked) -> None:
        from sweeper.plugins.stored import kept_digests
        from sweeper.records.bucket_store import open_store
        from sweeper.sweeps.references import Wanted

        self.storage, self.asked, self.store = storage, asked, open_store(storage)
        self.stored = list(self.store.stages())
        self.wanted = wanted = Wanted(storage, not asked.earlier_versions)
        if asked.delete and wanted.searching:
            raise InvalidInput(
                f"gc: nothing is removed while {wanted.searching[0]!r} searches: what it will ask for is not known"
            )
        beyond = [stage for stage in self.stored if not wanted.has(stage)]
        self.earlier = [stage for stage in beyond if stage.key in wanted.earlier]
        self.unwanted = [stage for stage in beyond if stage.key not in wanted.earlier]
        self.old = [stage for stage in self.unwanted if _days(stage) >= asked.older_than]
        self.plugins = {key: name for key, name in kept_digests(storage).items() if key not in wanted.plugins}

    @property
    def any(self) -> bool:
        """Whether something may go."""
        return bool(self.old or self.plugins)

    def amount(self, stages: Sequence[StoredStage] | None = None) -> str:
        """What may go, in words."""
        more = f" and {counted(len(self.plugins), 'plug-in')}" if self.plugins else ""
        return _amount(self.old if stages is None else stages) + more

    def lines(self) -> list[str]:
        """Lines on what is stored, and what of it no sweep refers to."""
        days, unwanted = self.asked.older_than, self.unwanted
        younger = f"; {_amount(self.old)} of them are older than {days:g} days" if days else ""
        sweep = "The present version of no sweep" if self.asked.earlier_versions else "No sweep"
        lines = [f"In {self.storage}: {_amount(self.stored)}; {counted(len(self.wanted.sweeps), 'sweep')}."]
        if self.earlier:
            lines.append(
                f"Only earlier versions of sweeps refer to {_amount(self.earlier)}: kept "
                "(--earlier-versions counts them among what may go)."
            )
        lines.append(f"{sweep} refers to {_amount(unwanted)}{younger}." if unwanted
                     else f"A sweep refers to each of {'the others' if self.earlier else 'them'}.")  # fmt: skip
        if self.plugins:
            named = ", ".join(f"{name}@{digest[:SHOWN]}" for digest, name in sorted(self.plugins.items()))
            lines.append(f"No sweep names {counted(len(self.plugins), 'plug-in')} whose files are kept: {named}.")
        return [*lines, *([_table(self.store, self.old)] if self.old else [])]


def _table(store: Store, stages: Sequence[StoredStage]) -> str:
    """By the sweep that they were trained for."""
    by_sweep: dict[str, list[StoredStage]] = defaultdict(list)
    for stage in stages:
        record = store.read(stage.key)
        by_sweep[str(record.environment.get("sweep", "?")) if record else "?"].append(stage)
    rows = [
        [
            sweep,
            f"{len(members):,}",
            BYTE.print(sum(stage.size for stage in members)),
            f"{min(map(_days, members)):.0f}",
        ]
        for sweep, members in by_sweep.items()
    ]
    return text_table(["trained for", "stages", "size", "days ago"], rows)


def _amount(stages: Sequence[StoredStage]) -> str:
    return f"{counted(len(stages), 'stage')} ({BYTE.print(sum(stage.size for stage in stages))})"


def _days(stage: StoredStage) -> float:
    return max(0.0, time.time() - stage.written) / SECONDS_A_DAY
