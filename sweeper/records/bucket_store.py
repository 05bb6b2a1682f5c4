"""The store in a bucket, where nothing can be renamed: a stage is there as soon as its record is.

stages/<key[:2]>/<key>/record.json                    created once, and last: it names its state by its hash
stages/<key[:2]>/<key>/<sha256 of it>.safetensors     the state; without a record it is nothing
lineages/<lineage[:2]>/<lineage>/<epoch>              which stages a lineage may have; without a record it is nothing

A request takes as long as a thousand reads of a disk, so many are asked side by side, and records are kept once they
were read: they never change.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from sweeper.records.compressed import packed
from sweeper.records.index import Brief, StageIndex
from sweeper.records.layout import StoredStage
from sweeper.records.stage_record import Damaged, NewerFormat, StageRecord, StateFile, decode, encode, sha256
from sweeper.records.store import (
    DRAFTS_ARE_OLD_AFTER_SECONDS,
    RECORD,
    Store,
    check_agreement,
    check_left,
    contradiction,
)
from sweeper.stages.faults import StorageFault
from sweeper.stages.forest import Stage
from sweeper.stages.points import point_key
from sweeper.storage.base import Place, StoreError, checked_key, is_key, missing
from sweeper.storage.bucket import Entry, ObjectPath, impatient
from sweeper.storage.folder import storage_of

if TYPE_CHECKING:
    from torch import Tensor

FEW = 16  # lineages that are listed one by one; of more, all are listed
LISTED_SECONDS = 2.0  # a listing of partials is believed for so long


def open_store(root: Place, index: Place | None = None) -> Store:
    """The store in this folder or bucket; `index`: the file in which a sweep keeps what it has read of it."""
    root = storage_of(root)
    return (ObjectStore if root.on_disk is None else Store)(root, index=StageIndex(index))


class ObjectStore(Store):
    """Finished stages in a bucket. Any number of processes may read and write it at once."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._expected: dict[str, list[int]] = {}
        self._tags: dict[str, set[str]] = {}  # that a stage's record may have, by the last listing
        self._partials: set[str] = set()
        self._partials_listed_at = -1e9

    @property
    def bucket(self) -> ObjectPath:
        assert isinstance(self.root, ObjectPath)
        return self.root

    def prepare(self) -> None:
        """Checks that the bucket can be written, and that its service keeps the promises that the store relies on."""
        check_promises(impatient(self.bucket))

    # Reading

    def read(self, key: str) -> StageRecord | None:
        found = self._found(key)
        return found[0] if found else None

    def read_state(self, key: str) -> dict[str, Tensor]:
        from safetensors.torch import load

        found = self._found(key)
        if not found:
            raise StorageFault(f"no stage ends at {key[:16]} in {self.root}")
        check_left(found[1], key)
        content = self._read_state(key, found[1])
        if content is None:
            raise StorageFault(f"the state at {key[:16]} was damaged; it is set aside in {self.root / 'damaged'}")
        return load(content)

    def is_left_out(self, key: str) -> bool:
        found = self._found(key)
        return found is not None and found[1].left_out

    def has_state(self, key: str) -> bool:
        found = self._found(key)
        return found is not None and not found[1].left_out and self._read_state(key, found[1]) is not None

    def expect(self, lineages: Collection[str]) -> None:
        """Prefetches the records of these lineages, side by side, but for those that the index knows."""
        if len(lineages) > FEW:
            listed = self._listed(self.bucket / "lineages")
            ends = {lineage: listed.get(lineage, []) for lineage in lineages}
            self._tags = tags_of((self.bucket / "stages").entries()) if any(ends.values()) else {}
        else:
            ends = dict(zip(lineages, self.bucket.bucket.concurrently(self._ends, lineages), strict=True))
        keys = [point_key(lineage, end) for lineage in ends for end in ends[lineage]]
        unread = [key for key in keys if key not in self.bucket.bucket.known and not self._indexed(key)]
        self.bucket.bucket.concurrently(self._found, unread)
        self._expected = ends

    def spans(self, lineage: str) -> dict[int, int]:
        ends = self._expected.pop(lineage, None)
        if ends is None:
            ends = self._ends(lineage)
        found = {end: self._known(point_key(lineage, end)) for end in ends}
        return {end: brief.start for end, brief in found.items() if brief is not None}

    def _brief_of(self, stage: Stage) -> Brief | None:
        return self._known(stage.key)

    def _known(self, key: str) -> Brief | None:
        if brief := self._indexed(key):
            return brief
        found = self._found(key)
        return found and Brief.of(found[0])

    def _indexed(self, key: str) -> Brief | None:
        """The brief of a stage whose objects, as they were listed, are those that the index knows."""
        briefs = (self.index.get(key, tag) for tag in self._tags.get(key, ()))
        return next((brief for brief in briefs if brief is not None), None)

    def _drop(self, key: str) -> None:
        """Believes nothing of this stage any more that was read or listed before."""
        self.bucket.bucket.known.pop(key, None)
        self._tags.pop(key, None)

    def newest(self, count: int) -> Iterator[StageRecord]:
        entries = [entry for entry in (self.bucket / "stages").entries() if entry.path.name == RECORD]
        entries.sort(key=lambda entry: entry.modified, reverse=True)
        keys = [entry.path.parent.name for entry in entries[:count]]
        found = self.bucket.bucket.concurrently(self.read, filter(is_key, keys))
        lineages: set[str] = set()
        for record in found:
            if record is not None and record.lineage not in lineages:
                lineages.add(record.lineage)
                yield record

    def partial_record(self, key: str) -> StageRecord | None:
        if time.monotonic() - self._partials_listed_at > LISTED_SECONDS:
            self._partials = {entry.path.name for entry in (self.bucket / "partials").entries()}
            self._partials_listed_at = time.monotonic()
        return super().partial_record(key) if key in self._partials else None

    def stages(self) -> Iterator[StoredStage]:
        marks = epochs_of((self.bucket / "lineages").entries())
        lineages = {point_key(lineage, end): lineage for lineage, ends in marks.items() for end in ends}
        found: dict[str, list[Entry]] = {}
        for entry in (self.bucket / "stages").entries():
            found.setdefault(entry.path.parent.name, []).append(entry)
        for key, entries in found.items():
            record = next((entry for entry in entries if entry.path.name == RECORD), None)
            if record is not None and key in lineages:
                size = sum(entry.size for entry in entries)
                yield StoredStage(key, lineages[key], record.path.parent, size, record.modified)

    # Writing

    def remove(self, stage: StoredStage) -> None:
        self._record(stage.key).remove()  # with it the stage is gone; the rest means nothing
        self._drop(stage.key)
        self._remove_all(self._record(stage.key).parent.entries())

    def remove_leftovers(self) -> int:
        probe = self.bucket / "incoming" / f"now-{uuid.uuid4().hex}"
        probe.touch()  # the clock is that of the bucket
        now = next((entry.modified for entry in probe.parent.entries() if entry.path == probe), 0.0)
        probe.remove()
        entries = (self.bucket / "stages").entries()
        whole = {entry.path.parent.key for entry in entries if entry.path.name == RECORD}
        left = [entry for entry in entries if entry.path.parent.key not in whole]
        old = [entry for entry in left if now - entry.modified > DRAFTS_ARE_OLD_AFTER_SECONDS]
        self._remove_all(old)
        return len(old)

    def _remove_all(self, entries: list[Entry]) -> None:
        self.bucket.bucket.concurrently(lambda entry: entry.path.remove(), entries)

    def write(self, record: StageRecord, state: Mapping[str, Tensor]) -> bool:
        from safetensors.torch import save

        check_agreement(record)
        content = save(dict(state))
        file = StateFile(sha256(content), len(content))
        path = self._record(record.key)
        self._state(record.key, file).put(content)
        self._mark(record.lineage, record.end).put(record.key.encode())
        written = self._commit(path, record, file)
        self._forget(record.key)
        return written

    def _commit(self, path: ObjectPath, record: StageRecord, file: StateFile) -> bool:
        for _ in range(3):
            if path.create(encode(record, file)):
                return True
            first = self._found(record.key)
            if first is not None and first[1].left_out and not file.left_out:
                path.put(encode(record, file))
                self._drop(record.key)
                return True
            if first is not None:
                if first[1].sha256 != file.sha256:
                    self._state(record.key, file).remove()
                return False
        raise StoreError(f"storage: cannot write {path}: what lies there is damaged and cannot be moved away")

    # How

    def _record(self, key: str) -> ObjectPath:
        return self.bucket / "stages" / checked_key(key)[:2] / key / RECORD

    def _state(self, key: str, file: StateFile) -> ObjectPath:
        return self.bucket / "stages" / checked_key(key)[:2] / key / f"{file.sha256}.safetensors"

    def _mark(self, lineage: str, epoch: int) -> ObjectPath:
        return self.bucket / "lineages" / checked_key(lineage)[:2] / lineage / f"{epoch:06d}"

    def _ends(self, lineage: str) -> list[int]:
        return self._listed(self._mark(lineage, 0).parent).get(lineage, [])

    def _listed(self, below: ObjectPath) -> dict[str, list[int]]:
        """By lineage: the epochs at which it may have a stage."""
        return epochs_of(below.entries())

    def _found(self, key: str) -> tuple[StageRecord, StateFile] | None:
        """A stage's record, checked; None if there is none, or a damaged one, which is set aside."""
        known: tuple[StageRecord, StateFile] | None = self.bucket.bucket.known.get(checked_key(key))
        if known is not None:
            return known
        path = self._record(key)
        read = missing(path.read_tagged)
        if read is None:
            return None
        try:
            record, state = decode(read[0])
            size = missing(self._state(key, state).size)
            damage = contradiction(record, state, key, size or 0) if size else "half written: its state is missing"
        except NewerFormat as newer:
            raise StoreError(f"storage: {path} was written by a newer version: {newer}") from None
        except Damaged as error:
            damage = f"{RECORD}: {error}"
        if not damage:
            self.bucket.bucket.known[key] = packed(record), state
            self.index.put(key, tag_of(read[1], f"{state.sha256}.safetensors", state.size), Brief.of(record))
            return record, state
        return self._found(key) if self._set_aside(path, damage, read[1]) else None

    def _read_state(self, key: str, file: StateFile) -> bytes | None:
        """The bytes of a state; None if they are not what was written: then it is set aside, and its record with it."""
        path = self._state(key, file)
        read = missing(path.read_tagged)
        if read is not None and sha256(read[0]) == file.sha256:
            return read[0]
        self._drop(key)
        record = missing(self._record(key).read_tagged)
        if record is None:
            return None
        reason = "the state does not match its SHA-256" if read else "half written: its state is missing"
        mended = decode_or_none(record[0]) != file or self._set_aside(self._record(key), reason, record[1])
        found = self._found(key) if mended else None
        if found:
            return self._read_state(key, found[1])
        if read is not None:
            self._set_aside(path, reason, read[1], told=True)
        return None


