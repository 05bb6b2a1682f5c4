"""The store: finished stages under the hash of all that led to them. Whole or absent, checked when read."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import nlargest
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.records.index import Brief, StageIndex
from sweeper.records.layout import Damage, StoredStage
from sweeper.records.stage_record import (
    Damaged,
    NewerFormat,
    StageRecord,
    StateFile,
    cut,
    decode,
    encode,
    joined,
    sha256,
)
from sweeper.records.unfinished import Unfinished
from sweeper.stages.faults import StorageFault
from sweeper.stages.forest import Stage
from sweeper.stages.points import point_key
from sweeper.storage.base import StoreError, checked_key, is_key, storage_errors
from sweeper.storage.folder import Folder, identity, sync_folder, write_synced

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Damage", "StageRecord", "StorageFault", "Store", "StoreError", "StoredStage"]

RECORD, STATE = "record.json", "state.safetensors"
DRAFTS_ARE_OLD_AFTER_SECONDS = 24 * 3600.0
_FOLDER = re.compile(r"([0-9]{6,})-([0-9a-f]{16})")
_Found = tuple[StageRecord, StateFile]


@dataclass
class Store(Unfinished):
    """Finished stages, besides the unfinished ones. Any number of processes may read and write it at once."""

    index: StageIndex = field(default_factory=StageIndex)

    def prepare(self) -> None:
        """Checks that the folder can be written, and removes what crashed writers left long ago."""
        self.folder.remove_old_drafts(DRAFTS_ARE_OLD_AFTER_SECONDS)

    # Finished stages

    def expect(self, lineages: Collection[str]) -> None:
        """Prefetches the records of these lineages; does nothing here, where reading one by one is cheap."""

    def has(self, key: str) -> bool:
        """Whether the stage that ends here is stored, with a record that can be read."""
        return self.read(key) is not None

    def read(self, key: str) -> StageRecord | None:
        """The record of the stage that ends here; None if there is none. A damaged one is set aside first."""
        folder = self._folder_of(key)
        found = folder and self._read_folder(folder, key)
        return found[0] if found else None

    def read_span(self, key: str, start: int) -> StageRecord | None:
        """The epochs after `start` up to this point as one record; None if some of them are missing.

        A launch that cut the lineage elsewhere may have trained them: then its records are joined, or cut.
        """
        record = self.read(key)
        while record is not None and record.start > start:
            before = self.read(str(record.parent))
            record = joined(before, record) if before is not None and before.lineage == record.lineage else None
        if record is None or record.start == start:
            return record
        return cut(record, start, point_key(record.lineage, start))

    def chain(self, key: str) -> list[StageRecord] | None:
        """The records from the root to this point, that together hold every epoch once; None if one is missing."""
        records: list[StageRecord] = []
        wanted: str | None = key
        while wanted is not None:
            record = self.read(wanted)
            if record is None:
                return None
            records.append(record)
            wanted = record.parent
        return records[::-1]

    def read_state(self, key: str) -> dict[str, Tensor]:
        """The training state at this point, on the CPU. Raises StorageFault if it is missing or damaged."""
        from safetensors.torch import load

        folder = self._folder_of(key)
        seen = identity(folder) if folder else None
        found = folder and self._read_folder(folder, key)
        if not folder or not found:
            raise StorageFault(f"no stage ends at {key[:16]} in {self.root}")
        check_left(found[1], key)
        with storage_errors("read", folder / STATE):
            content = (folder / STATE).read_bytes()
        if sha256(content) != found[1].sha256:
            if self._set_aside(folder, f"{STATE} does not match its SHA-256", seen):
                return self.read_state(key)
            raise StorageFault(f"the state at {key[:16]} was damaged; it is set aside in {self.root / 'damaged'}")
        return load(content)

    def is_left_out(self, key: str) -> bool:
        """Whether this stage came as a result alone: its state was left out when its sweep was exported."""
        folder = self._folder_of(key)
        found = folder and self._read_folder(folder, key)
        return bool(found and found[1].left_out)

    def has_state(self, key: str) -> bool:
        """Whether training can go on from this point: reads all of its state and checks it."""
        folder = self._folder_of(key)
        seen = identity(folder) if folder else None
        found = folder and self._read_folder(folder, key)
        if not folder or not found or found[1].left_out:
            return False
        with storage_errors("read", folder / STATE), (folder / STATE).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest == found[1].sha256:
            return True
        return self._set_aside(folder, f"{STATE} does not match its SHA-256", seen) and self.has_state(key)

    def brief(self, stage: Stage) -> Brief | None:
        """What launches ask of the epochs of a stage; None if some of them are missing."""
        found = self._brief_of(stage)
        if found is None or found.start != stage.start:
            record = self.read_span(stage.key, stage.start)
            return Brief.of(record) if record is not None else None
        return found

    def _brief_of(self, stage: Stage) -> Brief | None:
        """That of what ends where the stage does; read only if its files are not those that the index knows."""
        return self._brief_at(stage.lineage, _name_of(stage.key, stage.end), stage.key)

    def _brief_at(self, lineage: str, name: str, key: str) -> Brief | None:
        # Looked at before it is read: what another writer puts there meanwhile has another tag, and is read anew.
        tag = _tag(f"{self._path_of(lineage)}/{name}")
        known = self.index.get(key, tag)
        if known is None and (found := self._read_folder(self._lineage_folder(lineage) / name, key)):
            known = Brief.of(found[0])
            self.index.put(key, tag, known)
        return known

    def spans(self, lineage: str) -> dict[int, int]:
        """The readable records of a lineage: the epoch at the end of each, and the epoch at its start."""
        spans: dict[int, int] = {}
        for listed in Folder(self._path_of(lineage)).names():
            name = _FOLDER.fullmatch(listed)
            key = point_key(lineage, int(name[1])) if name else ""
            if not name or not key.startswith(name[2]):
                folder = self._lineage_folder(lineage) / listed
                self._set_aside(folder, "its name is not that of a stage of this lineage", identity(folder))
            elif (brief := self._brief_at(lineage, listed, key)) is not None:
                spans[int(name[1])] = brief.start
        return spans

    def _path_of(self, lineage: str) -> str:
        """The path of a lineage's folder: as text, since of thousands a Path would take longer than all else."""
        return f"{self.root}/stages/{checked_key(lineage)[:2]}/{lineage}"

    def newest(self, count: int) -> Iterator[StageRecord]:
        """The last record of each of the lineages that were written to last, the newest first."""

        def written(lineage: Path) -> int:
            with contextlib.suppress(OSError):  # removed meanwhile
                return lineage.stat().st_mtime_ns
            return 0

        for lineage in nlargest(count, (self.folder / "stages").glob("??/*"), key=written):
            name = _FOLDER.fullmatch(max((folder.name for folder in lineage.glob("*")), default=""))
            record = self.read(point_key(lineage.name, int(name[1]))) if name and is_key(lineage.name) else None
            if record is not None:
                yield record

    def stages(self) -> Iterator[StoredStage]:
        """Yields every finished stage; passes over what does not look like one."""
        for folder in sorted((self.folder / "stages").glob("??/*/*-*")):
            lineage, (epoch, _, beginning) = folder.parent.name, folder.name.partition("-")
            if not is_key(lineage) or not epoch.isdigit():
                continue
            key = point_key(lineage, int(epoch))
            if beginning == key[:16]:
                size = sum(file.stat().st_size for file in folder.iterdir())
                yield StoredStage(key, lineage, folder, size, folder.stat().st_mtime)

    def remove(self, stage: StoredStage) -> None:
        """Removes a stage for good: whole or not at all, whenever this process dies. Raises StoreError."""
        with storage_errors("remove", stage.place):
            self._put_away(Path(str(stage.place)))
            self._pointer(stage.key).unlink(missing_ok=True)

    def remove_leftovers(self) -> int:
        """Removes states that crashed writers left long ago; returns how many. In a folder a launch does."""
        return 0

    def write(self, record: StageRecord, state: Mapping[str, Tensor]) -> bool:
        """Stores a finished stage. False if another writer was first: then theirs stays, and this one is dropped.

        One without its state gives way to one that has it.
        Raises StoreError: full disk, no permission.
        """
        from safetensors.torch import save

        check_agreement(record)
        folder = self._lineage_folder(record.lineage) / _name_of(record.key, record.end)
        content = save(dict(state))
        with storage_errors("write", folder):
            written = self._move_in(folder, record, content)
        self._forget(record.key)
        return written

    def _move_in(self, folder: Folder, record: StageRecord, state: bytes) -> bool:
        draft = self._incoming / uuid.uuid4().hex
        try:
            draft.mkdir(parents=True)
            write_synced(draft / STATE, state)
            file = StateFile(sha256(state), len(state))
            write_synced(draft / RECORD, encode(record, file))
            sync_folder(draft)
            # Before the stage itself: a key without a stage is nothing, a stage without its key would be lost.
            pointer = f"{record.lineage} {record.end}\n".encode()
            self._pointer(record.key).put(pointer)
            folder.parent.mkdir(parents=True, exist_ok=True)
            for _ in range(3):
                if self._rename(draft, folder):
                    sync_folder(folder.parent)
                    return True
                first = self._read_folder(folder, record.key)
                if first and (not first[1].left_out or file.left_out):
                    return False
                if first:
                    self._put_away(folder)
            raise StoreError(f"storage: cannot write {folder}: what lies there is damaged and cannot be moved away")
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _put_away(self, folder: Path) -> None:
        draft = self._incoming / uuid.uuid4().hex  # what is left there is cleared away by a later launch
        draft.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(draft)
        shutil.rmtree(draft)

    @staticmethod
    def _rename(draft: Path, folder: Path) -> bool:
        try:
            draft.rename(folder)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                return False
            raise
        return True

    def _folder_of(self, key: str) -> Folder | None:
        place = self._place_of(key)
        return self._lineage_folder(place[0]) / place[1] if place else None

    def _place_of(self, key: str) -> tuple[str, str] | None:
        """The lineage of a stage, and the name of its folder there."""
        pointer = Folder(f"{self.root}/keys/{checked_key(key)[:2]}/{key}")
        try:
            lineage, epoch = pointer.read_text().split()
            return checked_key(lineage), _name_of(key, int(epoch))
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None  # the write that ends with a whole pointer makes it whole

    def _read_folder(self, folder: Folder, key: str) -> _Found | None:
        """A stage's record, checked; None if there is none, or a damaged one, which is set aside."""
        seen = identity(folder)
        try:
            record, state = decode((folder / RECORD).read_bytes())
            size = (folder / STATE).stat().st_size
        except (FileNotFoundError, NotADirectoryError) as error:
            if seen is None:
                return None
            damage = f"half written: {Path(error.filename).name} is missing"
        except NewerFormat as newer:
            raise StoreError(f"storage: {folder} was written by a newer version: {newer}") from None
        except Damaged as error:
            damage = f"{RECORD}: {error}"
        except OSError as error:
            raise StoreError(f"storage: cannot read {folder}: {error.strerror}") from error
        else:
            damage = contradiction(record, state, key, size)
            if not damage:
                return record, state
        return self._read_folder(folder, key) if self._set_aside(folder, damage, seen) else None

    def _forget(self, key: str) -> None:
        """A finished stage needs neither its partial nor its failure any more."""
        with contextlib.suppress(OSError):
            self.remove_partial(key)
            self.clear_failure(key)


