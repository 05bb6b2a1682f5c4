"""Stages that are not finished: those on their way, which go on where they stopped, and those that failed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sweeper.records.layout import Damage, Storage
from sweeper.records.stage_record import Damaged, StageRecord, decode_partial, encode_partial
from sweeper.storage.base import StoreError, is_key

if TYPE_CHECKING:
    from torch import Tensor


class Unfinished(Storage):
    """The part of a store that is about stages without a result."""

    # Stages on their way

    def write_partial(self, key: str, record: StageRecord, state: Mapping[str, Tensor]) -> None:
        """Stores a stage's epochs so far and the state to go on from, in place of earlier ones. Raises StoreError."""
        from safetensors.torch import save

        self._partial(key).put(encode_partial(record, save(dict(state))), durable=False)

    def partial_record(self, key: str) -> StageRecord | None:
        """A stage's epochs so far, without its state; None if nothing is kept. Needs no torch."""
        try:
            return decode_partial(self._partial(key).read_bytes())[0]
        except (OSError, Damaged):
            return None  # whoever goes on from it reports it

    def read_partial(self, key: str, start: int | None = None) -> tuple[StageRecord, dict[str, Tensor]] | None:
        """A stage's epochs so far and its state; None if nothing is kept, or only of a stage with another start."""
        from safetensors.torch import load

        path = self._partial(key)
        try:
            content, seen = path.read_tagged()
        except FileNotFoundError:
            return None
        except StoreError as error:
            self._report(Damage(str(path), f"cannot be read: {error.strerror}", None))
            return None
        try:
            record, state = decode_partial(content)
        except Damaged as damage:
            return self.read_partial(key, start) if self._set_aside(path, str(damage), seen) else None
        if start is not None and record.start != start:
            return None
        return record, load(state)

    def remove_partial(self, key: str) -> None:
        """Removes the stored epochs and state of an unfinished stage."""
        self._partial(key).remove()

    # Stages that failed

    def write_failure(self, key: str, failure: Mapping[str, Any]) -> None:
        """Stores why a stage failed (plain values). Raises StoreError."""
        self._failure(key).put(json.dumps(dict(failure), indent=1).encode())

    def read_failure(self, key: str) -> dict[str, Any] | None:
        """The stored failure of this stage; None if it did not fail."""
        path = self._failure(key)
        try:
            content, seen = path.read_tagged()
            failure = json.loads(content)
        except FileNotFoundError:
            return None
        except ValueError as error:
            return self.read_failure(key) if self._set_aside(path, f"not JSON: {error}", seen) else None
        return failure if isinstance(failure, dict) else None

    def failures(self) -> dict[str, dict[str, Any]]:
        """All stored failures, by the key of their stage."""
        kept = [name.removesuffix(".json") for name in (self.root / "failures").names() if name.endswith(".json")]
        found = {key: self.read_failure(key) for key in kept if is_key(key)}
        return {key: failure for key, failure in found.items() if failure is not None}

    def clear_failure(self, key: str) -> None:
        """Removes a failure, so that its stage may be tried again."""
        self._failure(key).remove()
