"""Objects in a bucket (S3, Google Cloud, Azure), by a path-like name: as much of a Path as the storage needs, and what
makes it safe without renames and locks.

Every write is one object, whole or not there, and seen by all who read or list after it. `create` succeeds once,
whoever tries; `replace_if` succeeds only on what was seen. An object without content counts as none: that is what is
left where something was taken away on the condition that it was still the same, as few services know a conditional
removal.
"""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import PurePosixPath
from typing import ClassVar

from sweeper.storage.base import Place, SetAside, Tag, missing, text_errors
from sweeper.storage.journal import ObjectLog
from sweeper.storage.locks import Lease, alone, shared
from sweeper.storage.service import Bucket, connected
from trainers.errors import InvalidInput, nearest

SERVICES = {"s3": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az", "abfss": "az"}  # our scheme -> obstore's
PATIENCE = timedelta(seconds=60)  # of a request in a running sweep, while a service does not answer
IMPATIENCE = timedelta(seconds=3)  # before anything has started
_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<rest>.*)", re.DOTALL)
_PLACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9_=+-][A-Za-z0-9._=+-]*)*")


@dataclass(frozen=True)
class Entry:
    """An object as a listing has it."""

    path: ObjectPath
    size: int
    modified: float  # seconds since 1970, by the service's clock
    tag: str = ""  # what tells its content from any other that it ever has


