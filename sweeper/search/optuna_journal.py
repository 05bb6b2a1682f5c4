"""Where the studies of a sweep's search are stored: an Optuna journal, in a file or as objects in a bucket."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend

from sweeper.storage.base import Journal, Place, StoreError, storage_errors
from trainers.errors import InvalidInput


class _ObjectJournal(BaseJournalBackend):
    """A journal in a bucket: one entry for whatever Optuna writes at once."""

    def __init__(self, journal: Journal) -> None:
        self._log = journal

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        return [line for entry in self._log.entries() for line in json.loads(entry)][log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self._log.append(json.dumps(logs, separators=(",", ":")).encode())


class _FileJournal(BaseJournalBackend):
    """Optuna's own journal in a file."""

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, JournalFileBackend(str(path))

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        with storage_errors("read", self._path):
            return list(self._file.read_logs(log_number_from))

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        with storage_errors("write to", self._path):
            self._file.append_logs(logs)


def opened(path: Place, journal: Journal) -> tuple[BaseStorage, list[str]]:
    """A journal, and the names of its studies. Raises InvalidInput for one that cannot be read."""
    on_disk = path.on_disk
    try:
        with storage_errors("write to", path):  # Optuna makes the file that is not there yet
            backend = _ObjectJournal(journal) if on_disk is None else _FileJournal(on_disk)
        storage = JournalStorage(backend)
        return storage, optuna.get_all_study_names(storage)
    except StoreError:
        raise
    except ValueError as error:
        raise InvalidInput(
            f"search: cannot read {path}: {error}; without it the search begins anew, and nothing is trained twice"
        ) from None


def mend(path: Place, journal: Journal) -> None:
    """Takes away what a killed writer left: half a line, and its lock (the sweep's own lock keeps others out)."""
    journal.mend()
    (path.parent / f"{path.name}.lock").remove()
