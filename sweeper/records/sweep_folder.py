"""What the storage keeps of a sweep beside its stages: its spec, how it was launched, who is running it, and who asked
that to stop.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from sweeper.records.environment import utc_now
from sweeper.storage.base import Place
from sweeper.storage.folder import storage_of
from sweeper.storage.locks import GLIMPSE_SECONDS
from sweeper.storage.tracking_address import IN_THE_STORAGE, address_of_kept, is_own
from trainers.errors import InvalidInput, explain, nearest

if TYPE_CHECKING:
    from search_spaces.spec import Spec

# Said in sweep.json of an address that is meant as it stands; earlier versions wrote every address so.
ELSEWHERE = "tracked_elsewhere"
LAUNCH_SETTINGS = "manner"  # the key of SweepFile.launch_settings


@dataclass
class SweepFile:
    """The content of sweep.json: all that a later command needs without being told again."""

    name: str
    spec_hash: str
    tracking: str
    digests: dict[str, str]  # of the data sets, so that no later command needs the data
    data_dir: str | None = None
    options: dict[str, Any] = field(default_factory=dict)  # the resources of the last launch
    launch_settings: dict[str, Any] = field(default_factory=dict)  # how else it was launched last: without Ray, say
    owner: str = ""  # who launched it first
    earlier_names: list[str] = field(default_factory=list)  # the first one first; its stages and studies keep them
    launches: list[dict[str, Any]] = field(default_factory=list)  # started_at, ended_at, host, outcome, sources_apart

    def sources_apart(self, version: int | None = None) -> str:
        """The digest of the sources that the last launch (of this version) kept its results apart by; else empty."""
        asked = [launch for launch in self.launches if version is None or launch.get("version", version) == version]
        return str(asked[-1].get("sources_apart", "")) if asked else ""

    def all_sources_apart(self) -> set[str]:
        """The digests of the sources that any launch kept its results apart by, with the empty one."""
        return {"", *(str(launch.get("sources_apart", "")) for launch in self.launches)}

    @property
    def wall_seconds(self) -> float:
        """The wall-clock seconds of all launches together."""
        return sum(float(launch.get("seconds", 0)) for launch in self.launches)


class SweepFolder:
    """The folder of a sweep, <storage>/sweeps/<name>/."""

    def __init__(self, storage: Place, name: str) -> None:
        self.storage = storage_of(storage)
        self.name = name
        self.path: Place = self.storage / "sweeps" / name

    @property
    def spec_path(self) -> Place:
        return self.path / "spec.yaml"

    def spec(self, overrides: Sequence[str] = ()) -> Spec:
        """The spec as it was launched last, but for these overrides. Raises InvalidInput."""
        from search_spaces.loading import spec_of

        try:
            text = self.spec_path.read_text()
        except FileNotFoundError as error:
            raise InvalidInput(f"cannot read {self.spec_path}: {error.strerror}") from None
        return spec_of(text, str(self.spec_path), overrides)

    @classmethod
    def names(cls, storage: Place) -> list[str]:
        """The sweeps that were launched in this storage."""
        return (storage_of(storage) / "sweeps").folders_with("sweep.json")

    @classmethod
    def find(cls, storage: Place, name: str) -> SweepFolder:
        """The folder of a sweep that was launched before. Raises InvalidInput with the nearest name."""
        known = cls.names(storage)
        if name not in known:
            there = f"; there are {', '.join(known)}" if known else "; no sweep was launched there"
            raise InvalidInput(f"sweep: {name!r} is not in {storage}{nearest(name, known) or there}")
        return cls(storage, name)

    def read(self) -> SweepFile:
        """The content of sweep.json. Raises InvalidInput where it cannot be read."""
        path = self.path / "sweep.json"
        try:
            kept = dict(json.loads(path.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise InvalidInput(f"sweep: cannot read {path}: {error}") from None
        elsewhere = kept.pop(ELSEWHERE, False)
        file = _checked(kept, path)
        if not elsewhere:
            file.tracking = address_of_kept(file.tracking, self.storage, self.name)
        return file

    def read_if_there(self) -> SweepFile | None:
        return self.read() if (self.path / "sweep.json").is_file() else None

    def write(self, file: SweepFile, spec_text: str | None = None) -> None:
        """Writes sweep.json and, if given, the spec. Raises StoreError."""
        if spec_text is not None:
            self.spec_path.put(spec_text.encode())
        (self.path / "sweep.json").put(json.dumps(self._kept(file), indent=1).encode())

    def _kept(self, file: SweepFile) -> dict[str, Any]:
        """What is written of it: the storage's own database by that name, for the storage may be moved or copied."""
        own = is_own(file.tracking, self.storage)
        kept = asdict(file)
        kept[LAUNCH_SETTINGS] = kept.pop("launch_settings")
        if not file.earlier_names:
            del kept["earlier_names"]  # earlier versions of this package do not know it
        return {**kept, **({"tracking": IN_THE_STORAGE} if own else {ELSEWHERE: True})}

    def earlier_names(self) -> list[str]:
        """The names that it had before it was renamed, the first one first. Raises InvalidInput."""
        file = self.read_if_there()
        return file.earlier_names if file else []

    def remove(self) -> None:
        """Removes all that is kept of the sweep but its stages. Raises StoreError."""
        self.path.remove_all(last=["sweep.json", "spec.yaml"])

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the sweep's lock; it is released when the process ends, however it ends (see `sweeper.storage.locks`).

        Raises InvalidInput if another launch of the same sweep runs.
        """
        lock = self.path.lock()
        if not lock.take(f"{this_process()} since {utc_now()}"):
            raise InvalidInput(f"sweep: {self.name!r} is being run already ({self.holder()})")
        try:
            yield
        finally:
            lock.release()

    def holder(self) -> str:
        """The name of the process that holds the lock, or held it last."""
        return self.path.lock().holder()

    def is_running(self, patience_seconds: float = GLIMPSE_SECONDS) -> bool:
        """Whether a launch of it runs, as far as this machine can tell.

        In a bucket it may take seconds to see that one of another machine does, and `patience_seconds` to see none.
        """
        return self.path.lock().is_held(patience_seconds)

    # To stop a launch from elsewhere

    @property
    def _stop_path(self) -> Place:
        return self.path / "stop"

    def ask_to_stop(self) -> None:
        """Asks the running launch to stop, by a file, from any machine that has this storage."""
        self._stop_path.put(f"{this_process()}\n".encode())

    def asked_to_stop(self) -> str | None:
        """The name of the process that asked the launch to stop; None if none did."""
        try:
            return self._stop_path.read_text().strip()
        except OSError:
            return None

    def forget_stop(self) -> None:
        """Removes the request to stop that was meant for an earlier launch."""
        self._stop_path.remove()


def _checked(kept: dict[str, Any], path: Place) -> SweepFile:
    """The content of sweep.json, each field as it should be. Raises InvalidInput that names the field."""
    from pydantic import TypeAdapter, ValidationError  # commands show their help without it

    kept["launch_settings"] = kept.pop(LAUNCH_SETTINGS, {})
    named = {
        field.name: LAUNCH_SETTINGS if field.name == "launch_settings" else field.name for field in fields(SweepFile)
    }
    if strange := kept.keys() - named.keys():
        raise InvalidInput(
            f"sweep: cannot read {path}: {min(strange)}: a field that this version does not know; a newer one wrote it"
        )
    try:
        file = TypeAdapter(SweepFile).validate_python(kept)
    except ValidationError as error:
        raise InvalidInput(explain(error, named.values(), f"sweep: cannot read {path}: ")) from None
    for number, launch in enumerate(file.launches):
        if lacking := {"started_at", "outcome"} - launch.keys():
            raise InvalidInput(f"sweep: cannot read {path}: launches.{number}.{min(lacking)}: missing")
    return file


def this_process() -> str:
    """The name of this process, as understood on any machine."""
    return f"process {os.getpid()} on {platform.node()}"


def planting(storage: Place) -> contextlib.AbstractContextManager[None]:
    """Holds a shared lock while a launch looks which of its stages are stored, so that none is removed."""
    return storage_of(storage).shared()


def sweeping_up(storage: Place) -> contextlib.AbstractContextManager[None]:
    """Holds an exclusive lock while unused stages are removed, so that no launch plants its forest meanwhile."""
    return storage_of(storage).alone()
