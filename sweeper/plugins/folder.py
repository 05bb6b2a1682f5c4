"""A plug-in's folder as its bytes: its digest, its declared version, and a copy of it that nobody edits."""

from __future__ import annotations

import ast
import atexit
import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from trainers.cache_folder import cache_folder
from trainers.errors import InvalidInput
from trainers.plugins.known import VERSION, WORD

ENTRY = "__init__.py"
LEFT_OUT = "__pycache__"  # and whatever is hidden
MOST_BYTES = 32 << 20  # it is code, and is kept with every edit
LIKE_PACKAGES = ("trainers", "search_spaces", "sweeper", "reports")


@dataclass(frozen=True)
class PlugInFolder:
    """The files of a plug-in, by their paths in it."""

    name: str
    files: Mapping[str, bytes]

    @classmethod
    def read(cls, folder: Path) -> PlugInFolder:
        """Those of a folder, named as it is. Raises InvalidInput where it cannot be a plug-in."""
        path = folder.absolute()
        name = Path(os.path.normpath(path)).name
        if not path.is_dir() or not (path / ENTRY).is_file():
            what = "is no folder" if not path.is_dir() else f"has no {ENTRY}"
            raise InvalidInput(f"plugins: {folder} {what}; docs/plugins.md has one that works")
        if not WORD.fullmatch(name) or name in LIKE_PACKAGES:
            raise InvalidInput(
                f"plugins: {name!r}: a plug-in is called as its folder, and a name has small letters, digits and '_', "
                f"a letter first, and is none of {', '.join(LIKE_PACKAGES)}"
            )
        files: dict[str, bytes] = {}
        for file in sorted(path.rglob("*")):
            parts = file.relative_to(path).parts
            if not file.is_dir() and not any(part == LEFT_OUT or part.startswith(".") for part in parts):
                files["/".join(parts)] = _read(file)
        if sum(map(len, files.values())) > MOST_BYTES:
            raise InvalidInput(f"plugins: {folder} has more than {MOST_BYTES >> 20} MiB; data lie in --data-dir")
        return cls(name, files)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over the paths and bytes of all files, in the order of the paths."""
        digest = hashlib.sha256()
        for name, content in sorted(self.files.items()):
            digest.update(f"{name}\n{len(content)}\n".encode() + content)
        return digest.hexdigest()

    @cached_property
    def version(self) -> str:
        """What it declares by `version = "1"`, read without running it; empty where it declares none. InvalidInput."""
        try:
            tree = ast.parse(self.files[ENTRY])
        except (SyntaxError, ValueError) as error:
            line = f":{error.lineno}" if isinstance(error, SyntaxError) else ""
            raise InvalidInput(f"plugins: {self.name}/{ENTRY}{line}: {getattr(error, 'msg', error)}") from None
        for node in tree.body:
            if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["version"]:
                value = node.value.value if isinstance(node.value, ast.Constant) else None
                if isinstance(value, str) and VERSION.fullmatch(value):
                    return value
                raise InvalidInput(
                    f"plugins: {self.name}/{ENTRY}:{node.lineno}: version: a short word such as "
                    f'"1", said as it stands, not {ast.unparse(node.value)}'
                )
        return ""

    def copy(self) -> Path:
        """A folder with these very files, made once: in the user's cache, or for this process alone."""
        home = _copies() / self.digest
        if (home / self.name / ENTRY).is_file() and PlugInFolder.read(home / self.name).digest == self.digest:
            return home / self.name
        draft = Path(tempfile.mkdtemp(dir=_copies(), prefix=".draft-"))
        for name, content in self.files.items():
            file = draft / self.name / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        shutil.rmtree(home, ignore_errors=True)
        try:
            draft.rename(home)
        except OSError:  # another process was quicker, with the same files
            shutil.rmtree(draft, ignore_errors=True)
        return home / self.name


def _read(file: Path) -> bytes:
    if file.is_symlink() or not file.is_file():
        raise InvalidInput(f"plugins: {file}: a plug-in holds plain files, for its digest stands for all of it")
    try:
        return file.read_bytes()
    except OSError as error:
        raise InvalidInput(f"plugins: cannot read {file}: {error.strerror}") from None


def _copies() -> Path:
    kept = cache_folder()
    if kept is None:
        return _for_this_process()
    folder = kept / "plugins"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@cache
def _for_this_process() -> Path:
    folder = tempfile.mkdtemp(prefix="sweeper-plugins-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
