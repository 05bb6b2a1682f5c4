"""Which arms are alike in all but the fields of interest, so that comparing them is fair.

A field is alike where its values are equal, or where both arms have what their common preset fills in: greedy and
probabilistic selection have different published learning rates, and are to be compared each with its own.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.analysis.arms import ARM_FIELDS
from trainers.errors import InvalidInput
from trainers.methods.registry import ALL_METHOD_FIELDS, METHODS
from trainers.recipe.presets import preset_fields

Positions = NDArray[np.intp]
# What a preset looks at, and therefore never fills because of another field.
STATED = ("network", "dataset", "method", *dict.fromkeys(field for card in METHODS.values() for field in card.decisive))
EPOCHS = ("slot_epochs", "finetune_epochs")  # which a preset looks at, too, and fills
FIELDS = tuple(field for field in ARM_FIELDS if field != "preset")
# What describes the problem rather than the way to solve it.
PROBLEM = (
    "network", "padding", "width", "dropout", "dataset", "image_size", "normalisation", "augmentation",
    "validation_examples", "split_seed",
)  # fmt: skip
METHOD_FIELDS = ALL_METHOD_FIELDS


class Likeness:
    """Compares the rows of an arms frame, by position."""

    def __init__(self, arms: pd.DataFrame) -> None:
        self._preset = pd.factorize(arms["preset"])[0]
        # Fields in which all arms agree tell none of them apart.
        self._fields = [field for field in FIELDS if arms[field].nunique(dropna=False) > 1]
        self._codes = np.zeros((len(arms), len(self._fields)), dtype=np.int32)
        for place, field in enumerate(self._fields):
            self._codes[:, place] = pd.factorize(arms[field])[0]
        filled = [_filled(row, self._fields) for row in arms[["preset", *FIELDS]].to_dict("records")]
        self._filled = np.array(filled, dtype=np.bool_).reshape(len(arms), len(self._fields))

    def comparable(self, arm: int, others: Positions, but_for: Collection[str]) -> Positions:
        """Those of `others` that are like `arm` in every field but these."""
        for place, field in enumerate(self._fields):
            if field in but_for or not len(others):
                continue
            equal = self._codes[others, place] == self._codes[arm, place]
            if self._filled[arm, place]:
                equal |= self._filled[others, place] & (self._preset[others] == self._preset[arm])
            others = others[equal]
        return others

    def groups(self, members: Positions, but_for: Collection[str]) -> list[Positions]:
        """`members` in groups of arms that are alike but for these fields, in the order met."""
        left, found = members, []
        while len(left):
            group = self.comparable(int(left[0]), left, but_for)
            found.append(group)
            left = np.setdiff1d(left, group, assume_unique=True)
        return found


def _filled(row: dict[Hashable, Any], fields: list[str]) -> list[bool]:
    """For each of the fields: is it what the preset fills in?"""
    given = {field: _plain(row[field]) for field in ("preset", *STATED, *EPOCHS) if not _missing(row[field])}
    try:
        defaults = preset_fields(given)
    except (InvalidInput, KeyError):  # a recipe of another version: nothing is known to be filled
        defaults = {}
    return [field not in STATED and field in defaults and _same(row[field], defaults[field]) for field in fields]


def _same(value: Any, default: Any) -> bool:
    """Whether a field has what is filled in; a schedule that has no such field fills in None."""
    return default is None if _missing(value) else bool(_plain(value) == default)


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or value != value


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
