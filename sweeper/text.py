"""Tables of plain text, for the terminal and for pipes alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol


def text_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need; the first to the left, the others to the right."""
    lines = [list(headers), *[list(row) for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def percent(value: float | None) -> str:
    """A fraction as '97.25 %'; a dash for None."""
    return "–" if value is None else f"{100 * value:.2f} %"


def in_words(seconds: float) -> str:
    """'40 s', '12 min', '3 h 20 min'."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def in_bytes(count: float) -> str:
    """'512 B', '1.2 kB', '34 MB', '1.5 GB'."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 10 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def counted(count: int, noun: str) -> str:
    """'1 stage', '1,200 stages'."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


class Estimate(Protocol):
    """A mean with half of its 95 % interval; nan where there are too few values."""

    @property
    def mean(self) -> float: ...
    @property
    def half_width(self) -> float: ...
    @property
    def n(self) -> int: ...


Estimating = Callable[[Sequence[float]], Estimate]


def accuracy(estimate: Estimate) -> str:
    """'97.31 ± 0.24 %'; without an interval just the mean, without a mean a dash."""
    if math.isnan(estimate.mean):
        return "–"
    if math.isnan(estimate.half_width):
        return f"{100 * estimate.mean:.2f} %"
    return f"{100 * estimate.mean:.2f} ± {100 * estimate.half_width:.2f} %"


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


class Statistics(Protocol):
    """What of `reports.analysis.statistics` is used here."""

    def estimate(self, values: Sequence[float]) -> Estimate: ...
    def welch(self, first: Sequence[float], second: Sequence[float]) -> Difference: ...
    def paired(self, first: Sequence[float], second: Sequence[float]) -> Difference: ...


def points(difference: Difference) -> str:
    """'+0.41 (+0.11 to +0.71)' percentage points; without an interval just the difference."""
    if math.isnan(difference.mean):
        return "–"
    if math.isnan(difference.low):
        return _signed(difference.mean)
    return f"{_signed(difference.mean)} ({_signed(difference.low)} to {_signed(difference.high)})"


def _signed(fraction: float) -> str:
    text = f"{100 * abs(fraction):.2f}"
    return text if float(text) == 0 else ("+" if fraction > 0 else "−") + text
