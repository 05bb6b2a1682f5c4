"""Objects in a bucket (S3, Google Cloud, Azure), by a path-like name: as much of a Path as the storage needs, and what
makes it safe without renames and locks.

Every write is one object, whole or not there, and seen by all who read or list after it. `create` succeeds once,
whoever tries; `replace_if` succeeds only on what was seen. An object without content counts as none: that is what is
left where something was taken away on the condition that it was still the same, as few services know a conditional
removal. The only file that knows obstore, whose client tries again, with back-off, where a service does not answer.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

from trainers.errors import InvalidInput, nearest

if TYPE_CHECKING:
    from obstore.store import ObjectStore as Client

SERVICES = {"s3": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az", "abfss": "az"}  # our scheme -> obstore's
AT_ONCE = 32  # requests, where many objects are read
PATIENCE = timedelta(seconds=60)  # of a request in a running sweep, while a service does not answer
IMPATIENCE = timedelta(seconds=3)  # before anything has started
_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<rest>.*)", re.DOTALL)
_PLACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9_=+-][A-Za-z0-9._=+-]*)*")
_SAID = re.compile(r"<Code>([^<]+)</Code>\s*<Message>([^<]*)</Message>")
Answer = TypeVar("Answer")
Item = TypeVar("Item")


@dataclass(frozen=True)
class Entry:
    """An object as a listing has it."""

    path: ObjectPath
    size: int
    modified: float  # seconds since 1970, by the service's clock


@dataclass(eq=False)
class Bucket:
    """The objects below one URL. Any number of threads may use it."""

    url: str
    client: Client
    known: dict[str, Any] = field(default_factory=dict)  # what was read of objects that never change

    def ask(self, path: ObjectPath | None, question: Callable[..., Answer], *words: Any, **more: Any) -> Answer:
        """What the service answers. Raises OSError with a reason in one line; FileNotFoundError for no such object."""
        from obstore import exceptions

        name = str(path) if path else self.url
        try:
            return question(self.client, *words, **more)
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error) or "ContainerNotFound" in str(error):
                raise OSError(errno.EIO, _reason(error), name) from None
            raise FileNotFoundError(errno.ENOENT, "no such object", name) from None
        except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
            raise FileExistsError(errno.EEXIST, "another one is there", name) from None
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
            raise PermissionError(errno.EACCES, _reason(error), name) from None
        except exceptions.BaseError as error:
            raise OSError(errno.EIO, _reason(error), name) from None

    def at_once(self, question: Callable[[Item], Answer], items: Iterable[Item]) -> list[Answer]:
        """The answers for many, asked side by side."""
        items = list(items)
        if len(items) < 2:
            return [question(item) for item in items]
        with ThreadPoolExecutor(min(AT_ONCE, len(items)), thread_name_prefix="objects") as pool:
            return list(pool.map(question, items))


@dataclass(frozen=True)
class ObjectPath:
    """An object, or what begins with its name and a slash."""

    bucket: Bucket
    key: str = ""

    def __truediv__(self, name: str) -> ObjectPath:
        return ObjectPath(self.bucket, f"{self.key}/{name}" if self.key else name)

    def __str__(self) -> str:
        return f"{self.bucket.url}/{self.key}" if self.key else self.bucket.url

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

    # Reading

    def read_tagged(self) -> tuple[bytes, str]:
        """The content, and the tag that tells it from every other content that this object ever has."""
        content, tag = self.bucket.ask(self, self._content_and_tag)
        if not content:
            raise FileNotFoundError(errno.ENOENT, "no such object", str(self))
        return content, tag

    def read_bytes(self) -> bytes:
        return self.read_tagged()[0]

    def read_text(self) -> str:
        return self.read_bytes().decode()

    def size(self) -> int:
        """In bytes. Raises FileNotFoundError."""
        import obstore

        size: int = self.bucket.ask(self, obstore.head, self.key)["size"]
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
        import obstore

        def anything(client: Client) -> bool:
            chunks = obstore.list(client, prefix=self.key or None, chunk_size=50)
            return any(found["size"] for chunk in chunks for found in chunk)

        return self.bucket.ask(self, anything)

    def entries(self) -> list[Entry]:
        """All objects below this name, however deep, in the order of their names."""
        import obstore

        def everything(client: Client) -> list[Any]:
            return [found for chunk in obstore.list(client, prefix=self.key or None) for found in chunk]

        found = self.bucket.ask(self, everything)
        entries = [
            Entry(ObjectPath(self.bucket, item["path"]), item["size"], item["last_modified"].timestamp())
            for item in found
            if item["size"]
        ]
        return sorted(entries, key=lambda entry: entry.path.key)

    def folders(self) -> list[ObjectPath]:
        """The first parts of the names below this one, where more follows."""
        import obstore

        found = self.bucket.ask(self, obstore.list_with_delimiter, self.key or None)
        return sorted(ObjectPath(self.bucket, prefix) for prefix in found["common_prefixes"])

    # Writing

    def put(self, content: bytes) -> None:
        """Instead of whatever was there."""
        import obstore

        self.bucket.ask(self, obstore.put, self.key, content)

    def create(self, content: bytes) -> bool:
        """If there is none yet. False if another writer was first: exactly one of all that try gets True."""
        import obstore

        try:
            self.bucket.ask(self, obstore.put, self.key, content, mode="create")
        except FileExistsError:
            try:
                found, tag = self.bucket.ask(self, self._content_and_tag)
            except FileNotFoundError:
                return self.create(content)  # it is gone again
            if not found:
                return self.replace_if(tag, content)
            # It may be our own: the answer to the first attempt was lost, and the client tried again.
            return found == content
        return True

    def replace_if(self, tag: str, content: bytes) -> bool:
        """If what has this tag is still there."""
        import obstore

        try:
            self.bucket.ask(self, obstore.put, self.key, content, mode={"e_tag": tag})
        except (FileExistsError, FileNotFoundError):
            return False
        return True

    def unlink(self, missing_ok: bool = False) -> None:
        """Removes it; services do not say whether it was there."""
        import obstore

        try:
            self.bucket.ask(self, obstore.delete, self.key)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def _content_and_tag(self, client: Client) -> tuple[bytes, str]:
        import obstore

        found = obstore.get(client, self.key)
        return found.bytes().to_bytes(), str(found.meta["e_tag"])

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing: names need no folders."""


