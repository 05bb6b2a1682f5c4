"""What the storage keeps of a sweep beside its stages: its spec, how it was launched, who is running it, and who asked
that to stop.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from search_spaces.loading import load_spec, spec_of
from search_spaces.spec import Spec
from sweeper.records.environment import utc_now
from sweeper.storage.bucket import ObjectPath
from sweeper.storage.folder import replace_file, storage_errors
from sweeper.storage.locks import GLIMPSE_SECONDS, Lease, alone, shared
from sweeper.storage.place import Place
from sweeper.storage.tracking_address import IN_THE_STORAGE, address_of_kept, is_own
from trainers.errors import InvalidInput, nearest

# Said in sweep.json of an address that is meant as it stands; earlier versions wrote every address so.
ELSEWHERE = "tracked_elsewhere"
# A look at who holds a lock takes it for an instant; whoever comes just then tries again.
LOCK_TRIES, LOCK_PAUSE_SECONDS = 10, 0.05


@dataclass
class SweepFile:
    """sweep.json: everything a later command needs to find its way without being told again."""

    name: str
    spec_hash: str
    tracking: str
    digests: dict[str, str]  # of the data sets, so that no later command needs the data
    data_dir: str | None = None
    options: dict[str, Any] = field(default_factory=dict)  # the resources of the last launch
    manner: dict[str, Any] = field(default_factory=dict)  # how else it was launched last: with or without Ray, and such
    owner: str = ""  # who launched it first
    launches: list[dict[str, Any]] = field(default_factory=list)  # started_at, ended_at, host, outcome, sources_apart

    def sources_apart(self, version: int | None = None) -> str:
        """The digest of the sources that the last launch (of this version) kept its results apart by; else empty."""
        asked = [launch for launch in self.launches if version is None or launch.get("version", version) == version]
        return str(asked[-1].get("sources_apart", "")) if asked else ""

    def all_sources_apart(self) -> set[str]:
        """The same of every launch."""
        return {"", *(str(launch.get("sources_apart", "")) for launch in self.launches)}

    @property
    def wall_seconds(self) -> float:
        """All launches together."""
        return sum(float(launch.get("seconds", 0)) for launch in self.launches)


class SweepFolder:
    """<storage>/sweeps/<name>/"""

    def __init__(self, storage: Place, name: str) -> None:
        self.storage = storage
        self.name = name
        self.path: Place = storage / "sweeps" / name

    @property
    def spec_path(self) -> Place:
        return self.path / "spec.yaml"

    def spec(self, overrides: Sequence[str] = ()) -> Spec:
        """As it was launched last, but for these overrides. Raises InvalidInput."""
        if not isinstance(self.spec_path, ObjectPath):
            return load_spec(str(self.spec_path), overrides)
        with storage_errors("read", self.spec_path):
            return spec_of(self.spec_path.read_text(), str(self.spec_path), overrides)

    @classmethod
    def names(cls, storage: Place) -> list[str]:
        """The sweeps that were launched in this storage."""
        if isinstance(storage, ObjectPath):
            with storage_errors("read", storage):
                folders = (storage / "sweeps").folders()
                launched = storage.bucket.at_once(lambda folder: (folder / "sweep.json").is_file(), folders)
            return [folder.name for folder, is_one in zip(folders, launched, strict=True) if is_one]
        return sorted(path.parent.name for path in (storage / "sweeps").glob("*/sweep.json"))

    @classmethod
    def find(cls, storage: Place, name: str) -> SweepFolder:
        """The folder of a sweep that was launched before. Raises InvalidInput with the nearest name."""
        known = cls.names(storage)
        if name not in known:
            there = f"; there are {', '.join(known)}" if known else "; no sweep was launched there"
            raise InvalidInput(f"sweep: {name!r} is not in {storage}{nearest(name, known) or there}")
        return cls(storage, name)

    def read(self) -> SweepFile:
        """Raises InvalidInput for a file that cannot be read."""
        path = self.path / "sweep.json"
        try:
            kept = dict(json.loads(path.read_text()))
            elsewhere = kept.pop(ELSEWHERE, False)
            file = SweepFile(**kept)
            if not elsewhere:
                file.tracking = address_of_kept(file.tracking, self.storage, self.name)
            return file
        except (OSError, ValueError, TypeError) as error:
            raise InvalidInput(f"sweep: cannot read {path}: {error}") from None

    def read_if_there(self) -> SweepFile | None:
        return self.read() if (self.path / "sweep.json").is_file() else None

    def write(self, file: SweepFile, spec_text: str | None = None) -> None:
        """Raises StoreError."""
        with storage_errors("write to", self.path):
            scratch = self.storage / "incoming"
            if spec_text is not None:
                replace_file(self.spec_path, spec_text.encode(), scratch)
            replace_file(self.path / "sweep.json", json.dumps(self._kept(file), indent=1).encode(), scratch)

    def _kept(self, file: SweepFile) -> dict[str, Any]:
        """What is written of it: the storage's own database by that name, for the storage may be moved or copied."""
        own = is_own(file.tracking, self.storage)
        return {**asdict(file), **({"tracking": IN_THE_STORAGE} if own else {ELSEWHERE: True})}

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Held while a launch runs; the system lets go of it when the process ends, however it ends.

        Raises InvalidInput if another launch of the same sweep runs.
        """
        if isinstance(self.path, ObjectPath):
            with self._lease(self.path):
                yield
            return
        with storage_errors("write to", self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            file = (self.path / "lock").open("a+")
        with file:
            if not _locked(file):
                raise self._taken()
            file.seek(0)
            file.truncate()
            file.write(f"{this_process()} since {utc_now()}\n")
            file.flush()
            yield

    @contextlib.contextmanager
    def _lease(self, path: ObjectPath) -> Iterator[None]:
        """The same in a bucket, where nobody lets go of what a killed launch held: see `sweeper.storage.locks`."""
        lease = Lease(path / "lock")
        if not lease.take():
            raise self._taken()
        try:
            with storage_errors("write to", path):
                (path / "holder").put(f"{this_process()} since {utc_now()}\n".encode())
            yield
        finally:
            lease.release()

    def _taken(self) -> InvalidInput:
        return InvalidInput(f"sweep: {self.name!r} is being run already ({self.holder()})")

    def holder(self) -> str:
        """Who holds the lock, or held it last."""
        try:
            in_a_bucket = isinstance(self.path, ObjectPath)
            return (self.path / ("holder" if in_a_bucket else "lock")).read_text().strip()
        except OSError:
            return ""

    def is_running(self, patience_seconds: float = GLIMPSE_SECONDS) -> bool:
        """Whether a launch of it runs, as far as this machine can tell.

        In a bucket it may take seconds to see that one of another machine does, and `patience_seconds` to see none.
        """
        if isinstance(self.path, ObjectPath):
            return Lease(self.path / "lock").is_held(patience_seconds)
        try:
            with (self.path / "lock").open("r+") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    # To stop a launch from elsewhere

    @property
    def _stop_path(self) -> Place:
        return self.path / "stop"

    def ask_to_stop(self) -> None:
        """Ask the launch that runs to stop: a file, so that it works from any machine that has this storage."""
        with storage_errors("write to", self.path):
            replace_file(self._stop_path, f"{this_process()}\n".encode(), self.storage / "incoming")

    def asked_to_stop(self) -> str | None:
        """Who asked; None if nobody did."""
        try:
            return self._stop_path.read_text().strip()
        except OSError:
            return None

    def forget_stop(self) -> None:
        """What was asked of an earlier launch is not asked of this one."""
        with storage_errors("remove", self._stop_path):
            self._stop_path.unlink(missing_ok=True)


def this_process() -> str:
    """What to call this process on whatever machine that is read."""
    return f"process {os.getpid()} on {platform.node()}"


def planting(storage: Place) -> contextlib.AbstractContextManager[None]:
    """Held while a launch looks which of its stages are stored: until then nothing may be removed."""
    if isinstance(storage, ObjectPath):
        return shared(storage / "locks")
    return _storage_lock(storage, fcntl.LOCK_SH)


def sweeping_up(storage: Place) -> contextlib.AbstractContextManager[None]:
    """Held while stages that no sweep refers to are removed: no launch plants its forest meanwhile."""
    if isinstance(storage, ObjectPath):
        return alone(storage / "locks")
    return _storage_lock(storage, fcntl.LOCK_EX)


@contextlib.contextmanager
def _storage_lock(storage: Path, how: int) -> Iterator[None]:
    path = storage / "lock"
    with storage_errors("lock", path):
        storage.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
        fcntl.flock(file, how)
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
