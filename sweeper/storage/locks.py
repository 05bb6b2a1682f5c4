"""Locks in a bucket, which knows none: claims, of which one is to be alone, or two kinds exclude each other.

The system lets go of a lock in a folder when its holder ends. Here a holder that was killed is found out: at once
where its process could be looked up, and elsewhere once nothing of it has changed for a while (see
`sweeper.storage.claims`).
Everybody writes first and looks then, and a bucket shows to all who list it what was written before.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sweeper.storage.bucket import ObjectPath
from sweeper.storage.claims import PATIENCE_SECONDS, TOUCH_SECONDS, Claims
from sweeper.storage.folder import storage_errors
from trainers.recipe.recipe import content_hash

LOOK_SECONDS = 1.0
GLIMPSE_SECONDS = 3 * TOUCH_SECONDS  # without a sign of life a holder is thought gone by those who only look
WHOLE = content_hash("the whole")  # what the holder of a lock claims


@dataclass
class Lease:
    """A lock that at most one holds."""

    place: ObjectPath
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._claims = Claims(self.place, self.clock)

    def take(self) -> bool:
        """False as soon as its holder has shown that it lives. Waits for that, or until it counts as dead."""
        while not self._claims.take(WHOLE):
            if any(map(self._claims.surely_lives, self._claims.others(WHOLE))):
                return False
            time.sleep(LOOK_SECONDS)
        return True

    def release(self) -> None:
        self._claims.release_all()

    def is_held(self, patience_seconds: float = GLIMPSE_SECONDS) -> bool:
        """Whether somebody holds it. Takes as long as its holder takes to show that it lives."""
        until = self.clock() + patience_seconds
        while holders := self._claims.others(WHOLE):
            if any(map(self._claims.surely_lives, holders)):
                return True
            if self.clock() > until:
                return False
            time.sleep(LOOK_SECONDS)
        return False


@contextlib.contextmanager
def shared(place: ObjectPath) -> Iterator[None]:
    """Held by any number at once, and by nobody while somebody holds `alone`."""
    mine, alone = Claims(place / "shared"), Claims(place / "alone")
    key = content_hash(uuid.uuid4().hex)
    with storage_errors("lock", place):
        while not mine.take(key) or alone.others():
            mine.release_all()
            time.sleep(LOOK_SECONDS)
    try:
        yield
    finally:
        mine.release_all()


@contextlib.contextmanager
def alone(place: ObjectPath) -> Iterator[None]:
    """Held by one at a time, and only while nobody holds `shared`."""
    mine, others = Claims(place / "alone"), Claims(place / "shared")
    with storage_errors("lock", place):
        while not mine.take(WHOLE) or others.others():
            time.sleep(LOOK_SECONDS)
    try:
        yield
    finally:
        mine.release_all()


__all__ = ("PATIENCE_SECONDS", "Lease", "alone", "shared")
