"""All that a storage keeps of a sweep beside its stages, read and written as a whole, under another name if wanted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from search_spaces.spec import Spec
from search_spaces.yaml_reader import read_yaml
from sweeper.records.sweep_folder import SweepFile, SweepFolder
from sweeper.search.rungs import JUDGEMENTS
from sweeper.search.spec_versions import LIST, Versions, identity_of
from sweeper.storage.base import Place, missing
from trainers.errors import InvalidInput

SPEC, SEARCH = "spec.yaml", "search.log"
_VERSION = re.compile(r"versions/v([0-9]+)\.yaml")


def is_kept(name: str) -> bool:
    """Whether a file of this name, below a sweep's folder, is one that belongs to the sweep."""
    return name in (SPEC, LIST, SEARCH, JUDGEMENTS) or _VERSION.fullmatch(name) is not None


@dataclass(frozen=True)
class KeptSweep:
    """The content of a sweep's folder; journals line by line, as they lie in a folder."""

    file: SweepFile
    files: Mapping[str, bytes]  # by name below the sweep's folder

    @classmethod
    def read(cls, folder: SweepFolder) -> KeptSweep:
        """That of a sweep as it is stored now. Raises InvalidInput, as where its spec or its versions are damaged."""
        Versions.of(folder)
        names = [SPEC, LIST, *(f"versions/{name}" for name in (folder.path / "versions").names())]
        read = {name: missing(_below(folder, name).read_bytes) for name in names if is_kept(name)}
        read |= {name: _lines(folder.path / name) for name in (SEARCH, JUDGEMENTS)}
        return cls(folder.read(), {name: content for name, content in read.items() if content})

    def write(self, folder: SweepFolder) -> None:
        """Writes it below a folder that is no sweep yet, and becomes one by the last write. Raises StoreError."""
        for name, content in self.files.items():
            if name in (SEARCH, JUDGEMENTS):
                _write_lines(folder.path / name, content, together=name == SEARCH)
            else:
                _below(folder, name).put(content)
        folder.write(self.file)

    def plugins(self) -> set[str]:
        """The digests of the plug-ins that any of its specs uses."""
        specs = [read_yaml(content.decode()) for path, content in self.files.items() if path.endswith(".yaml")]
        return {entry["digest"] for spec in specs for entry in spec.get("plugins", ())}

    def renamed(self, name: str) -> KeptSweep:
        """The same sweep under another name; what it searched and decided goes on under the names that it had."""
        files = dict(self.files)
        identities: dict[int, str] = {}
        spec_hash = self.file.spec_hash
        for path, content in self.files.items():
            version = _VERSION.fullmatch(path)
            if path == SPEC or version:
                spec = _renamed_spec(content, name)
                if spec is None:  # of another version of this package: it stays as it was
                    continue
                files[path] = spec.to_yaml().encode()
                if version:
                    identities[int(version[1])] = identity_of(spec)
                else:
                    spec_hash = spec.content_hash()
        if LIST in files:
            listed = [
                {**one, "identity": identities.get(one["number"], one["identity"])} for one in json.loads(files[LIST])
            ]
            files[LIST] = json.dumps(listed, indent=1).encode()
        earlier = [*self.file.earlier_names, self.file.name]
        return KeptSweep(replace(self.file, name=name, spec_hash=spec_hash, earlier_names=earlier), files)


def _renamed_spec(content: bytes, name: str) -> Spec | None:
    try:
        return Spec.parse(read_yaml(content.decode())).model_copy(update={"name": name})
    except InvalidInput:
        return None


def _below(folder: SweepFolder, name: str) -> Place:
    place = folder.path
    for part in name.split("/"):
        place = place / part
    return place


def _lines(path: Place) -> bytes:
    """A journal line by line; in a bucket an entry may be a list of what are lines in a folder."""
    journal = path.journal()
    lines: list[bytes] = []
    for entry in journal.entries() if journal.exists() else ():
        value = json.loads(entry) if entry.startswith(b"[") else None
        lines += [entry.rstrip(b"\n")] if value is None else [json.dumps(one).encode() for one in value]
    return b"".join(line + b"\n" for line in lines)


def _write_lines(path: Place, content: bytes, together: bool) -> None:
    """Writes a journal in place of what a killed writer left. `together`: as one entry, where entries are objects."""
    if path.on_disk is not None:
        path.put(content)
        return
    for name in path.names():
        (path / name).remove()
    lines = content.splitlines(keepends=True)
    for entry in [b"[" + b",".join(lines) + b"]"] if together else lines:
        path.journal().append(entry)
