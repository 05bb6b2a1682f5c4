"""A place is a folder or a bucket; what both are asked for."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from sweeper.storage.bucket import ObjectPath, bucket_at, impatient, is_url
from sweeper.storage.folder import storage_errors

Place = Path | ObjectPath


_KEY = re.compile(r"[0-9a-f]{64}")


Identity = tuple[int, int] | str | None


def identity(path: Path) -> Identity:
    """What tells a file or folder from another of the same name; None if there is none."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_dev, status.st_ino


def read_seen(path: Place) -> tuple[bytes, Identity]:
    """A file's content, and what tells that file from another of the same name. Raises OSError."""
    if isinstance(path, ObjectPath):
        return path.read_tagged()
    seen = identity(path)  # before it is read: whatever comes later is another one
    return path.read_bytes(), seen


def storage_at(text: str) -> Place:
    """The folder or the bucket that somebody names. Raises InvalidInput for a URL that is none."""
    if text.startswith("file://"):
        text = unquote(text.removeprefix("file://"))
    return bucket_at(text) if is_url(text) else Path(text).expanduser().absolute()


def storage_that_answers(text: str) -> Place:
    """The same; a bucket is asked whether it is there. Raises InvalidInput."""
    place = storage_at(text)
    if isinstance(place, ObjectPath):
        with storage_errors("read", place):
            impatient(place).is_dir()
    return place


def is_key(text: str) -> bool:
    """Whether this has the form of a key or lineage."""
    return _KEY.fullmatch(text) is not None


def checked_key(key: str) -> str:
    """The key or lineage itself, if it is one: nothing else becomes part of a path."""
    if not is_key(key):
        raise ValueError(f"not a key or lineage (64 hexadecimal digits): {key!r}")
    return key
