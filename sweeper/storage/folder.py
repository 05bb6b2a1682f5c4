"""Files that are whole or not there: written beside, flushed to the disk, then renamed into place."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from sweeper.storage.bucket import ObjectPath
from trainers.errors import InvalidInput


class StoreError(InvalidInput, OSError):
    """The storage cannot be written or read: a full disk, a missing permission. Names the path and the cause."""


@contextlib.contextmanager
def storage_errors(doing: str, path: Path | ObjectPath) -> Iterator[None]:
    """Turn an OSError into a StoreError that says what could not be done, to which path, and why."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        cause = error.strerror or str(error)
        fault = StoreError(f"storage: cannot {doing} {error.filename or path}: {cause}")
        fault.errno = error.errno
        raise fault from error


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


def replace_file(path: Path | ObjectPath, content: bytes, scratch: Path | ObjectPath, *, durable: bool = True) -> None:
    """Put `content` at `path`, whatever was there; readers see all of the old or all of the new.

    `scratch` is a folder on the same disk. What is not durable survives the process, but not a power cut.
    """
    if isinstance(path, ObjectPath):
        path.put(content)
        return
    assert isinstance(scratch, Path)
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


def remove_old_drafts(scratch: Path, older_than_seconds: float, fresh: Path) -> int:
    """Remove what crashed writers left in a scratch folder; returns how many. Young drafts may be in use and stay.

    Their age is told by a file just written there: this machine's clock may be another than that of the disk.
    """
    removed, now = 0, fresh.stat().st_mtime
    for draft in scratch.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another driver cleans up too
            if now - draft.stat().st_mtime <= older_than_seconds:
                continue
            if draft.is_dir():
                shutil.rmtree(draft)
            else:
                draft.unlink()
            removed += 1
    return removed
