"""Locks: of the system in a folder, and of claims in a bucket, which knows no locks.

The system lets go of a lock in a folder when its holder ends. In a bucket a holder that was killed is found out: at
once where its process could be looked up, and elsewhere once nothing of it has changed for a while (see
`sweeper.storage.claims`).
Everybody writes first and looks then, and a bucket shows to all who list it what was written before.
"""

from __future__ import annotations

import contextlib
import fcntl
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sweeper.storage.base import Place, StoreError, storage_errors
from sweeper.storage.claims import PATIENCE_SECONDS, TOUCH_SECONDS, Claims
from trainers.hashing import content_hash

LOOK_SECONDS = 1.0
NAMELESS_LOOKS = 10  # at a holder that lives and has left no note: after that it will leave none
GLIMPSE_SECONDS = 3 * TOUCH_SECONDS  # without a sign of life a holder is thought gone by those who only look
WHOLE = content_hash("the whole")  # what the holder of a lock claims
# A look at who holds a lock takes it for an instant; whoever comes just then tries again.
LOCK_TRIES, LOCK_PAUSE_SECONDS = 10, 0.05


class FileLock:
    """A locked file, which the system unlocks when its holder ends, however it ends; its content names the holder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None

    def take(self, note: str = "") -> bool:
        with storage_errors("write to", self.path.parent):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = self.path.open("a+")
        if not _locked(file):
            file.close()
            return False
        self._file = file  # closed and so let go of, whoever forgets to release it
        file.seek(0)
        file.truncate()
        file.write(f"{note}\n")
        file.flush()
        return True

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def is_held(self, patience_seconds: float) -> bool:
        try:
            with self.path.open("r+") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def holder(self) -> str:
        with contextlib.suppress(OSError):
            return self.path.read_text().strip()
        return ""


@contextlib.contextmanager
def file_lock(path: Path, exclusive: bool) -> Iterator[None]:
    """Holds a lock on a file: alone if `exclusive`, else beside others that are not; waits for it."""
    with storage_errors("lock", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
        fcntl.flock(file, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
    with file:
        yield


def _locked(file: IO[str]) -> bool:
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_PAUSE_SECONDS)
        else:
            return True
    return False


@dataclass
class Lease:
    """A lock in a bucket."""

    place: Place
    clock: Callable[[], float] = time.monotonic
    note: Place | None = None  # where its holder says who it is

    def __post_init__(self) -> None:
        self._claims = Claims(self.place, self.clock)

    def take(self, note: str = "") -> bool:
        """Takes the lock; waits until another holder counts as dead. False once that one shows that it lives.

        One that has only just taken it gets some looks' time to say who it is.
        """
        looks = 0
        while not self._claims.take(WHOLE):
            lives = any(map(self._claims.surely_lives, self._claims.others(WHOLE)))
            if lives and (self.note is None or self.holder() or looks >= NAMELESS_LOOKS):
                return False
            looks += lives
            time.sleep(LOOK_SECONDS)
        if self.note is not None:
            try:
                self.note.put(f"{note}\n".encode())
            except StoreError:
                self.release()
                raise
        return True

    def release(self) -> None:
        self._claims.release_all()

    def holder(self) -> str:
        with contextlib.suppress(OSError):
            return self.note.read_text().strip() if self.note else ""
        return ""

    def is_held(self, patience_seconds: float = GLIMPSE_SECONDS) -> bool:
        """Whether a process holds it. Takes as long as the holder takes to show that it lives."""
        until = self.clock() + patience_seconds
        while holders := self._claims.others(WHOLE):
            if any(map(self._claims.surely_lives, holders)):
                return True
            if self.clock() > until:
                return False
            time.sleep(LOOK_SECONDS)
        return False


@contextlib.contextmanager
def shared(place: Place) -> Iterator[None]:
    """Holds a shared lock: any number of processes at once, none while one holds `alone`."""
    mine, alone = Claims(place / "shared"), Claims(place / "alone")
    key = content_hash(uuid.uuid4().hex)
    while not mine.take(key) or alone.others():
        mine.release_all()
        time.sleep(LOOK_SECONDS)
    try:
        yield
    finally:
        mine.release_all()


@contextlib.contextmanager
def alone(place: Place) -> Iterator[None]:
    """Holds an exclusive lock: one process at a time, and only while none holds `shared`."""
    mine, others = Claims(place / "alone"), Claims(place / "shared")
    while not mine.take(WHOLE) or others.others():
        time.sleep(LOOK_SECONDS)
    try:
        yield
    finally:
        mine.release_all()


__all__ = ("PATIENCE_SECONDS", "FileLock", "Lease", "alone", "file_lock", "shared")
