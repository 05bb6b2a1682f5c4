"""What results hang on: the version of everything that changes numbers, and the sources that it was pinned for."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

from trainers.sources import sources_digest

# Part of every stored result's key. Raise it whenever the same recipe on the same data gives other numbers than before.
NUMERICS_VERSION = 1
# The digest of this package's sources for which the pinned results passed. To renew it once they pass again:
# python -m tests.trainers.test_numerics --renew
PINNED_SOURCES = "6b716997687705527bd2217ef46851b58e7cac78fd0625af211133cec1edc6ec"


@cache
def running_sources() -> str:
    """The digest of this package's sources as they are when a process first asks; this file does not count."""
    return sources_digest(Path(str(files("trainers"))), without=[Path(__file__)])


def unpinned_sources() -> str:
    """The same where results of these sources are not known to be the pinned ones; else empty."""
    return "" if running_sources() == PINNED_SOURCES else running_sources()


def kept_apart(sources: str) -> list[str]:
    """A line for people where results are stored under the digest of unpinned sources."""
    why = "trainers/ differs from what these results were pinned for"
    return [f"{why}: kept apart as {sources[:8]}…"] if sources else []
