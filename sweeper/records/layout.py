"""The storage, a folder or a bucket: where things lie in it, and what becomes of those that are found damaged.

In a folder (in a bucket finished stages lie otherwise: see `sweeper.records.bucket_store`):

stages/<lineage[:2]>/<lineage>/<epoch>-<key[:16]>/{record.json,state.safetensors}
keys/<key[:2]>/<key>          which lineage and epoch a key belongs to
partials/, failures/          stages on their way, and those that failed
claims/                       stages that a launch trains now: see `sweeper.storage.claims`
incoming/, damaged/           drafts, and what did not match its hash
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sweeper.storage.base import Place, SetAside, StoreError, Tag, checked_key
from sweeper.storage.folder import DRAFTS, Folder, storage_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Damage:
    """Something that was found damaged, why it is thought so, and where it lies now (None: it could not be moved)."""

    what: str
    reason: str
    moved_to: Place | None


@dataclass(frozen=True)
class StoredStage:
    """Where a finished stage lies; its record was not read."""

    key: str
    lineage: str
    place: Place
    size: int  # bytes
    written: float  # seconds since 1970


@dataclass
class Storage:
    """A storage that any number of processes read and write at once. Creates nothing until asked to."""

    root: Place
    damages: list[Damage] = field(default_factory=list)  # found through this object

    def __post_init__(self) -> None:
        self.root = storage_of(self.root)

    @property
    def folder(self) -> Folder:
        """The root of a storage that is a folder."""
        assert isinstance(self.root, Folder)
        return self.root

    @property
    def _incoming(self) -> Folder:
        return self.folder / DRAFTS

    def _lineage_folder(self, lineage: str) -> Folder:
        return self.folder / "stages" / checked_key(lineage)[:2] / lineage

    def _pointer(self, key: str) -> Folder:
        return self.folder / "keys" / checked_key(key)[:2] / key

    def _partial(self, key: str) -> Place:
        return self.root / "partials" / checked_key(key)[:2] / key

    def _failure(self, key: str) -> Place:
        return self.root / "failures" / f"{checked_key(key)}.json"

    def _set_aside(self, path: Place, reason: str, seen: Tag, told: bool = False) -> bool:
        """Move something damaged out of the way, with the reason beside it, and report it; then it is absent.

        Only what was `seen` is moved: others may have found the same damage, and put something good there since. Then
        it stays, and this returns True: look again. `told`: it was reported already.
        """
        target = self.root / "damaged" / f"{_stamp()}-{path.name}"
        try:
            outcome = path.set_aside(target, reason, seen)
        except StoreError as error:
            self._report(Damage(str(path), f"{reason} (and cannot be moved away: {error.strerror})", None))
            return False
        if outcome is SetAside.MOVED and not told:
            self._report(Damage(str(path), reason, target))
        return outcome is SetAside.REPLACED

    def _report(self, damage: Damage) -> None:
        self.damages.append(damage)
        log.warning("damaged: %s: %s", damage.what, damage.reason)


def _stamp() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
