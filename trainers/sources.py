"""The digest of a package's source files: whether two folders hold the same code.

Uses the standard library only: it is sent by value to processes that may lack this package, or have another one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path

SUFFIXES = (".py", ".c")


def sources_digest(folder: Path, without: Collection[Path] = ()) -> str:
    """SHA-256 (hex) over the relative paths and bytes of all source files below a folder, in the order of the paths.

    `without`: files that do not count. Comments and layout count: simple, and never wrong about what matters.
    """
    digest = hashlib.sha256()
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.suffix in SUFFIXES}
    for name, path in sorted(found.items()):
        if path.is_file() and not path.is_symlink() and path not in without:
            content = path.read_bytes()
            digest.update(f"{name}\n{len(content)}\n".encode() + content)
    return digest.hexdigest()
