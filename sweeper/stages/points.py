"""The keys of what a recipe trains: a point at the end of each of its stretches, a hash of all that led to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from hashlib import sha256
from typing import Any

from trainers.hashing import AlikeHashes
from trainers.numerics import NUMERICS_VERSION
from trainers.recipe.choices import Phase
from trainers.recipe.recipe import NO_SEED, Recipe
from trainers.recipe.stretches import Stretch, earlier_stretches, stretches

NO_KEY = "\0"  # which is in no text of a recipe


@dataclass(frozen=True, slots=True)
class Point:
    """A state reached. Its lineage is all that led to it but the number of epochs of its last phase."""

    lineage: str
    phase: Phase
    begin: int  # epochs done within `phase` where the lineage begins
    epoch: int  # epochs done within `phase`
    key: str


@lru_cache(maxsize=65536)
def point_key(lineage: str, epoch: int) -> str:
    """The key of the point that a lineage reaches after so many epochs of its last phase."""
    return sha256(f'["{lineage}",{epoch}]'.encode()).hexdigest()  # content_hash([lineage, epoch]), five times as fast


def points(recipe: Recipe, digest: str, sources: str = "") -> list[Point]:
    """Where each stretch of a recipe ends, on the data set with this digest, trained by sources that are not pinned."""
    return ArmPoints(recipe, digest, sources).of(recipe)


def earlier_points(recipe: Recipe, digest: str, sources: str = "") -> list[list[Point]]:
    """The same under the keys of earlier versions, the latest first.

    They told apart how selection is evaluated, as long as records did not hold both; at first, all fields of a recipe.
    """
    return ArmPoints(recipe, digest, sources).earlier_of(recipe)


class ArmPoints:
    """The points of recipes that differ in their seed: what their keys have in common is hashed once."""

    def __init__(self, recipe: Recipe, digest: str, sources: str = "") -> None:
        """`recipe`: one of them."""
        self.recipe = recipe
        apart = {"sources": sources} if sources else {}
        self._root = {"numerics": NUMERICS_VERSION, "data": digest, **apart}

    def of(self, recipe: Recipe) -> list[Point]:
        """See `points`."""
        return self._present.points(recipe.seed)

    def earlier_of(self, recipe: Recipe) -> list[list[Point]]:
        """See `earlier_points`."""
        return [way.points(recipe.seed) for way in self._earlier]

    @cached_property
    def _present(self) -> _Way:
        return _Way(self._root, self.recipe.training_fields(), stretches(self.recipe))

    @cached_property
    def _earlier(self) -> list[_Way]:
        by_evaluation = self.recipe.fields_apart_by_evaluation()
        is_told_apart = by_evaluation != self.recipe.training_fields()
        latest = [_Way(self._root, by_evaluation, stretches(self.recipe))] if is_told_apart else []
        return [*latest, _Way(self._root, self.recipe.common_fields(), earlier_stretches(self.recipe))]


class _Way:
    """The stretches of an arm one after the other, each with the hashes of its lineages: by seed, then by what came."""

    def __init__(self, root: Mapping[str, Any], common: Mapping[str, Any], parts: Sequence[Stretch]) -> None:
        first, *later = parts
        self._first = AlikeHashes(lambda seed: _lineage(first, {**root, "common": {**common, "seed": seed}}), NO_SEED)
        self._later = [AlikeHashes(partial(_lineage, part), NO_KEY) for part in later]
        self._parts = parts

    def points(self, seed: int) -> list[Point]:
        reached: list[Point] = []
        for part, hashes in zip(self._parts, (self._first, *self._later), strict=True):
            lineage = hashes.of(reached[-1].key if reached else seed)
            reached.append(Point(lineage, part.phase, part.start, part.end, point_key(lineage, part.end)))
        return reached


def _lineage(part: Stretch, came_by: Mapping[str, Any] | str) -> dict[str, Any]:
    return {"from": came_by, "phase": part.phase, "fields": part.fields}
