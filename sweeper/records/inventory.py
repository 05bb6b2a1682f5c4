"""All finished stages that lie in a store, and how one is removed for good."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from sweeper.records.bucket_store import epochs_of
from sweeper.records.layout import Storage
from sweeper.records.store import DRAFTS_ARE_OLD_AFTER_SECONDS, RECORD
from sweeper.stages.forest import point_key
from sweeper.storage.bucket import Entry, ObjectPath
from sweeper.storage.folder import storage_errors
from sweeper.storage.place import Place, is_key


@dataclass(frozen=True)
class StoredStage:
    """Where a finished stage lies; its record was not read."""

    key: str
    lineage: str
    folder: Place
    size: int  # bytes
    written: float  # seconds since 1970


class Inventory(Storage):
    """A store as a list of what it holds."""

    def stages(self) -> Iterator[StoredStage]:
        """Every finished stage. What does not look like one is passed over."""
        if isinstance(self.root, ObjectPath):
            yield from self._objects(self.root)
            return
        for folder in sorted((self.folder / "stages").glob("??/*/*-*")):
            lineage, (epoch, _, beginning) = folder.parent.name, folder.name.partition("-")
            if not is_key(lineage) or not epoch.isdigit():
                continue
            key = point_key(lineage, int(epoch))
            if beginning == key[:16]:
                size = sum(file.stat().st_size for file in folder.iterdir())
                yield StoredStage(key, lineage, folder, size, folder.stat().st_mtime)

    def remove(self, stage: StoredStage) -> None:
        """Whole or not at all, whenever this process dies. Raises StoreError."""
        if isinstance(stage.folder, ObjectPath):
            with storage_errors("remove", stage.folder):
                (stage.folder / RECORD).unlink(missing_ok=True)  # with it the stage is gone; the rest means nothing
                self._remove(stage.folder.entries())
            return
        draft = self.folder / "incoming" / uuid.uuid4().hex  # what is left there is cleared away by a later launch
        with storage_errors("remove", stage.folder):
            draft.parent.mkdir(parents=True, exist_ok=True)
            stage.folder.rename(draft)
            self._pointer(stage.key).unlink(missing_ok=True)
            shutil.rmtree(draft)

    def _objects(self, root: ObjectPath) -> Iterator[StoredStage]:
        with storage_errors("read", root):
            marks = epochs_of((root / "lineages").entries())
            lineages = {point_key(lineage, end): lineage for lineage, ends in marks.items() for end in ends}
            found: dict[str, list[Entry]] = {}
            for entry in (root / "stages").entries():
                found.setdefault(entry.path.parent.name, []).append(entry)
        for key, entries in found.items():
            record = next((entry for entry in entries if entry.path.name == RECORD), None)
            if record is not None and key in lineages:
                size = sum(entry.size for entry in entries)
                yield StoredStage(key, lineages[key], record.path.parent, size, record.modified)

    def remove_leftovers(self) -> int:
        """States of long ago without a record, which crashed writers left in a bucket; returns how many."""
        if not isinstance(self.root, ObjectPath):
            return 0  # a launch clears its folder of drafts
        with storage_errors("remove", self.root):
            probe = self.root / "incoming" / f"now-{uuid.uuid4().hex}"
            probe.put(b"-")  # the clock is that of the bucket
            now = next((entry.modified for entry in probe.parent.entries() if entry.path == probe), 0.0)
            probe.unlink()
            entries = (self.root / "stages").entries()
            whole = {entry.path.parent.key for entry in entries if entry.path.name == RECORD}
            old = [
                entry
                for entry in entries
                if entry.path.parent.key not in whole and now - entry.modified > DRAFTS_ARE_OLD_AFTER_SECONDS
            ]
            self._remove(old)
        return len(old)

    def _remove(self, entries: list[Entry]) -> None:
        assert isinstance(self.root, ObjectPath)
        self.root.bucket.at_once(lambda entry: entry.path.unlink(missing_ok=True), entries)
