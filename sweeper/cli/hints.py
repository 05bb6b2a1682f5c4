"""Commands as a launch, `status` and `stop` name them: to be copied and run as they stand."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path

from sweeper.records.sweep_folder import SweepFile, SweepFolder
from sweeper.storage.place import Place


def hint(command: str, folder: SweepFolder) -> str:
    """The line `sweeper COMMAND SWEEP`, for a machine that has the storage."""
    return f"sweeper {command} {folder.name}{storage_flag(folder.storage)}"


def hint_to_launch(command: str, folder: SweepFolder, file: SweepFile) -> str:
    """The line `sweeper resume SWEEP` or `retry`, for the machine on which the last launch was started."""
    cluster = cluster_of(file)
    return hint(command, folder) + (f" --cluster {shlex.quote(cluster)}" if cluster else "")


def hint_to_raise(folder: SweepFolder, file: SweepFile, limits: Iterable[str]) -> str:
    """The line `sweeper resume SWEEP` with twice each of these limits, such as "device_hours: 0.1"."""
    flags = []
    for name, _, value in (limit.partition(": ") for limit in limits):
        twice = 2 * float(value)
        flags.append(f"--set limits.{name}={int(twice) if twice.is_integer() else twice}")
    return " ".join([hint_to_launch("resume", folder, file), *flags])


def cluster_of(file: SweepFile) -> str:
    """The address of the cluster that the last launch was submitted to; empty if it was started where it runs."""
    return str(file.launches[-1].get("cluster", "")) if file.launches else ""


def storage_flag(storage: Place) -> str:
    """The --storage flag that a command needs; empty where the default is meant."""
    return "" if storage.on_disk == Path("sweeper-storage").absolute() else f" --storage {shlex.quote(str(storage))}"
