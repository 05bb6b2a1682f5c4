"""What launches ask of finished stages, kept apart from their epochs: in memory, and in a file beside a sweep.

A cache, never the truth. An entry counts only as long as the files of its stage are the very ones that it was made
from, by all that the disk or the bucket tells of them; a file of entries only if every byte is as written. Whatever is
doubted is read again from the records, and epochs always are.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Protocol, TypeVar, overload

from sweeper.records.compressed import shared
from sweeper.records.stage_record import FORMAT, StageRecord, sha256
from sweeper.storage.base import Place, StoreError

T = TypeVar("T")
FILE = "index"  # in a sweep's folder
KEPT_IN_MEMORY = 16  # whole records
READ_ANEW = {"recipe", "epochs", "selection", "environment", "costs"}  # no part of an entry's text, or not as it is
FIELDS_KNOWN = ("evaluation", "costs", "plugins")  # of the recipe: what a result is read by
SCALARS = [item.name for item in fields(StageRecord) if item.name not in READ_ANEW]


class Reader(Protocol):
    """A store, as far as whole records are read from it."""

    def read_span(self, key: str, start: int) -> StageRecord | None: ...


@dataclass(frozen=True, slots=True)
class Brief:
    """A finished stage without its recipe, its curve and what it selected, but for its last epoch."""

    start: int  # the epoch after which it begins
    environment: dict[str, Any]  # one for all the stages that a worker trained
    text: bytes  # JSON

    @classmethod
    def of(cls, record: StageRecord) -> Brief:
        """The brief of a whole record; of one that was made from a brief, that brief."""
        if isinstance(record.epochs, StoredEpochs):
            return record.epochs.brief
        content = {
            "scalars": [getattr(record, name) for name in SCALARS],
            "costs": dict(record.costs),
            "recipe": {name: record.recipe.get(name) for name in FIELDS_KNOWN},
            "epochs": len(record.epochs),
            "digest": sha256(json.dumps(list(record.epochs)).encode()),
            "last": record.epochs[-1] if record.epochs else None,
            "longest": longest_seconds(record.epochs),
            "snapshots": len(record.selection),
        }
        text = json.dumps(content, separators=(",", ":")).encode()
        return cls(record.start, shared(json.dumps(record.environment)), text)

    def record(self, whole: Callable[[str, int], StageRecord]) -> StageRecord:
        """The record, which reads what the brief lacks once it is asked for."""
        content = json.loads(self.text)
        scalars = dict(zip(SCALARS, content["scalars"], strict=True))

        def read() -> StageRecord:
            return whole(scalars["key"], scalars["start"])

        return StageRecord(
            **scalars,
            costs=content["costs"],
            recipe=StoredFields(read, content["recipe"]),
            epochs=StoredEpochs(self, read, content),
            environment=self.environment,
            selection=Stored(content["snapshots"], lambda: read().selection),
        )


class Stored(Sequence[T]):
    """A list of a record whose length is known; the rest is read when it is asked for."""

    def __init__(self, length: int, read: Callable[[], Sequence[T]]) -> None:
        self._length, self._read = length, read

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        return iter(self._read() if self._length else ())

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[T]: ...
    def __getitem__(self, place: int | slice) -> T | Sequence[T]:
        return self._read()[place]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


class StoredEpochs(Stored[dict[str, Any]]):
    """The epochs of a stage, of which the last is known."""

    def __init__(self, brief: Brief, read: Callable[[], StageRecord], content: Mapping[str, Any]) -> None:
        super().__init__(content["epochs"], lambda: read().epochs)
        self.brief = brief
        self.longest_seconds: float = content["longest"]  # of one of them
        self._last = content["last"]

    @overload
    def __getitem__(self, place: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[dict[str, Any]]: ...
    def __getitem__(self, place: int | slice) -> dict[str, Any] | Sequence[dict[str, Any]]:
        if place == -1 and self._last is not None:
            return dict(self._last)
        return super().__getitem__(place)


class StoredFields(Mapping[str, Any]):
    """The recipe of a record, of which these fields are known."""

    def __init__(self, read: Callable[[], StageRecord], known: Mapping[str, Any]) -> None:
        self._read, self._known = read, known

    def __getitem__(self, name: str) -> Any:
        return self._known[name] if self._known.get(name) is not None else self._read().recipe[name]

    def get(self, name: str, default: Any = None) -> Any:
        """The field; of those that are known nothing is read."""
        if name not in self._known:
            return self._read().recipe.get(name, default)
        return default if self._known[name] is None else self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read().recipe)

    def __len__(self) -> int:
        return len(self._read().recipe)


class Finished(MutableMapping[str, StageRecord]):
    """The records of a sweep's finished stages by key, of which only the briefs are held."""

    def __init__(self, store: Reader) -> None:
        self._briefs: dict[str, Brief] = {}

        @lru_cache(maxsize=KEPT_IN_MEMORY)
        def whole(key: str, start: int) -> StageRecord:
            record = store.read_span(key, start)
            if record is None:
                raise StoreError(f"storage: the record of stage {key[:16]} is gone, or damaged")
            return record

        self._whole = whole

    def take(self, key: str, brief: Brief) -> None:
        """Takes in a stage of which the brief is known."""
        self._briefs[key] = brief

    def __getitem__(self, key: str) -> StageRecord:
        return self._briefs[key].record(self._whole)

    def __setitem__(self, key: str, record: StageRecord) -> None:
        self._briefs[key] = Brief.of(record)

    def curve(self, keys: Sequence[str], way: str | None) -> str:
        """What tells the curve through these finished stages, evaluated so, from any other."""
        content = b"".join(self._briefs[key].text for key in keys) + str(way).encode()
        return hashlib.blake2b(content, digest_size=12).hexdigest()

    def __delitem__(self, key: str) -> None:
        del self._briefs[key]

    def __contains__(self, key: object) -> bool:
        return key in self._briefs

    def __iter__(self) -> Iterator[str]:
        return iter(self._briefs)

    def __len__(self) -> int:
        return len(self._briefs)


