"""The user's cache folder: what can be made again, and is kept so that it need not be."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path | None:
    """The folder, which is this user's own and can be written to; None where there is none."""
    try:
        folder = Path.home() / ".cache" / "slot-sweeper"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(folder, os.W_OK) and folder.stat().st_uid == os.getuid():
            return folder
    except (OSError, RuntimeError):
        pass
    return None
