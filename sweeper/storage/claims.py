"""Who trains what: claims on stages, so that launches that share a storage never train the same stage twice.

claims/<key>.<owner>     a mere name: this owner, a launch, trains the stage that ends at this key
claims/owners/<owner>    who that is; touched now and then (in a bucket: rewritten) for as long as it claims something

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

from sweeper.storage.base import Place, checked_key

TOUCH_SECONDS = 5.0
PATIENCE_SECONDS = 60.0  # more than a network file system may show old attributes for
GLANCE_SECONDS = 0.5  # a listing that says "taken" is believed for so long


@dataclass
class Claims:
    """The claims of one launch in a storage, or below another place in it. For one thread."""

    root: Place
    clock: Callable[[], float] = time.monotonic
    owner: str = ""
    _held: set[str] = field(default_factory=set)
    # owner -> its last touch, when that was seen, and whether it was seen to be touched
    _seen: dict[str, tuple[int | str, float, bool]] = field(default_factory=dict)
    _taken: tuple[float, frozenset[str]] = (-1e9, frozenset())  # when others' claims were listed last, on which keys
    _idle: threading.Event = field(default_factory=threading.Event)
    _looked_up: set[str] = field(default_factory=set)  # owners that are processes of this machine, and live

    @property
    def folder(self) -> Place:
        return self.root / "claims"

    def take(self, key: str) -> bool:
        """Claims a stage. False if another launch that lives has claimed it. Raises StoreError."""
        if key in self._held:
            return True
        listed_at, taken = self._taken
        if checked_key(key) in taken and self.clock() - listed_at < GLANCE_SECONDS:
            return False
        if self._rivals(key):
            return False
        self._sign_on()
        mine = self._claim(key)
        mine.touch()
        if not self._prevails(key):
            mine.remove()
            self._sign_off_if_idle()
            return False
        self._held.add(key)
        return True

    def release(self, key: str) -> None:
        """Releases the claim on a stage, if it is ours: the stage is stored, has failed, or is given up."""
        if key in self._held:
            self._held.discard(key)
            with contextlib.suppress(OSError):  # a claim that stays behind ends with its owner
                self._claim(key).remove()
                self._sign_off_if_idle()

    def release_all(self) -> None:
        for key in list(self._held):
            self.release(key)

    def others(self, key: str | None = None) -> list[str]:
        """The other live owners that claim this (None: anything), as far as one look tells. Raises StoreError."""
        rivals = self._claimed_by_others()
        return [owner for owner, keys in rivals.items() if key is None or key in keys]

    def surely_lives(self, owner: str) -> bool:
        """Whether an owner was seen to renew its claim, or is a running process of this machine."""
        return owner in self._looked_up or self._seen.get(owner, (0, 0.0, False))[2]

    # Claiming

    def _prevails(self, key: str) -> bool:
        """Whether a claim just made stands: of two that are made at once the one with the smaller name does.

        Everybody writes first and looks then, so of two at least one sees the other. One that held the stage before
        does not look again; the smaller name finds that out by waiting.
        """
        until = time.monotonic() + self.root.tie_seconds
        while rivals := self._rivals(key):
            if min(rivals) < self.owner or time.monotonic() > until:
                return False
            time.sleep(0.005)
        return True

    def _rivals(self, key: str) -> list[str]:
        """The living owners, ourselves left out, that claim this stage."""
        return [owner for owner, keys in self._claimed_by_others().items() if key in keys]

    def _claimed_by_others(self) -> dict[str, list[str]]:
        """What living owners claim, ourselves left out; claims of the dead are removed."""
        claims: dict[str, list[str]] = {}
        for name in self.folder.names():
            claimed, _, owner = name.partition(".")
            if owner and owner != self.owner:
                claims.setdefault(owner, []).append(claimed)
        for owner in list(claims):
            if not self._lives(owner):
                for claimed in claims.pop(owner):
                    (self.folder / f"{claimed}.{owner}").remove()
                self._card(owner).remove()
        self._taken = (self.clock(), frozenset(claimed for keys in claims.values() for claimed in keys))
        return claims

    def _claim(self, key: str) -> Place:
        return self.folder / f"{checked_key(key)}.{self.owner}"

    # Living and dying

    def _card(self, owner: str) -> Place:
        return self.folder / "owners" / owner

    def _sign_on(self) -> None:
        if self.owner and self._card(self.owner).is_file():
            return
        self.owner = uuid.uuid4().hex  # another one, if we were taken for dead: asleep for minutes, say
        card = self._card(self.owner)
        card.touch()
        with contextlib.suppress(OSError):  # on a full disk it stays empty, and says that somebody lives all the same
            card.put(json.dumps(_this_process()).encode(), durable=False)
        self._idle = threading.Event()
        threading.Thread(target=_touch, args=(card, self._idle), name="claims", daemon=True).start()

    def _sign_off_if_idle(self) -> None:
        if not self._held:
            self._idle.set()
            self._card(self.owner).remove()
            self.owner = ""

    def _lives(self, owner: str) -> bool:
        asked_at = self.clock()
        try:
            text, touched = self._card(owner).sign_of_life()
        except FileNotFoundError:
            return False  # it comes before an owner's first claim, and goes after its last
        try:
            process = json.loads(text)
        except ValueError:
            process = {}  # being written, or the disk was full: it is touched all the same
        if process.get("kernel") == _kernel() != "":
            lives = _born(int(process["pid"])) == str(process["born"])
            (self._looked_up.add if lives else self._looked_up.discard)(owner)
            return lives
        last, since, moved = self._seen.get(owner, (None, 0.0, False))
        if last != touched:
            self._seen[owner] = (touched, self.clock(), last is not None)
            return True
        if self.clock() - asked_at > TOUCH_SECONDS:  # nobody could touch anything while the storage was away
            self._seen[owner] = (touched, self.clock(), moved)
            return True
        return self.clock() - since < PATIENCE_SECONDS


def _touch(card: Place, idle: threading.Event) -> None:
    beats = 0
    while not idle.wait(TOUCH_SECONDS):
        beats += 1
        try:
            if not card.renew(json.dumps({**_this_process(), "beats": beats}).encode()):
                return  # somebody took us for dead, or it was us who let go
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
