"""A place: a folder or a bucket, or what lies in one under a name. What both are asked for, and how they refuse.

`sweeper.storage.folder` and `sweeper.storage.bucket` are the two kinds of place; `sweeper.storage.place` opens them.
What is not there raises FileNotFoundError; whatever else cannot be done raises StoreError.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from enum import Enum
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar

from trainers.errors import InvalidInput

Answer = TypeVar("Answer")
Tag = tuple[int, int] | str | None  # what tells a file or object from another of the same name; None: there is none
_KEY = re.compile(r"[0-9a-f]{64}")


class StoreError(InvalidInput, OSError):
    """The storage cannot be written or read: a full disk, a missing permission. Names the path and the cause."""

    @classmethod
    def of(cls, doing: str, path: object, error: OSError) -> StoreError:
        """The error that says what could not be done, to which path, and why."""
        cause = error.strerror or str(error)
        fault = cls(f"storage: cannot {doing} {error.filename or path}: {cause}")
        fault.errno, fault.strerror = error.errno, cause
        return fault

    def __str__(self) -> str:
        return str(self.args[0])  # an OSError would put its number and reason instead


@contextlib.contextmanager
def storage_errors(doing: str, path: object) -> Iterator[None]:
    """Turn an OSError into a StoreError that says what could not be done, to which path, and why."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        fault = StoreError.of(doing, path, error)
        raise fault from error


@contextlib.contextmanager
def text_errors(path: object) -> Iterator[None]:
    """Turns what cannot be read as UTF-8 into a StoreError that names the path and the byte."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise StoreError(f"storage: {path} is not UTF-8 text (byte {error.start + 1}: {error.reason})") from None


class SetAside(Enum):
    """What became of something damaged that was to be set aside."""

    MOVED = "it was moved"
    GONE = "another process was quicker"
    REPLACED = "another one is there by now, which stays"


class Journal(Protocol):
    """A list of entries in the order in which they were appended. Each is whole or absent."""

    def exists(self) -> bool:
        """Whether anything was appended."""

    def mend(self) -> None:
        """Removes what a killed writer left half written. Only the one process that may write calls it."""

    def entries(self) -> list[bytes]:
        """All entries so far."""

    def append(self, content: bytes) -> None:
        """Adds an entry after all others; it ends with the end of a line."""


class Lock(Protocol):
    """A lock that at most one process holds at a time."""

    def take(self, note: str = "") -> bool:
        """Takes the lock and leaves a note of who holds it. False where another process holds it."""

    def release(self) -> None:
        """Releases the lock."""

    def is_held(self, patience_seconds: float) -> bool:
        """Whether any process holds it. In a bucket it takes up to `patience_seconds` to see that none does."""

    def holder(self) -> str:
        """The note of the last process that took it; empty if there is none."""


class Place(Protocol):
    """A folder or a bucket, or what lies in one under a name."""

    tie_seconds: ClassVar[
        float
    ]  # of two that claim at once, how long the one that prevails waits for the other to step back

    @property
    def on_disk(self) -> Path | None:
        """The path in this machine's file system, for what needs one (SQLite, say); None in a bucket."""

    @property
    def name(self) -> str: ...

    @property
    def stem(self) -> str: ...

    @property
    def parent(self) -> Place: ...

    def __truediv__(self, name: str, /) -> Place: ...

    def must_answer(self) -> None:
        """Raise StoreError, within seconds, where a service does not answer or refuses to."""

    # Reading

    def is_file(self) -> bool:
        """Whether something lies under this name."""

    def is_dir(self) -> bool:
        """Whether there is anything below this name, or may be."""

    def read_bytes(self) -> bytes: ...

    def read_text(self) -> str: ...

    def read_tagged(self) -> tuple[bytes, Tag]:
        """The content, and what tells it from whatever else comes to lie under this name."""

    def names(self) -> list[str]:
        """The names of what lies directly below, sorted; none where there is nothing."""

    def folders_with(self, name: str) -> list[str]:
        """The names of the folders directly below that hold a file of this name, sorted."""

    # Writing

    def put(self, content: bytes, *, durable: bool = True) -> None:
        """Writes the content in place of whatever was there: readers see all of the old or all of the new.

        What is not durable survives the process, but not a power cut.
        """

    def touch(self) -> None:
        """Creates it as an empty file: only its name means something."""

    def remove(self) -> None:
        """Removes it, if it is there."""

    def remove_all(self, last: Sequence[str] = ()) -> None:
        """Removes all that lies below this name: in a folder at once, in a bucket these names after all others."""

    def set_aside(self, target: Place, reason: str, seen: Tag) -> SetAside:
        """Moves what was `seen` under this name, and nothing else, to `target`, with the reason beside it."""

    # Signs of life

    def sign_of_life(self) -> tuple[str, int | str]:
        """The content of a sign of life, and a value that changes with every renewal."""

    def renew(self, content: bytes) -> bool:
        """Renews a sign of life; in a bucket by new content. False if it is not there any more."""

    # Appending and locking

    def journal(self) -> Journal:
        """The journal under this name."""

    def lock(self) -> Lock:
        """The lock in this folder."""

    def shared(self) -> AbstractContextManager[None]:
        """Holds a shared lock on this folder, beside any number of others; waits while one holds it `alone`."""

    def alone(self) -> AbstractContextManager[None]:
        """Holds an exclusive lock on this folder; waits while any other lock on it is held."""


def missing(read: Callable[[], Answer]) -> Answer | None:
    """What `read` returns; None where it raises FileNotFoundError."""
    try:
        return read()
    except FileNotFoundError:
        return None


def is_key(text: str) -> bool:
    """Whether this has the form of a key or lineage."""
    return _KEY.fullmatch(text) is not None


def checked_key(key: str) -> str:
    """The key or lineage unchanged. Raises ValueError for anything else, which must not become part of a path."""
    if not is_key(key):
        raise ValueError(f"not a key or lineage (64 hexadecimal digits): {key!r}")
    return key
