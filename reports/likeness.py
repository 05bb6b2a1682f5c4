"""Which arms are alike in all but the fields of interest, so that comparing them is fair.

A field is alike where its values are equal, or where both arms have what their common preset fills in: greedy and
probabilistic selection have different published learning rates, and are to be compared each with its own.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.arms import ARM_FIELDS
from trainers.presets import preset_fields
from trainers.recipe import ALL_METHOD_FIELDS
from trainers.validation import InvalidInput

# What a preset looks at, and therefore never fills because of another field.
STATED = ("network", "dataset", "method", "selection", "options", "start")
FIELDS = tuple(field for field in ARM_FIELDS if field != "preset")
# What describes the problem rather than the way to solve it.
PROBLEM = (
    "network", "padding", "width", "dropout", "dataset", "image_size", "normalisation", "augmentation",
    "validation_examples", "split_seed",
)  # fmt: skip
BUT_FOR_METHOD = frozenset(FIELDS) - frozenset(PROBLEM)
SLOT_FIELDS = frozenset(field for field in FIELDS if field.startswith("slot_"))
METHOD_FIELDS = ALL_METHOD_FIELDS


class Likeness:
    """Compares the rows of an arms frame, by position."""

    def __init__(self, arms: pd.DataFrame) -> None:
        self._preset = arms["preset"].to_numpy(dtype=object)
        self._codes = np.column_stack([pd.factorize(arms[field])[0] for field in FIELDS])
        filled = [_filled({str(name): value for name, value in row.items()}) for row in arms.to_dict("records")]
        self._filled = np.array(filled, dtype=np.bool_).reshape(len(arms), len(FIELDS))

    def alike(self, arm: int, others: NDArray[np.intp], but_for: Collection[str]) -> NDArray[np.intp]:
        """Those of `others` that are like `arm` in every field but these."""
        columns = [place for place, field in enumerate(FIELDS) if field not in but_for]
        rows = others[:, None]
        equal = self._codes[rows, columns] == self._codes[arm, columns]
        same_preset = (self._preset[others] == self._preset[arm])[:, None]
        filled = same_preset & self._filled[rows, columns] & self._filled[arm, columns]
        return np.asarray(others[np.all(equal | filled, axis=1)])

    def groups(self, members: NDArray[np.intp], but_for: Collection[str]) -> list[NDArray[np.intp]]:
        """`members` in groups of arms that are alike but for these fields, in the order met."""
        left, found = members, []
        while len(left):
            group = self.alike(int(left[0]), left, but_for)
            found.append(group)
            left = left[~np.isin(left, group)]
        return found


def _filled(row: dict[str, Any]) -> list[bool]:
    """For each of FIELDS: is it what the preset fills in?"""
    given = {field: _plain(row[field]) for field in ("preset", *STATED) if not _missing(row[field])}
    try:
        defaults = preset_fields(given)
    except (InvalidInput, KeyError):  # a recipe of another version: nothing is known to be filled
        defaults = {}
    return [
        field not in STATED and field in defaults and not _missing(row[field]) and _plain(row[field]) == defaults[field]
        for field in FIELDS
    ]


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or value != value


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
