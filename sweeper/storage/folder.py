"""Folders on a disk. Files are whole or not there: written beside, flushed to the disk, then renamed into place."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path, PosixPath
from typing import Any, ClassVar

from sweeper.storage.base import Place, SetAside, StoreError, Tag, storage_errors, text_errors
from sweeper.storage.journal import FileJournal
from sweeper.storage.locks import FileLock, file_lock

DRAFTS = "incoming"  # in a storage, on the same disk as all the rest


class Folder(PosixPath):
    """A folder, or what lies in it under a name; it knows in which storage, for that is where drafts go."""

    tie_seconds: ClassVar[float] = 0.25
    _storage: Folder | None = None

    def __truediv__(self, name: Any) -> Folder:
        below = super().__truediv__(name)
        below._storage = self._storage or self
        return below

    @property
    def on_disk(self) -> Folder:
        return self

    @property
    def storage(self) -> Folder:
        assert self._storage is not None, f"{self} was not reached from its storage"
        return self._storage

    def must_answer(self) -> None:
        """Raises StoreError where a file lies there; folders are made when something is written."""
        if self.exists() and not self.is_dir():
            raise StoreError(f"storage: {self} is a file, and a storage is a folder")

    # Reading

    def read_bytes(self) -> bytes:
        with _but_absence("read", self):
            return super().read_bytes()

    def read_text(self, encoding: str | None = None, errors: str | None = None, newline: str | None = None) -> str:
        with (
            _but_absence("read", self),
            text_errors(self),
            self.open(encoding=encoding or "utf-8", errors=errors, newline=newline) as file,
        ):
            return file.read()

    def read_tagged(self) -> tuple[bytes, Tag]:
        seen = identity(self)  # before it is read: whatever comes later is another one
        return self.read_bytes(), seen

    def names(self) -> list[str]:
        try:
            with _but_absence("read", self):
                return sorted(os.listdir(self))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def folders_with(self, name: str) -> list[str]:
        return sorted(path.parent.name for path in self.glob(f"*/{name}"))

    # Writing

    def make(self) -> None:
        """Makes the folder, unless it exists."""
        with storage_errors("write to", self):
            os.makedirs(self, exist_ok=True)

    def put(self, content: bytes, *, durable: bool = True) -> None:
        with storage_errors("write to", self):
            replace_file(self, content, self.storage / DRAFTS, durable=durable)

    def touch(self, mode: int = 0o666, exist_ok: bool = True) -> None:
        self.parent.make()
        with storage_errors("write to", self):
            super().touch(mode, exist_ok)

    def remove(self) -> None:
        with storage_errors("remove", self):
            self.unlink(missing_ok=True)

    def remove_all(self, last: Sequence[str] = ()) -> None:
        draft = self.storage / DRAFTS / uuid.uuid4().hex  # what is left there is cleared away by a later launch
        draft.parent.make()
        with storage_errors("remove", self), contextlib.suppress(FileNotFoundError):
            self.rename(draft)
            sync_folder(self.parent)
            shutil.rmtree(draft)

    def set_aside(self, target: Place, reason: str, seen: Tag) -> SetAside:
        assert isinstance(target, Folder)
        if identity(self) not in (seen, None):
            return SetAside.REPLACED
        target.parent.make()
        try:
            with _but_absence("write to", target):
                self.rename(target)
                if identity(target) != seen:  # it was replaced in the last moment
                    _put_back(target, self)
                    return SetAside.REPLACED
                Path(f"{target}.reason.txt").write_text(f"{self.relative_to(target.storage)}\n{reason}\n")
        except FileNotFoundError:
            return SetAside.GONE
        return SetAside.MOVED

    def remove_old_drafts(self, older_than_seconds: float) -> None:
        """Checks that this storage can be written, and removes old drafts of crashed writers; young ones may be in use.

        Their age is told by a file just written there: this machine's clock may be another than that of the disk.
        """
        fresh = self / DRAFTS / "probe"
        fresh.put(b"")
        with storage_errors("write to", self):
            now = fresh.stat().st_mtime
            for draft in (self / DRAFTS).iterdir():
                with contextlib.suppress(FileNotFoundError):  # another driver cleans up too
                    if now - draft.stat().st_mtime <= older_than_seconds:
                        continue
                    if draft.is_dir():
                        shutil.rmtree(draft)
                    else:
                        draft.unlink()

    # Signs of life

    def sign_of_life(self) -> tuple[str, int | str]:
        with _but_absence("read", self), self.open() as file:  # opening asks a network file system for what is new
            return file.read(), os.fstat(file.fileno()).st_mtime_ns

    def renew(self, content: bytes) -> bool:
        try:
            with _but_absence("write to", self):
                os.utime(self)
        except FileNotFoundError:
            return False
        return True

    # Appending and locking

    def journal(self) -> FileJournal:
        return FileJournal(self)

    def lock(self) -> FileLock:
        return FileLock(self / "lock")

    def shared(self) -> AbstractContextManager[None]:
        return file_lock(self / "lock", exclusive=False)

    def alone(self) -> AbstractContextManager[None]:
        return file_lock(self / "lock", exclusive=True)


def storage_of(place: Place | Path) -> Place:
    """The storage that a place is, or that a mere path names."""
    return Folder(place) if isinstance(place, Path) else place


def identity(path: Path) -> tuple[int, int] | None:
    """A value that tells a file or folder from another one of the same name; None if there is none."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_dev, status.st_ino


@contextlib.contextmanager
def _but_absence(doing: str, path: Path) -> Iterator[None]:
    """The same as `storage_errors`, but what is not there stays FileNotFoundError (or NotADirectoryError)."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        with storage_errors(doing, path):
            raise error


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


def sync_folder(folder: Path) -> None:
    """Flush a folder's names to the disk, so that a rename in it survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_synced(path: Path, content: bytes) -> None:
    """Write a new file and flush it to the disk. Not atomic by itself: for files in a folder that is renamed later."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, content: bytes, scratch: Path, *, durable: bool = True) -> None:
    """Put `content` at `path`, whatever was there; readers see all of the old or all of the new. Raises OSError.

    `scratch` is a folder on the same disk. What is not durable survives the process, but not a power cut.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = scratch / uuid.uuid4().hex
    try:
        if durable:
            write_synced(draft, content)
        else:
            draft.write_bytes(content)
        draft.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)