@dataclass(frozen=True)
class ObjectPath:
    """An object, or what begins with its name and a slash."""

    bucket: Bucket
    key: str = ""
    tie_seconds: ClassVar[float] = 2.0  # a look takes a request

    def __truediv__(self, name: str, /) -> ObjectPath:
        return ObjectPath(self.bucket, f"{self.key}/{name}" if self.key else name)

    def __str__(self) -> str:
        return self.bucket.name_of(self.key)

    def __lt__(self, other: ObjectPath) -> bool:
        return self.key < other.key

    @property
    def name(self) -> str:
        return PurePosixPath(self.key).name

    @property
    def stem(self) -> str:
        return PurePosixPath(self.key).stem

    @property
    def parent(self) -> ObjectPath:
        return ObjectPath(self.bucket, self.key.rpartition("/")[0])

    @property
    def on_disk(self) -> None:
        return None

    def must_answer(self) -> None:
        impatient(self).is_dir()

    # Reading

    def read_tagged(self) -> tuple[bytes, str]:
        """The content, and the tag that tells it from every other content that this object ever has."""
        content, tag = self.bucket.get(self.key)
        if not content:
            raise FileNotFoundError(errno.ENOENT, "no such object", str(self))
        return content, tag

    def read_bytes(self) -> bytes:
        return self.read_tagged()[0]

    def read_text(self) -> str:
        with text_errors(self):
            return self.read_bytes().decode()

    def size(self) -> int:
        """The size in bytes. Raises FileNotFoundError."""
        size = self.bucket.size(self.key)
        if not size:
            raise FileNotFoundError(errno.ENOENT, "no such object", str(self))
        return size

    def is_file(self) -> bool:
        try:
            return self.size() > 0
        except FileNotFoundError:
            return False

    def is_dir(self) -> bool:
        """Whether there is anything below this name."""
        return self.bucket.has_any(self.key)

    def entries(self) -> list[Entry]:
        """All objects below this name, however deep, in the order of their names."""
        entries = [
            Entry(
                ObjectPath(self.bucket, item["path"]),
                item["size"],
                item["last_modified"].timestamp(),
                str(item["e_tag"]),
            )
            for item in self.bucket.listed(self.key)
            if item["size"]
        ]
        return sorted(entries, key=lambda entry: entry.path.key)

    def names(self) -> list[str]:
        return [entry.path.name for entry in self.entries() if entry.path.parent.key == self.key]

    def folders_with(self, name: str) -> list[str]:
        folders = sorted(ObjectPath(self.bucket, prefix) for prefix in self.bucket.prefixes(self.key))
        holding = self.bucket.concurrently(lambda folder: (folder / name).is_file(), folders)
        return [folder.name for folder, holds in zip(folders, holding, strict=True) if holds]

    def contents(self, names: list[str]) -> list[bytes]:
        """The contents of these objects below this name."""
        return self.bucket.concurrently(lambda name: (self / name).read_bytes(), names)

    # Writing

    def put(self, content: bytes, *, durable: bool = True) -> None:
        self.bucket.put(self.key, content)

    def create(self, content: bytes) -> bool:
        """Creates the object. False if it exists: of all writers that try, exactly one gets True."""
        try:
            self.bucket.put(self.key, content, mode="create")
        except FileExistsError:
            try:
                found, tag = self.bucket.get(self.key)
            except FileNotFoundError:
                return self.create(content)  # it is gone again
            if not found:
                return self.replace_if(tag, content)
            # It may be our own: the answer to the first attempt was lost, and the client tried again.
            return found == content
        return True

    def replace_if(self, tag: str, content: bytes) -> bool:
        """Replaces the object if it still has this tag. False otherwise."""
        try:
            self.bucket.put(self.key, content, mode={"e_tag": tag})
        except (FileExistsError, FileNotFoundError):
            return False
        return True

    def touch(self) -> None:
        self.put(b"-")  # one without content would count as none

    def remove(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.bucket.delete(self.key)

    def remove_all(self, last: Sequence[str] = ()) -> None:
        """What its lock is made of stays, for whoever holds that."""
        ends = [self / name for name in last]
        lock = f"{self.key}/lock/"
        first = [one.path for one in self.entries() if one.path not in ends and not one.path.key.startswith(lock)]
        self.bucket.concurrently(lambda path: path.remove(), first)
        for path in ends:
            path.remove()

    def set_aside(self, target: Place, reason: str, seen: Tag) -> SetAside:
        """Copies the object, then removes it on the condition that it is still what was seen."""
        found = missing(self.read_tagged)
        if found is None:
            return SetAside.GONE
        if seen not in (found[1], None):
            return SetAside.REPLACED
        told = target.parent / f"{target.name}.reason.txt"
        target.put(found[0])
        told.put(f"{self.key}\n{reason}\n".encode())
        if self.replace_if(found[1], b""):
            return SetAside.MOVED
        target.remove()
        told.remove()
        return SetAside.REPLACED

    # Signs of life

    def sign_of_life(self) -> tuple[str, str]:
        text = self.read_text()
        return text, text

    def renew(self, content: bytes) -> bool:
        found = missing(self.read_tagged)
        return found is not None and self.replace_if(found[1], content)

    # Appending and locking

    def journal(self) -> ObjectLog:
        return ObjectLog(self)

    def lock(self) -> Lease:
        return Lease(self / "lock", note=self / "holder")

    def shared(self) -> AbstractContextManager[None]:
        return shared(self / "locks")

    def alone(self) -> AbstractContextManager[None]:
        return alone(self / "locks")


def is_url(text: str) -> bool:
    return _URL.fullmatch(text) is not None


def bucket_at(url: str, patience: timedelta = PATIENCE) -> ObjectPath:
    """The place below s3://BUCKET/PREFIX or the like. Sends no request. Raises InvalidInput.

    Credentials, region and endpoint are those of the environment or the machine, as the services' own tools find them
    (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, …; instance roles): a URL is shown, stored and sent around, so it holds none.
    """
    found = _URL.fullmatch(url)
    scheme, rest = (found["scheme"], found["rest"].rstrip("/")) if found else ("", "")
    if scheme not in SERVICES:
        known = "a folder, or s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX"
        raise InvalidInput(f"storage: {scheme}:// is none that is understood{nearest(scheme, SERVICES)}; it is {known}")
    if "@" in rest:
        raise InvalidInput(
            f"storage: a URL with a user or a key in it ({scheme}://…@…); credentials come from the environment, "
            "such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if not _PLACE.fullmatch(rest):
        raise InvalidInput(
            f"storage: {url!r} is not {scheme}://BUCKET/PREFIX of letters, digits and . _ - = +, where no part begins "
            "with a dot"
        )
    return ObjectPath(Bucket(f"{scheme}://{rest}", connected(SERVICES[scheme], rest, scheme, patience)))


def impatient(root: ObjectPath) -> ObjectPath:
    """The same place with a client that gives up after seconds where nothing answers."""
    scheme = root.bucket.url.partition(":")[0]
    return bucket_at(root.bucket.url, IMPATIENCE) if scheme in SERVICES else root
