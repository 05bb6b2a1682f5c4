"""The storage, a folder or a bucket: where things lie in it, and what becomes of those that are found damaged.

In a folder (in a bucket finished stages lie otherwise: see `sweeper.records.bucket_store`):

stages/<lineage[:2]>/<lineage>/<epoch>-<key[:16]>/{record.json,state.safetensors}
keys/<key[:2]>/<key>          which lineage and epoch a key belongs to
partials/, failures/          stages on their way, and those that failed
claims/                       stages that a launch trains now: see `sweeper.storage.claims`
incoming/, damaged/           drafts, and what did not match its hash
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sweeper.storage.bucket import ObjectPath, missing
from sweeper.storage.place import Identity, Place, checked_key, identity

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Damage:
    """Something that was found damaged, why it is thought so, and where it lies now (None: it could not be moved)."""

    what: str
    reason: str
    moved_to: Place | None


@dataclass
class Storage:
    """What any number of processes read and write at once. Makes nothing until asked to."""

    root: Place
    damages: list[Damage] = field(default_factory=list)  # found through this object

    def __post_init__(self) -> None:
        if not isinstance(self.root, ObjectPath):
            self.root = Path(self.root)

    @property
    def folder(self) -> Path:
        """The root of a storage that is a folder."""
        assert isinstance(self.root, Path)
        return self.root

    @property
    def _incoming(self) -> Place:
        return self.root / "incoming"

    def _lineage_folder(self, lineage: str) -> Path:
        return self.folder / "stages" / checked_key(lineage)[:2] / lineage

    def _pointer(self, key: str) -> Path:
        return self.folder / "keys" / checked_key(key)[:2] / key

    def _partial(self, key: str) -> Place:
        return self.root / "partials" / checked_key(key)[:2] / key

    def _failure(self, key: str) -> Place:
        return self.root / "failures" / f"{checked_key(key)}.json"

    def _set_aside(self, path: Place, reason: str, seen: Identity) -> bool:
        """Move something damaged out of the way, with the reason beside it, and report it; then it is absent.

        Only what was `seen` is moved: others may have found the same damage, and put something good there since. Then
        it stays, and this returns True: look again.
        """
        if isinstance(path, ObjectPath):
            return self._set_object_aside(path, reason, seen)
        target = self.folder / "damaged" / f"{_stamp()}-{path.name}"
        if identity(path) not in (seen, None):
            return True
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
            if identity(target) != seen:  # it was replaced in the last moment
                self._put_back(target, path)
                return True
            Path(f"{target}.reason.txt").write_text(f"{path.relative_to(self.folder)}\n{reason}\n")
        except FileNotFoundError:
            return False  # another process was quicker
        except OSError as error:
            self._report(Damage(str(path), f"{reason} (and cannot be moved away: {error.strerror})", None))
            return False
        self._report(Damage(str(path), reason, target))
        return False

    def _set_object_aside(self, path: ObjectPath, reason: str, seen: Identity, told: bool = False) -> bool:
        """The same in a bucket: copied, then taken away on the condition that it is still what was seen."""
        target = ObjectPath(path.bucket) / "damaged" / f"{_stamp()}-{path.name}"
        try:
            found = missing(path.read_tagged)
            if found is None:
                return False  # another process was quicker
            if seen not in (found[1], None):
                return True
            target.put(found[0])
            ObjectPath(target.bucket, f"{target.key}.reason.txt").put(f"{path.key}\n{reason}\n".encode())
            if not path.replace_if(found[1], b""):
                target.unlink()
                ObjectPath(target.bucket, f"{target.key}.reason.txt").unlink()
                return True
        except OSError as error:
            self._report(Damage(str(path), f"{reason} (and cannot be moved away: {error.strerror})", None))
            return False
        if not told:
            self._report(Damage(str(path), reason, target))
        return False

    @staticmethod
    def _put_back(target: Path, path: Path) -> None:
        """Unless there is another one by now: then that is as good."""
        if target.is_dir():
            with contextlib.suppress(OSError):
                target.rename(path)
            shutil.rmtree(target, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                os.link(target, path)
            target.unlink(missing_ok=True)

    def _report(self, damage: Damage) -> None:
        self.damages.append(damage)
        log.warning("damaged: %s: %s", damage.what, damage.reason)


def _stamp() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
