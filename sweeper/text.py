"""Tables of plain text, for the terminal and for pipes alike."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from typing import Protocol

from trainers.readable import interval, percent, points

NUMBERS_BEGIN = frozenset("0123456789+−-–—(<>~≥≤?")


def text_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need: words to the left, numbers (all but the first column) to the right."""
    columns = []
    for position, (header, *cells) in enumerate(zip(headers, *rows, strict=True)):
        width = max(len(cell) for cell in (header, *cells))
        is_numbers = position > 0 and all(not cell or cell[0] in NUMBERS_BEGIN for cell in cells)
        columns.append([cell.rjust(width) if is_numbers else cell.ljust(width) for cell in (header, *cells)])
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns, strict=True))


def in_words(seconds: float) -> str:
    """'40 s', '12 min', '3 h 20 min'."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


class Estimate(Protocol):
    """A mean with half of its 95 % interval; nan where there are too few values."""

    @property
    def mean(self) -> float: ...
    @property
    def half_width(self) -> float: ...
    @property
    def n(self) -> int: ...


def accuracy(estimate: Estimate) -> str:
    """'97.31 ± 0.24 %'; without an interval just the mean, without a mean a dash."""
    return percent(estimate.mean, estimate.half_width, " %")


class Difference(Protocol):
    """A difference of two means with its 95 % interval; nan where there are too few values."""

    @property
    def mean(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def p_value(self) -> float: ...
    @property
    def test(self) -> str: ...


def points_with_interval(difference: Difference) -> str:
    """'+0.41 (+0.11 to +0.71)' percentage points; without an interval just the difference."""
    text = points(difference.mean)
    return text if isnan(difference.low) else f"{text} ({interval(100 * difference.low, 100 * difference.high)})"
