"""A sweep under another name. Begun and not finished, it is finished by the same again.

The new sweep comes to be whole, with a note of the old one beside it; MLflow follows; the old one goes; the note goes.
"""

from __future__ import annotations

import re

from search_spaces.spec import NAME
from sweeper.records.sweep_folder import SweepFolder
from sweeper.storage.base import Place, missing
from sweeper.storage.tracking_address import check_open
from sweeper.storage.tracking_file import file_of, is_file
from sweeper.sweeps.kept import KeptSweep
from sweeper.tracking.experiment import knows, rename_experiment
from sweeper.tracking.mlflow_client import TrackingDown
from trainers.errors import InvalidInput, name_rule

NOTE = "renamed_from"


def rename(storage: Place, old: str, name: str) -> SweepFolder:
    """Gives a sweep another name, in the storage and in MLflow; returns its folder.

    Raises InvalidInput: no such sweep, being run, or a name that is taken; TrackingDown: only MLflow does not follow.
    """
    check_name(name)
    new = SweepFolder(storage, name)
    begun = _begun(new) == old
    if begun and old not in SweepFolder.names(storage):
        _finish(new, old)
        return new
    folder = SweepFolder.find(storage, old)
    if not begun:
        check_free(storage, name)
    with folder.lock(), new.lock():
        tracking = folder.read().tracking
        if not begun:
            _check_unknown(tracking, storage, name)
            kept = KeptSweep.read(folder).renamed(name)
            (new.path / NOTE).put(old.encode())
            kept.write(new)
        elif folder.read().launches != new.read().launches:
            raise InvalidInput(
                f"name: {old!r} was being renamed {name!r}, and one of both was launched since: they are two sweeps "
                "now; delete one of them"
            )
        _finish(new, old, folder)
    return new


def _finish(new: SweepFolder, old: str, folder: SweepFolder | None = None) -> None:
    tracking = new.read().tracking
    if is_there(tracking, new.storage):
        rename_experiment(tracking, old, new.name)
    if folder is not None:
        folder.remove()
    (new.path / NOTE).remove()


def check_name(name: str) -> None:
    """Raises InvalidInput for what no sweep can be called."""
    if not re.fullmatch(NAME, name):
        raise InvalidInput(f"name: {name_rule(name)}")


def check_free(storage: Place, name: str) -> None:
    """Raises InvalidInput where a sweep of this name is in the storage, launched or imported, or being launched."""
    if name in SweepFolder.names(storage):
        raise InvalidInput(f"name: there is a sweep {name!r} in {storage} already")
    if (storage / "imported" / name).is_dir():
        raise InvalidInput(f"name: {name!r} has trials in {storage} that were imported")


def is_there(tracking: str, storage: Place) -> bool:
    """Whether there is an MLflow to be told: not where nothing was tracked to a file yet. Raises InvalidInput."""
    if is_file(tracking) and not file_of(tracking).is_file():
        return False
    check_open(tracking, storage)
    return True


def _check_unknown(tracking: str, storage: Place, name: str) -> None:
    try:
        if is_there(tracking, storage) and knows(tracking, name):
            raise InvalidInput(f"name: MLflow has an experiment {name!r} already, perhaps a deleted one")
    except TrackingDown as down:
        raise InvalidInput(f"tracking: nothing was renamed, as MLflow does not answer: {down}") from None


def _begun(folder: SweepFolder) -> str | None:
    """The name of the sweep that becomes this one, where that was begun."""
    if folder.name not in SweepFolder.names(folder.storage):
        return None
    return missing((folder.path / NOTE).read_text)
