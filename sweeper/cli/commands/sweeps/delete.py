"""`sweeper delete SWEEP`: a sweep with all that no other one refers to. Says what that is before it removes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweeper.cli.command import ExitCode, answered_yes, command, may_ask
from sweeper.cli.hints import hint, storage_flag
from sweeper.cli.options import storage_option, sweep_argument, yes_option
from sweeper.records.layout import StoredStage
from sweeper.records.sweep_folder import SweepFolder, sweeping_up
from sweeper.storage.place import storage_that_answers
from trainers.costs.units import BYTE
from trainers.errors import InvalidInput
from trainers.readable import counted

if TYPE_CHECKING:
    from sweeper.sweeps.removal import Removal


@command("sweeper delete lenet_options")
@sweep_argument()
@storage_option
@yes_option()
def delete(sweep: str, storage: str, yes: bool) -> int:
    """Says what would be removed; removes it after a yes."""
    from sweeper.sweeps.removal import Removal

    folder = SweepFolder.find(storage_that_answers(storage), sweep)
    if folder.is_running():
        raise InvalidInput(f"sweep: {folder.name!r} is being run ({folder.holder()}); sweeper stop ends that")
    removal = Removal(folder)  # without the locks: launches do not wait for an answer
    print(*_lines(removal), sep="\n")
    if not yes:
        if not may_ask(yes):
            print(f"Nothing was removed; to remove it: {hint('delete', folder)} --yes")
            return ExitCode.GOOD
        if not answered_yes(f"Delete {sweep} for good?"):
            print("Nothing was removed.")
            return ExitCode.INTERRUPTED
    agreed = None if yes else {stage.key for stage in removal.stages}
    with folder.lock(), sweeping_up(folder.storage):
        gone = Removal(folder).carry_out(agreed)
    print(f"Removed: {sweep}, {amount(gone)}. MLflow shows it no more; its trash has it until `mlflow gc`.")
    if removal.unreadable:
        print(f"To look for its stages: sweeper gc{storage_flag(folder.storage)}")
    return ExitCode.GOOD


def _lines(removal: Removal) -> list[str]:
    file = removal.folder.read()
    name = removal.folder.name
    lines = [f"{name} in {removal.folder.storage}: owner {file.owner or 'unknown'}; launches: {len(file.launches)}."]
    if removal.unreadable:
        return [*lines, f"Its stages cannot be told, and stay: {removal.unreadable}"]
    lines.append(f"No other sweep refers to {amount(removal.stages)}: they would go with it.")
    if removal.plugins:
        lines.append(f"Nor to {counted(len(removal.plugins), 'plug-in')}, whose files are kept with it.")
    if removal.shared:
        lines.append(f"Other sweeps refer to {counted(removal.shared, 'stage')} of it: they stay.")
    return lines


def amount(stages: Sequence[StoredStage]) -> str:
    """'3 stages (1.2 MB)'."""
    return f"{counted(len(stages), 'stage')} ({BYTE.print(sum(stage.size for stage in stages))})"