def tag_of(record: str, state: str, size: int) -> str:
    """A text that is another for every other record or state. `record`: what its service tells it by."""
    return hashlib.blake2b(f"{record.strip(chr(34))} {state} {size}".encode(), digest_size=12).hexdigest()


def tags_of(entries: Collection[Entry]) -> dict[str, set[str]]:
    """Of a listing of stages, by key: the tags of the record with each state that lies beside it."""
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.path.parent.name, []).append(entry)
    return {
        key: {tag_of(one.tag, other.path.name, other.size) for one in own if one.path.name == RECORD for other in own}
        for key, own in found.items()
    }


def decode_or_none(content: bytes) -> StateFile | None:
    """The name and size of a record's state; None for a record that cannot be read."""
    try:
        return decode(content)[1]
    except (Damaged, NewerFormat):
        return None


def epochs_of(marks: Collection[Entry]) -> dict[str, list[int]]:
    """The epochs that a listing of marks names, by lineage."""
    ends: dict[str, list[int]] = {}
    for mark in marks:
        lineage, epoch = mark.path.parent.name, mark.path.name
        if is_key(lineage) and epoch.isdigit():
            ends.setdefault(lineage, []).append(int(epoch))
    return ends


def check_promises(root: ObjectPath) -> None:
    """Tries out the promises that the store relies on: one creator, conditions that hold, complete listings.

    Raises StoreError: no such bucket, no right to write, nobody there, or a service that does not keep this.
    """
    probe = root / "incoming" / f"probe-{uuid.uuid4().hex}"
    broken = []
    if not probe.create(b"first") or probe.create(b"second"):
        broken.append("of two that create one object both succeed (If-None-Match)")
    if probe.replace_if('"another"', b"third"):
        broken.append("an object is replaced although it is another by now (If-Match)")
    if probe.key not in {entry.path.key for entry in probe.parent.entries()}:
        broken.append("a listing lacks what was just written")
    probe.remove()
    if probe.is_file():
        broken.append("what was removed is still there")
    if broken:
        raise StoreError(
            f"storage: {root}: its service does not keep launches apart: {'; '.join(broken)}. Use a folder, or a "
            "service with conditional writes, such as S3 itself"
        )
