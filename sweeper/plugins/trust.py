"""Who agreed to run which plug-in: this user, on this machine, by the digest of its files."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from trainers.cache_folder import cache_folder


def is_agreed(digest: str) -> bool:
    """Whether this user has agreed to run these very files."""
    place = _place(digest)
    return place is not None and place.exists()


def remember(digest: str) -> None:
    """Notes that this user agrees to run these files; where nothing can be kept, they are asked about again."""
    place = _place(digest)
    if place is not None:
        with suppress(OSError):
            place.parent.mkdir(mode=0o700, exist_ok=True)
            place.touch()


def _place(digest: str) -> Path | None:
    kept = cache_folder()
    return kept / "agreed_plugins" / digest if kept else None
