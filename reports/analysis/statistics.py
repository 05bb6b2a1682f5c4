"""Arrays in, numbers out: intervals, tests and fronts. Knows nothing of sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit

LEVEL = 0.95  # of every interval in a report


@dataclass(frozen=True)
class Estimate:
    """A mean with its Student-t 95 % interval; with fewer than two values there is no interval (nan)."""

    mean: float
    half_width: float
    n: int


@dataclass(frozen=True)
class Difference:
    """A difference of two means, its 95 % interval, and the two-sided p value of it being `threshold`."""

    mean: float
    low: float
    high: float
    p_value: float  # nan where there is no spread to judge by
    degrees_of_freedom: float
    threshold: float
    test: str  # "Welch" | "paired"
    n: tuple[int, int]


def interval_half_width(deviation: ArrayLike, n: ArrayLike, level: float = LEVEL) -> NDArray[np.float64]:
    """Half of the Student-t interval of a mean, from the sample standard deviation (n - 1) and n; nan where n < 2."""
    deviations, counts = np.asarray(deviation, dtype=float), np.asarray(n, dtype=float)
    with np.errstate(invalid="ignore", divide="ignore"):
        quantile = stdtrit(np.where(counts > 1, counts - 1, nan), 0.5 + level / 2)
        return np.asarray(np.where(counts > 1, quantile * deviations / np.sqrt(counts), nan))


def estimate(values: ArrayLike) -> Estimate:
    """Mean, interval and n of the values that are numbers."""
    numbers = _numbers(values)
    if len(numbers) == 0:
        return Estimate(nan, nan, 0)
    half_width = interval_half_width(_deviation(numbers), len(numbers))
    return Estimate(float(np.mean(numbers)), float(half_width), len(numbers))


def welch(first: ArrayLike, second: ArrayLike, threshold: float = 0.0) -> Difference:
    """mean(first) - mean(second) of independent samples whose spreads may differ (Welch, 1947)."""
    a, b = _numbers(first), _numbers(second)
    n = (len(a), len(b))
    mean = float(np.mean(a) - np.mean(b)) if min(n) else nan
    if min(n) < 2:
        return Difference(mean, nan, nan, nan, nan, threshold, "Welch", n)
    squares = _deviation(a) ** 2 / n[0], _deviation(b) ** 2 / n[1]
    variance = sum(squares)
    # Welch-Satterthwaite; without any spread it is 0/0, and no test can be made.
    degrees = variance**2 / (squares[0] ** 2 / (n[0] - 1) + squares[1] ** 2 / (n[1] - 1)) if variance else nan
    return _difference(mean, sqrt(variance), degrees, threshold, "Welch", n)


def paired(first: ArrayLike, second: ArrayLike, threshold: float = 0.0) -> Difference:
    """The mean of first[i] - second[i], for values that belong together (here: trials of one seed)."""
    differences = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    pairs = len(differences)
    mean = float(np.mean(differences)) if pairs else nan
    if pairs < 2:
        return Difference(mean, nan, nan, nan, nan, threshold, "paired", (pairs, pairs))
    error = _deviation(differences, scale=float(np.max(np.abs(first)))) / sqrt(pairs)
    return _difference(mean, error, pairs - 1 if error else nan, threshold, "paired", (pairs, pairs))


def difference_of_differences(
    here: tuple[ArrayLike, ArrayLike], there: tuple[ArrayLike, ArrayLike], *, by_place: bool = False
) -> Difference:
    """(here[0] - here[1]) - (there[0] - there[1]) of the means of four samples: the interaction of two factors.

    Independent samples whose spreads may differ (Welch-Satterthwaite), or `by_place`: the values at one place of all
    four belong together. `n`: the fewest values on either side.
    """
    if by_place:
        first, second = (np.asarray(a, dtype=float) - np.asarray(b, dtype=float) for a, b in (here, there))
        return paired(first, second)
    samples = [_numbers(values) for values in (*here, *there)]
    counts = [len(values) for values in samples]
    n = min(counts[:2]), min(counts[2:])
    a, b, c, d = (float(np.mean(values)) if len(values) else nan for values in samples)
    mean = (a - b) - (c - d)
    if min(counts) < 2:
        return Difference(mean, nan, nan, nan, nan, 0.0, "Welch", n)
    squares = [_deviation(values) ** 2 / len(values) for values in samples]
    variance = sum(squares)
    spread = sum(square**2 / (count - 1) for square, count in zip(squares, counts, strict=True))
    return _difference(mean, sqrt(variance), variance**2 / spread if variance else nan, 0.0, "Welch", n)


def _difference(
    mean: float, error: float, degrees: float, threshold: float, test: str, n: tuple[int, int]
) -> Difference:
    half_width = float(stdtrit(degrees, 0.5 + LEVEL / 2)) * error
    p_value = 2 * float(stdtr(degrees, -abs(mean - threshold) / error)) if error else nan
    return Difference(mean, mean - half_width, mean + half_width, p_value, degrees, threshold, test, n)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p values, in the order given. A nan stays one, and counts as no test."""
    adjusted = [nan] * len(p_values)
    made = sorted((p, place) for place, p in enumerate(p_values) if not np.isnan(p))
    largest = 0.0
    for rank, (p, place) in enumerate(made):
        largest = max(largest, min(1.0, (len(made) - rank) * p))
        adjusted[place] = largest
    return adjusted


def pareto_front(cost: ArrayLike, gain: ArrayLike) -> NDArray[np.bool_]:
    """Which points no other point beats: none costs no more and gains no less, and is better in one of the two."""
    costs, gains = np.asarray(cost, dtype=float), np.asarray(gain, dtype=float)
    front = np.zeros(len(costs), dtype=bool)
    best, best_cost = -np.inf, nan
    for place in np.lexsort((-gains, costs)):  # cheapest first, and the best first among equals
        if np.isnan(costs[place]) or np.isnan(gains[place]):
            continue
        if gains[place] > best or (gains[place] == best and costs[place] == best_cost):
            best, best_cost = gains[place], costs[place]
            front[place] = True
    return front


def _deviation(values: NDArray[np.float64], scale: float = 0.0) -> float:
    """The sample standard deviation; 0 for values that differ by rounding only, which would pass for precision."""
    if len(values) < 2:
        return nan
    rounding = 1e-12 * max(scale, float(np.max(np.abs(values))))
    return float(np.std(values, ddof=1)) if float(np.ptp(values)) > rounding else 0.0


def _numbers(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=float)
    return np.asarray(array[~np.isnan(array)])
