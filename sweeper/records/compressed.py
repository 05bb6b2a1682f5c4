"""Plain values kept folded, and unfolded while somebody looks: a launch holds the record of every stage in memory."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate, chain
from typing import Any, TypeVar, overload

from sweeper.records.stage_record import StageRecord

T = TypeVar("T")


class Packed(Sequence[T]):
    """A list of JSON values in a tenth of the memory. Each access makes new values; changing them has no effect."""

    __slots__ = ("_folded", "_length")

    def __init__(self, values: Sequence[T]) -> None:
        self._length = len(values)
        self._folded = _folded(list(values)) if values else b""

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        return iter(self._unfolded())

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> list[T]: ...
    def __getitem__(self, place: int | slice) -> T | list[T]:
        return self._unfolded()[place]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, list | Packed) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def _unfolded(self) -> list[T]:
        return _unfolded(self._folded) if self._folded else []


class PackedFields(Mapping[str, Any]):
    """A dict of JSON values in a tenth of the memory. Each access makes new values."""

    __slots__ = ("_folded",)

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._folded = _folded(dict(fields))

    def __len__(self) -> int:
        return len(_unfolded_fields(self._folded))

    def __iter__(self) -> Iterator[str]:
        return iter(_unfolded_fields(self._folded))

    def __getitem__(self, name: str) -> Any:
        return _unfolded_fields(self._folded)[name]


class Chain(Sequence[T]):
    """Several sequences as one; each is decompressed only when it is read."""

    __slots__ = ("_ends", "_parts", "remembered")

    def __init__(self, parts: Sequence[Sequence[T]]) -> None:
        self._parts = [part for part in parts if len(part)]
        self._ends = list(accumulate(map(len, self._parts)))
        # What tells these values from any others, and the digests by that of those that were read before.
        self.remembered: tuple[str, MutableMapping[str, str]] | None = None

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __iter__(self) -> Iterator[T]:
        return chain.from_iterable(self._parts)

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> list[T]: ...
    def __getitem__(self, place: int | slice) -> T | list[T]:
        if place == -1 and self._parts:
            return self._parts[-1][-1]
        return list(self)[place]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, list | Chain) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


def packed(record: StageRecord) -> StageRecord:
    """A copy of the record that takes a tenth of the memory."""
    if isinstance(record.epochs, Packed):
        return record
    return replace(
        record,
        recipe=PackedFields(record.recipe),
        epochs=Packed(record.epochs),
        selection=Packed(record.selection),
        environment=shared(json.dumps(record.environment)),
    )


@lru_cache(maxsize=4096)
def shared(environment: str) -> dict[str, Any]:
    """One for all the stages that a worker trained."""
    fields: dict[str, Any] = json.loads(environment)
    return fields


def _folded(values: Any) -> bytes:
    return zlib.compress(json.dumps(values, separators=(",", ":")).encode(), level=1)


def _unfolded(folded: bytes) -> Any:
    return json.loads(zlib.decompress(folded))


@lru_cache(maxsize=16)
def _unfolded_fields(folded: bytes) -> dict[str, Any]:
    """Kept for a while: who looks at one field mostly looks at the others too."""
    fields: dict[str, Any] = _unfolded(folded)
    return fields
