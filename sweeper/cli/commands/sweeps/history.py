"""`sweeper history SWEEP`: the versions of a sweep, what each changed, and when they were launched."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sweeper.cli.command import ExitCode, command
from sweeper.cli.options import json_option, storage_option, sweep_argument
from sweeper.records.sweep_folder import SweepFolder
from sweeper.storage.place import storage_that_answers
from sweeper.text import text_table
from trainers.errors import InvalidInput

if TYPE_CHECKING:
    from sweeper.search.spec_versions import Versions


@command("sweeper history lenet_options")
@sweep_argument()
@storage_option
@json_option()
def history(sweep: str, storage: str, as_json: bool) -> int:
    """Prints the versions of a sweep, the first one first."""
    from sweeper.search.spec_versions import Versions

    folder = SweepFolder.find(storage_that_answers(storage), sweep)
    versions = Versions.of(folder)
    listed = [_version(folder, versions, number) for number in versions.numbers]
    if as_json:
        print(json.dumps(listed, indent=1))
        return ExitCode.GOOD
    rows = [
        [
            f"{one['version']}{' (present)' if one['present'] else ''}",
            one["first_launched"][:16].replace("T", " ") or "not kept",
            str(len(one["launches"])),
            str(one["launches"][-1]["outcome"]) if one["launches"] else "",
            "?" if one["trials"] is None else f"{one['completed']} of {one['trials']}",
        ]
        for one in listed
    ]
    print(text_table(["version", "first launched (UTC)", "launches", "the last one", "completed"], rows))
    for before, one in pairwise(listed):
        print(f"Version {one['version']} against {before['version']}: {_difference(versions, before, one)}")
    if earlier := folder.earlier_names():
        print(f"It was called {', then '.join(earlier)} before.")
    return ExitCode.GOOD


def _version(folder: SweepFolder, versions: Versions, number: int) -> dict[str, Any]:
    from sweeper.launch.view import SweepView
    from sweeper.search.spec_versions import launches_of
    from sweeper.stages.status import Status

    statuses: list[Status] | None
    try:
        statuses = [result.status for result in SweepView(folder, version=number).results]
    except InvalidInput:  # of another version of this package
        statuses = None
    return {
        "version": number,
        "present": number == versions.present,
        "first_launched": versions[number].first_launched,
        "trials": None if statuses is None else len(statuses),
        "completed": None if statuses is None else statuses.count(Status.COMPLETED),
        "launches": launches_of(folder.read(), number),
        "spec": str(versions.path(number)),
    }


def _difference(versions: Versions, before: dict[str, Any], after: dict[str, Any]) -> str:
    from sweeper.search.spec_versions import counted_arms

    if before["trials"] is None or after["trials"] is None:
        return "cannot be told: a spec is not readable"
    old, new = versions.members(before["version"]), versions.members(after["version"])
    added = [member.label for key, member in new.items() if key not in old]
    gone = [member.label for key, member in old.items() if key not in new]
    parts = [counted_arms(added, "new"), f"{len(new) - len(added):,} kept", counted_arms(gone, "left out")]
    return "; ".join(parts)