def is_url(text: str) -> bool:
    return _URL.fullmatch(text) is not None


def bucket_at(url: str, patience: timedelta = PATIENCE) -> ObjectPath:
    """What lies below s3://BUCKET/PREFIX or the like. Asks nobody anything. Raises InvalidInput.

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
    try:
        from obstore.store import from_url
    except ImportError:
        raise InvalidInput(f"storage: {scheme}:// needs the package obstore (pip install 'slot-sweeper[s3]')") from None
    from obstore.exceptions import BaseError

    # Not all that speak S3's language know how to delete many at once.
    own: dict[str, Any] = {"disable_bulk_delete": True} if scheme == "s3" else {}
    try:
        client = from_url(
            f"{SERVICES[scheme]}://{rest}",
            **own,
            client_options={"allow_http": True, "connect_timeout": "5s", "timeout": "120s"},
            retry_config={
                "max_retries": 1000,
                "retry_timeout": patience,
                "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=3), "base": 2},
            },
        )
    except (BaseError, ValueError) as error:
        raise InvalidInput(f"storage: {scheme}://{rest}: {_reason(error)}") from None
    return ObjectPath(Bucket(f"{scheme}://{rest}", client))


def impatient(root: ObjectPath) -> ObjectPath:
    """The same for those who would rather be told after seconds that nobody answers."""
    scheme = root.bucket.url.partition(":")[0]
    return bucket_at(root.bucket.url, IMPATIENCE) if scheme in SERVICES else root


def missing(read: Callable[[], Answer]) -> Answer | None:
    """What `read` gives; None if there is no such object."""
    try:
        return read()
    except FileNotFoundError:
        return None


def _reason(error: BaseException) -> str:
    """One line for people. What a service says beyond its code and message may name keys, so that is left out."""
    text = str(error).partition("\n\nDebug source")[0]
    if "169.254.169.254" in text or "metadata.google.internal" in text:
        return "no credentials were found (in the environment, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)"
    said = _SAID.search(text)
    if said:
        return f"{said[1]}: {said[2]}"
    first = text.splitlines()[0] if text else type(error).__name__
    where = re.search(r"performing [A-Z]+ (https?://[^/\s]+)", first)
    why = first.rpartition(" - ")[2].strip()
    return f"{where[1]} does not answer as it should: {why}" if where else why
