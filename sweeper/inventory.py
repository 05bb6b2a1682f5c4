"""All finished stages that lie in a store, and how one is removed for good."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sweeper.atomic import storage_errors
from sweeper.forest import point_key
from sweeper.storage import Storage, is_key


@dataclass(frozen=True)
class StoredStage:
    """Where a finished stage lies; its record was not read."""

    key: str
    lineage: str
    folder: Path
    size: int  # bytes
    written: float  # seconds since 1970


class Inventory(Storage):
    """A store as a list of what it holds."""

    def stages(self) -> Iterator[StoredStage]:
        """Every finished stage. What does not look like one is passed over."""
        for folder in sorted((self.root / "stages").glob("??/*/*-*")):
            lineage, (epoch, _, beginning) = folder.parent.name, folder.name.partition("-")
            if not is_key(lineage) or not epoch.isdigit():
                continue
            key = point_key(lineage, int(epoch))
            if beginning == key[:16]:
                size = sum(file.stat().st_size for file in folder.iterdir())
                yield StoredStage(key, lineage, folder, size, folder.stat().st_mtime)

    def remove(self, stage: StoredStage) -> None:
        """Whole or not at all, whenever this process dies. Raises StoreError."""
        draft = self._incoming / uuid.uuid4().hex  # what is left there is cleared away by a later launch
        with storage_errors("remove", stage.folder):
            self._incoming.mkdir(parents=True, exist_ok=True)
            stage.folder.rename(draft)
            self._pointer(stage.key).unlink(missing_ok=True)
            shutil.rmtree(draft)
