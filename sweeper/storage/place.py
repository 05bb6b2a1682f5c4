"""Places by what people call them: a folder by its path, a bucket by its URL."""

from __future__ import annotations

from urllib.parse import unquote

from sweeper.storage.base import Place
from sweeper.storage.bucket import bucket_at, is_url
from sweeper.storage.folder import Folder

__all__ = ["Place", "storage_at", "storage_that_answers"]


def storage_at(text: str) -> Place:
    """The folder or the bucket of this path or URL. Raises InvalidInput for a URL of no bucket."""
    if text.startswith("file://"):
        text = unquote(text.removeprefix("file://"))
    return bucket_at(text) if is_url(text) else Folder(text).expanduser().absolute()


def storage_that_answers(text: str) -> Place:
    """The folder or the bucket of this path or URL, after a bucket has answered. Raises InvalidInput."""
    place = storage_at(text)
    place.must_answer()
    return place