def _name_of(key: str, end: int) -> str:
    """The name of a stage's folder in that of its lineage."""
    return f"{end:06d}-{key[:16]}"


def _tag(folder: str) -> str:
    """A text that changes whenever a stage's files do, are copied or moved; empty if they are not there."""
    try:
        both = [os.stat(f"{folder}/{name}") for name in (RECORD, STATE)]
    except OSError:
        return ""
    seen = [(one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns) for one in both]
    return hashlib.blake2b(repr(seen).encode(), digest_size=12).hexdigest()


def contradiction(record: StageRecord, state: StateFile, key: str, size: int) -> str:
    """How a record contradicts this key, or the size of its state; empty if it does not."""
    if record.key != key or key != point_key(record.lineage, record.end):
        return f"{RECORD} is that of another stage, {record.key[:16]}"
    return f"{STATE} has {size} bytes, and {state.size} were written" if size != state.size else ""


class StateLeftOut(StorageFault):
    """The state of a stage that came without it."""


def check_left(state: StateFile, key: str) -> None:
    """Raises StateLeftOut for one that was."""
    if state.left_out:
        raise StateLeftOut(
            f"the state at {key[:16]} was left out when its sweep was exported: its results are all there is"
        )


def check_agreement(record: StageRecord) -> None:
    """Raises ValueError for a record that contradicts itself, which must not be written."""
    if record.key != point_key(record.lineage, record.end) or len(record.epochs) != record.end - record.start:
        raise ValueError(f"record {record.key[:16]} does not agree with itself: its key, lineage, end or epochs")
