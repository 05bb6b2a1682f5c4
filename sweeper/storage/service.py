"""What a bucket's service is asked, in its own words. The only file that knows obstore.

Its client tries again, with back-off, where a service does not answer.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from sweeper.storage.base import Answer, StoreError
from trainers.errors import InvalidInput

if TYPE_CHECKING:
    from obstore.store import ObjectStore as Client

CONCURRENT_REQUESTS = 32  # requests, where many objects are read
_SAID = re.compile(r"<Code>([^<]+)</Code>\s*<Message>([^<]*)</Message>")
Item = TypeVar("Item")


@dataclass(eq=False)
class Bucket:
    """The objects below one URL. Any number of threads may use it.

    Whatever is asked raises FileNotFoundError for no such object, FileExistsError where a condition does not hold, and
    StoreError for all else.
    """

    url: str
    client: Client
    known: dict[str, Any] = field(default_factory=dict)  # what was read of objects that never change

    def name_of(self, key: str) -> str:
        """The name of an object in messages."""
        return f"{self.url}/{key}" if key else self.url

    def get(self, key: str) -> tuple[bytes, str]:
        """The content, and the tag that tells it from every other content that this object ever has."""
        import obstore

        def content_and_tag(client: Client) -> tuple[bytes, str]:
            found = obstore.get(client, key)
            return found.bytes().to_bytes(), str(found.meta["e_tag"])

        return self._ask("read", key, content_and_tag)

    def size(self, key: str) -> int:
        """The size in bytes."""
        import obstore

        return int(self._ask("read", key, obstore.head, key)["size"])

    def has_any(self, key: str) -> bool:
        """Whether there is anything below this name."""
        import obstore

        def anything(client: Client) -> bool:
            chunks = obstore.list(client, prefix=key or None, chunk_size=50)
            return any(found["size"] for chunk in chunks for found in chunk)

        return self._ask("read", key, anything)

    def listed(self, key: str) -> list[Any]:
        """All objects below this name, however deep: path, size, last_modified."""
        import obstore

        def everything(client: Client) -> list[Any]:
            return [found for chunk in obstore.list(client, prefix=key or None) for found in chunk]

        return self._ask("read", key, everything)

    def prefixes(self, key: str) -> list[str]:
        """The names directly below this one that have objects below them."""
        import obstore

        return list(self._ask("read", key, obstore.list_with_delimiter, key or None)["common_prefixes"])

    def put(self, key: str, content: bytes, **condition: Any) -> None:
        import obstore

        self._ask("write to", key, obstore.put, key, content, **condition)

    def delete(self, key: str) -> None:
        """Removes an object; services do not say whether it existed."""
        import obstore

        self._ask("remove", key, obstore.delete, key)

    def concurrently(self, question: Callable[[Item], Answer], items: Iterable[Item]) -> list[Answer]:
        """The answers for many items, asked side by side."""
        items = list(items)
        if len(items) < 2:
            return [question(item) for item in items]
        with ThreadPoolExecutor(min(CONCURRENT_REQUESTS, len(items)), thread_name_prefix="objects") as pool:
            return list(pool.map(question, items))

    def _ask(self, doing: str, key: str, question: Callable[..., Answer], *words: Any, **more: Any) -> Answer:
        """What the service answers."""
        from obstore import exceptions

        path = self.name_of(key)
        try:
            return question(self.client, *words, **more)
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error) or "ContainerNotFound" in str(error):
                raise _refused(doing, path, errno.EIO, error) from None
            raise FileNotFoundError(errno.ENOENT, "no such object", path) from None
        except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
            raise FileExistsError(errno.EEXIST, "another one is there", path) from None
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
            raise _refused(doing, path, errno.EACCES, error) from None
        except exceptions.BaseError as error:
            raise _refused(doing, path, errno.EIO, error) from None


def connected(service: str, rest: str, scheme: str, patience: timedelta) -> Client:
    """The client for the bucket of a URL. Sends no request. Raises InvalidInput."""
    try:
        from obstore.store import from_url
    except ImportError:
        raise InvalidInput(f"storage: {scheme}:// needs the package obstore (pip install 'slot-sweeper[s3]')") from None
    from obstore.exceptions import BaseError

    # Not all that speak S3's language know how to delete many at once.
    own: dict[str, Any] = {"disable_bulk_delete": True} if scheme == "s3" else {}
    try:
        return from_url(
            f"{service}://{rest}",
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


def _refused(doing: str, path: str, number: int, error: BaseException) -> StoreError:
    return StoreError.of(doing, path, OSError(number, _reason(error)))


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
