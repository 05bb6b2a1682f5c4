"""A whole sweep as one file, a zip: its spec, versions, records, states; checked by its hashes before any of it counts.

manifest.json                           the format, the sweep's name, the SHA-256 of all the others and of itself
sweep/{sweep.json,spec.yaml,…}          what lies in the sweep's folder
stages/<key>/{record.json,state.safetensors}
plugins/<digest>/…                      the plug-ins that it needs
partials/<key>, failures/<key>.json     stages on their way, and those that failed
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sweeper.plugins.stored import HOME as PLUGINS
from sweeper.plugins.stored import keep_parts, parts_of
from sweeper.records.environment import sources
from sweeper.records.stage_record import (
    Damaged,
    NewerFormat,
    StageRecord,
    StateFile,
    canonical,
    decode,
    decode_partial,
    encode,
    encode_partial,
    sha256,
)
from sweeper.records.store import RECORD, STATE, StateLeftOut, Store, contradiction
from sweeper.records.sweep_folder import SweepFile
from sweeper.stages.faults import StorageFault
from sweeper.storage.base import is_key, storage_errors
from sweeper.storage.tracking_address import IN_THE_STORAGE
from sweeper.sweeps.kept import SPEC, KeptSweep, is_kept
from trainers.errors import InvalidInput

FORMAT = 1
MANIFEST, SWEEP = "manifest.json", "sweep/sweep.json"
# What zipfile raises for damage: a flipped bit may say "encrypted" or "another compression" (RuntimeError), say.
UNREADABLE = (KeyError, ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
BEGINNING = b"PK\x03\x04"  # of every zip that holds something


def is_archive(path: Path) -> bool:
    """Whether a file begins as a whole sweep does. Raises InvalidInput where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(BEGINNING)) == BEGINNING
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read: {error.strerror}") from None