class StageIndex:
    """The briefs of a store by key, each with a tag that tells whether its stage's files are still those."""

    def __init__(self, place: Place | None = None) -> None:
        """`place`: the file that it is read from, and saved to; None: it lasts as long as this process."""
        self.place = place
        self._entries: dict[str, tuple[str, Brief]] = {}
        self.digests: dict[str, str] = {}  # of curves as MLflow shows them, by what tells the curves apart
        if place is not None:
            self._entries, self.digests = _read(place)
        self._unsaved, self._saved_digests = 0, len(self.digests)

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str, tag: str) -> Brief | None:
        """The brief of this stage, if it was made from files with this tag."""
        entry = self._entries.get(key)
        return entry[1] if entry is not None and tag and entry[0] == tag else None

    def put(self, key: str, tag: str, brief: Brief) -> None:
        """Takes in a brief that was made from files which had this tag before they were read; "" is no tag."""
        if tag:
            self._entries[key] = tag, brief
            self._unsaved += 1

    def save(self, at_least: int = 1) -> None:
        """Writes its file, if so many entries are new. What cannot be written is made anew by the next launch."""
        new = self._unsaved + len(self.digests) - self._saved_digests
        if self.place is None or new < at_least:
            return
        environments: dict[int, int] = {}
        kept: list[dict[str, Any]] = []
        lines = []
        for key, (tag, brief) in list(self._entries.items()):
            number = environments.setdefault(id(brief.environment), len(kept))
            if number == len(kept):
                kept.append(brief.environment)
            lines.append(f"{key} {tag} {brief.start} {number} {brief.text.decode()}")
        head = {
            "format": FORMAT, "scalars": SCALARS, "environments": kept,
            "digests": dict(self.digests),
        }  # fmt: skip
        content = "\n".join([json.dumps(head), *lines]).encode()
        with suppress(StoreError):
            self.place.put(sha256(content).encode() + b"\n" + zlib.compress(content, 1), durable=False)
        self._unsaved, self._saved_digests = 0, len(self.digests)


def _read(place: Place) -> tuple[dict[str, tuple[str, Brief]], dict[str, str]]:
    """The entries of a file, and its digests of curves; none of one that is not there, damaged, or of other fields."""
    try:
        said, _, folded = place.read_bytes().partition(b"\n")
        content = zlib.decompress(folded)
        if sha256(content).encode() != said:
            return {}, {}
    except (OSError, zlib.error):
        return {}, {}
    lines = content.split(b"\n")
    head = json.loads(lines[0])
    if (head["format"], head["scalars"]) != (FORMAT, SCALARS):
        return {}, {}
    environments = [shared(json.dumps(environment)) for environment in head["environments"]]
    entries = {}
    for line in lines[1:]:
        key, tag, start, number, text = line.split(b" ", 4)
        entries[key.decode()] = tag.decode(), Brief(int(start), environments[int(number)], text)
    return entries, head["digests"]


def longest_epoch_seconds(record: StageRecord) -> float:
    """The seconds of training and evaluation of a stage's longest epoch; reads nothing."""
    epochs = record.epochs
    return epochs.longest_seconds if isinstance(epochs, StoredEpochs) else longest_seconds(epochs)


def longest_seconds(epochs: Sequence[Mapping[str, Any]]) -> float:
    """The seconds of training and evaluation of the longest of these epochs; 0 where there are none."""
    return max(
        (epoch.get("train_seconds", 0.0) + epoch.get("evaluation_seconds", 0.0) for epoch in epochs), default=0.0
    )
