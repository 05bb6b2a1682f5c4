"""Means with their intervals in words. The arithmetic is that of `reports.statistics`, which the command line hands in:
of the packages below it, only reports compute statistics.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol


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
    """What of `reports.statistics` is used here."""

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
