"""The storage folder: where things lie in it, and what becomes of those that are found damaged.

stages/<lineage[:2]>/<lineage>/<epoch>-<key[:16]>/{record.json,state.safetensors}
keys/<key[:2]>/<key>          which lineage and epoch a key belongs to
partials/, failures/          stages on their way, and those that failed
claims/                       stages that a launch trains now: see `sweeper.claims`
incoming/, damaged/           drafts, and what did not match its hash
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

_KEY = re.compile(r"[0-9a-f]{64}")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Damage:
    """Something that was found damaged, why it is thought so, and where it lies now (None: it could not be moved)."""

    what: str
    reason: str
    moved_to: Path | None


@dataclass
class Storage:
    """A folder that any number of processes read and write at once. Makes nothing until asked to."""

    root: Path
    damages: list[Damage] = field(default_factory=list)  # found through this object

    def __post_init__(self) -> None:
        self.root = Path(self.root)

    @property
    def _incoming(self) -> Path:
        return self.root / "incoming"

    def _lineage_folder(self, lineage: str) -> Path:
        return self.root / "stages" / checked_key(lineage)[:2] / lineage

    def _pointer(self, key: str) -> Path:
        return self.root / "keys" / checked_key(key)[:2] / key

    def _partial(self, key: str) -> Path:
        return self.root / "partials" / checked_key(key)[:2] / key

    def _failure(self, key: str) -> Path:
        return self.root / "failures" / f"{checked_key(key)}.json"

    def _set_aside(self, path: Path, reason: str, seen: Identity) -> bool:
        """Move something damaged out of the way, with the reason beside it, and report it; then it is absent.

        Only what was `seen` is moved: others may have found the same damage, and put something good there since. Then
        it stays, and this returns True: look again.
        """
        if identity(path) not in (seen, None):
            return True
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        target = self.root / "damaged" / f"{stamp}-{uuid.uuid4().hex[:8]}-{path.name}"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
            if identity(target) != seen:  # it was replaced in the last moment
                self._put_back(target, path)
                return True
            Path(f"{target}.reason.txt").write_text(f"{path.relative_to(self.root)}\n{reason}\n")
        except FileNotFoundError:
            return False  # another process was quicker
        except OSError as error:
            self._report(Damage(str(path), f"{reason} (and cannot be moved away: {error.strerror})", None))
            return False
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


Identity = tuple[int, int] | None


def identity(path: Path) -> Identity:
    """What tells a file or folder from another of the same name; None if there is none."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_dev, status.st_ino


def is_key(text: str) -> bool:
    """Whether this has the form of a key or lineage."""
    return _KEY.fullmatch(text) is not None


def checked_key(key: str) -> str:
    """The key or lineage itself, if it is one: nothing else becomes part of a path."""
    if not is_key(key):
        raise ValueError(f"not a key or lineage (64 hexadecimal digits): {key!r}")
    return key
