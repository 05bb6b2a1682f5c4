"""The hash of a JSON value: equal across processes, machines and Python versions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any


def content_hash(value: Any) -> str:
    """SHA-256 (hex) of a JSON value in canonical form (sorted keys, shortest floats, no spaces)."""
    return hashlib.sha256(_canonical(value)).hexdigest()


class AlikeHashes:
    """The content hashes of values that differ in one place: what they have in common is written and hashed once."""

    def __init__(self, value_of: Callable[[Any], Any], place: int | str) -> None:
        """`value_of` makes the value of what stands in that place; `place` is something that stands nowhere else."""
        head, self._tail = _canonical(value_of(place)).split(_part(place))  # raises ValueError if it does
        self._head = hashlib.sha256(head)

    def of(self, part: int | str) -> str:
        """The content hash of the value with this in the place."""
        whole = self._head.copy()
        whole.update(_part(part) + self._tail)
        return whole.hexdigest()


def _part(part: int | str) -> bytes:
    return json.dumps(part).encode()  # canonical for a number or a text, and five times as fast


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()