def write_archive(path: Path, sweep: KeptSweep, keys: Collection[str], store: Store, states: bool = True) -> int:
    """Writes a sweep with what is stored of these stages; returns how many are finished. Whole, or not at all.

    Without states only results go along: the file is a hundredth as large, and where it comes nothing can go on from
    the end of a stage, nor be made a ticket.
    Where it is tracked and where its data lie is left out: both are of this machine. Raises InvalidInput.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    hashes: dict[str, str] = {}
    file = replace(sweep.file, tracking=IN_THE_STORAGE, data_dir=None)
    try:
        with storage_errors("write", path):
            with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED, compresslevel=1 if states else 9) as archive:

                def add(name: str, content: bytes) -> None:
                    archive.writestr(name, content)
                    hashes[name] = sha256(content)

                add(SWEEP, json.dumps(asdict(file), indent=1).encode())
                for name, content in sweep.files.items():
                    add(f"sweep/{name}", content)
                for digest in sorted(sweep.plugins()):
                    for name, content in parts_of(store.root, digest).items():
                        add(name, content)
                for name, content in _of_stages(sorted(keys), store, states):
                    add(name, content)
                archive.writestr(MANIFEST, _manifest(sweep.file.name, hashes))
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return sum(name.endswith(f"/{RECORD}") for name in hashes)


def _manifest(sweep: str, hashes: Mapping[str, str]) -> bytes:
    content = {"format": FORMAT, "sweep": sweep, "written_by": sources()["version"], "sha256_of": dict(hashes)}
    return canonical({**content, "sha256": sha256(canonical(content))})


def _of_stages(keys: Collection[str], store: Store, states: bool) -> Iterator[tuple[str, bytes]]:
    from safetensors.torch import save

    failures = store.failures()
    for key in keys:
        if (record := store.read(key)) is not None:
            try:
                state = save(store.read_state(key) if states else {})
            except StateLeftOut:
                state = save({})
            except StorageFault as error:
                raise InvalidInput(f"storage: {error}; the same again leaves it out") from None
            yield f"stages/{key}/{RECORD}", encode(record, StateFile(sha256(state), len(state)))
            yield f"stages/{key}/{STATE}", state
            continue
        if states and store.partial_record(key) and (partial := store.read_partial(key)):
            yield f"partials/{key}", encode_partial(partial[0], save(partial[1]))
        if key in failures:
            yield f"failures/{key}.json", json.dumps(failures[key], indent=1).encode()


@dataclass(frozen=True)
class Brought:
    """How many finished stages came with a sweep."""

    new: int
    known: int  # which the storage had already


class Archive:
    """A file with a whole sweep, open to be read. Raises InvalidInput: damaged, of a newer format, no such file."""

    def __init__(self, path: Path) -> None:
        """Reads all of it, and compares every part with its hash."""
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except UNREADABLE as error:
            raise self._damaged(str(error) or type(error).__name__) from None
        self._hashes = self._checked_manifest()
        for name in self._hashes:
            self._read(name)
        self.sweep = self._sweep()
        self._check_stages()

    def bring_in(self, store: Store) -> Brought:
        """Stores its stages, finished or not; those that are there already stay. Raises StoreError."""
        from safetensors.torch import load

        keep_parts(store.root, {name: self._read(name) for name in self._hashes if name.startswith(f"{PLUGINS}/")})
        new = known = 0
        for key in self._finished():
            record, _ = self._record(key)
            if store.write(record, load(self._read(f"stages/{key}/{STATE}"))):
                new += 1
            else:
                known += 1
        for key in self._keys("partials/", ""):
            if not store.has(key):
                record, state = decode_partial(self._read(f"partials/{key}"))
                store.write_partial(key, record, load(state))
        for key in self._keys("failures/", ".json"):
            if not store.has(key):
                store.write_failure(key, json.loads(self._read(f"failures/{key}.json")))
        return Brought(new, known)

    def close(self) -> None:
        self._zip.close()

    def _damaged(self, why: str) -> InvalidInput:
        return InvalidInput(f"{self.path}: damaged: {why}; nothing of it was brought in")

    def _checked_manifest(self) -> dict[str, str]:
        try:
            content = json.loads(self._zip.read(MANIFEST))
            newer = isinstance(content["format"], int) and content["format"] > FORMAT
        except (TypeError, *UNREADABLE) as error:
            raise self._damaged(f"its {MANIFEST} cannot be read ({error})") from None
        if newer:
            raise InvalidInput(
                f"{self.path}: format: {content['format']} was written by a newer version "
                f"({content.get('written_by', 'unknown')}), and this one reads up to {FORMAT}"
            )
        said = content.pop("sha256", None)
        if said != sha256(canonical(content)):
            raise self._damaged(f"its {MANIFEST} does not match its own SHA-256")
        hashes: dict[str, str] = content["sha256_of"]
        if lost := {*hashes, MANIFEST} ^ {*self._zip.namelist()}:
            raise self._damaged(f"{min(lost)} is missing, or was added")
        return hashes

    def _read(self, name: str) -> bytes:
        """A part, which is what was written. Raises InvalidInput."""
        try:
            content = self._zip.read(name)
        except UNREADABLE as error:
            raise self._damaged(f"{name}: {error}") from None
        if sha256(content) != self._hashes.get(name):
            raise self._damaged(f"{name} does not match its SHA-256")
        return content

    def _sweep(self) -> KeptSweep:
        names = [name.removeprefix("sweep/") for name in self._hashes if name.startswith("sweep/") and name != SWEEP]
        if SPEC not in names or SWEEP not in self._hashes or not all(map(is_kept, names)):
            raise self._damaged(f"it lacks {SPEC}, or has what no sweep has: {', '.join(sorted(names))}")
        try:
            fields: dict[str, Any] = json.loads(self._read(SWEEP))
            file = SweepFile(**fields)
        except (ValueError, TypeError) as error:
            raise self._damaged(f"{SWEEP}: {error}") from None
        return KeptSweep(file, {name: self._read(f"sweep/{name}") for name in names})

    def _keys(self, folder: str, ending: str) -> list[str]:
        names = (name.removeprefix(folder) for name in self._hashes if name.startswith(folder))
        return [name.removesuffix(ending) for name in names if is_key(name.removesuffix(ending))]

    def _finished(self) -> list[str]:
        return self._keys("stages/", f"/{RECORD}")

    def _record(self, key: str) -> tuple[StageRecord, StateFile]:
        return decode(self._read(f"stages/{key}/{RECORD}"))

    def _check_stages(self) -> None:
        """That records and states agree, and each lies under the key that follows from all that led to it."""
        for key in self._finished():
            name = f"stages/{key}/{RECORD}"
            try:
                record, state = self._record(key)
            except NewerFormat as newer:
                raise InvalidInput(f"{self.path}: {name} was written by a newer version: {newer}") from None
            except Damaged as error:
                raise self._damaged(f"{name}: {error}") from None
            content = self._read(f"stages/{key}/{STATE}")
            fault = contradiction(record, state, key, len(content))
            if fault or sha256(content) != state.sha256:
                raise self._damaged(fault or f"stages/{key}/{STATE} is not the state that its record names")
        for key in self._keys("partials/", ""):
            try:
                decode_partial(self._read(f"partials/{key}"))
            except Damaged as error:
                raise self._damaged(f"partials/{key}: {error}") from None
