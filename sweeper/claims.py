"""Who trains what: claims on stages, so that launches that share a storage never train the same stage twice.

claims/<key>.<owner>     an empty file: this owner, a launch, trains the stage that ends at this key
claims/owners/<owner>    who that is; touched now and then for as long as it claims something

No clock is compared with another: an owner is dead once somebody has seen its file untouched for long enough, by the
one clock of its own, or at once where its process could be looked up and is gone. Names of owners are used once, so
whoever removes a dead owner's claim can never remove a living one's.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sweeper.atomic import storage_errors
from sweeper.storage import checked_key

TOUCH_SECONDS = 5.0
PATIENCE_SECONDS = 60.0  # more than a network file system may show old attributes for
GLANCE_SECONDS = 0.5  # a listing that says "taken" is believed for so long
TIE_SECONDS = 0.25  # that an equal gets to step back


@dataclass
class Claims:
    """The claims of one launch in a storage folder. For one thread."""

    root: Path
    clock: Callable[[], float] = time.monotonic
    owner: str = ""
    _held: set[str] = field(default_factory=set)
    _seen: dict[str, tuple[int, float]] = field(default_factory=dict)  # owner -> its last touch, and when that was seen
    _taken: tuple[float, frozenset[str]] = (-1e9, frozenset())  # when others' claims were listed last, on which keys
    _idle: threading.Event = field(default_factory=threading.Event)

    @property
    def folder(self) -> Path:
        return Path(self.root) / "claims"

    def take(self, key: str) -> bool:
        """Claims a stage. False if another launch that lives has claimed it. Raises StoreError."""
        if key in self._held:
            return True
        listed_at, taken = self._taken
        if checked_key(key) in taken and self.clock() - listed_at < GLANCE_SECONDS:
            return False
        with storage_errors("write to", self.folder):
            if self._rivals(key):
                return False
            self._sign_on()
            mine = self._claim(key)
            mine.touch()
            if not self._prevails(key):
                mine.unlink(missing_ok=True)
                self._sign_off_if_idle()
                return False
        self._held.add(key)
        return True

    def release(self, key: str) -> None:
        """Lets go of a stage, if it is ours: it is stored, has failed, or is given up."""
        if key in self._held:
            self._held.discard(key)
            with contextlib.suppress(OSError):  # a claim that stays behind ends with its owner
                self._claim(key).unlink(missing_ok=True)
                self._sign_off_if_idle()

    def release_all(self) -> None:
        for key in list(self._held):
            self.release(key)

    # Claiming

    def _prevails(self, key: str) -> bool:
        """Whether a claim just made stands: of two that are made at once the one with the smaller name does.

        Everybody writes first and looks then, so of two at least one sees the other. One that held the stage before
        does not look again; the smaller name finds that out by waiting.
        """
        until = time.monotonic() + TIE_SECONDS
        while rivals := self._rivals(key):
            if min(rivals) < self.owner or time.monotonic() > until:
                return False
            time.sleep(0.005)
        return True

    def _rivals(self, key: str) -> list[str]:
        """The living owners, ourselves left out, that claim this stage; claims of the dead are removed."""
        claims: dict[str, list[str]] = {}
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self.folder):
                claimed, _, owner = name.partition(".")
                if owner and owner != self.owner:
                    claims.setdefault(owner, []).append(claimed)
        for owner in list(claims):
            if not self._lives(owner):
                for claimed in claims.pop(owner):
                    (self.folder / f"{claimed}.{owner}").unlink(missing_ok=True)
                self._card(owner).unlink(missing_ok=True)
        self._taken = (self.clock(), frozenset(claimed for keys in claims.values() for claimed in keys))
        return [owner for owner, keys in claims.items() if key in keys]

    def _claim(self, key: str) -> Path:
        return self.folder / f"{checked_key(key)}.{self.owner}"

    # Living and dying

    def _card(self, owner: str) -> Path:
        return self.folder / "owners" / owner

    def _sign_on(self) -> None:
        if self.owner and self._card(self.owner).exists():
            return
        self.owner = uuid.uuid4().hex  # another one, if we were taken for dead: asleep for minutes, say
        card = self._card(self.owner)
        card.parent.mkdir(parents=True, exist_ok=True)
        card.touch()
        with contextlib.suppress(OSError):  # on a full disk it stays empty, and says that somebody lives all the same
            card.write_text(json.dumps(_this_process()))
        self._idle = threading.Event()
        threading.Thread(target=_touch, args=(card, self._idle), name="claims", daemon=True).start()

    def _sign_off_if_idle(self) -> None:
        if not self._held:
            self._idle.set()
            self._card(self.owner).unlink(missing_ok=True)
            self.owner = ""

    def _lives(self, owner: str) -> bool:
        try:
            with self._card(owner).open() as file:  # opening asks a network file system for what is new
                text, touched = file.read(), os.fstat(file.fileno()).st_mtime_ns
        except FileNotFoundError:
            return False  # it comes before an owner's first claim, and goes after its last
        try:
            process = json.loads(text)
        except ValueError:
            process = {}  # being written, or the disk was full: it is touched all the same
        if process.get("kernel") == _kernel() != "":
            return _born(int(process["pid"])) == str(process["born"])
        last, since = self._seen.get(owner, (None, 0.0))
        if last != touched:
            self._seen[owner] = (touched, self.clock())
            return True
        return self.clock() - since < PATIENCE_SECONDS


def _touch(card: Path, idle: threading.Event) -> None:
    while not idle.wait(TOUCH_SECONDS):
        try:
            os.utime(card)
        except FileNotFoundError:
            return  # somebody took us for dead
        except OSError:
            continue  # the storage may come back; until then nobody else sees it either


def _this_process() -> dict[str, object]:
    pid = os.getpid()
    return {"host": platform.node(), "kernel": _kernel(), "pid": pid, "born": _born(pid)}


def _kernel() -> str:
    """What tells the processes that can be looked up from those elsewhere: boot and process namespace."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""  # not Linux: nobody is looked up


def _born(pid: int) -> str:
    """When a process started, in the kernel's ticks; empty for one that has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
