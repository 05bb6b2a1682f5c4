"""Which option wins: arg-max of K lines, kept up to date by looking only at the connections that can have changed.

The score of option k is s_k = c·s_k(0) + w_k·B (see `trainers.methods.slot_machine`). For c > 0 its arg-max over k is
that of the lines s_k(0) + w_k·x at x = B/c: the upper envelope of K lines. A line that is on top at one x is on top in
an interval around it, so a connection is looked at again only when its x has left the interval of its present winner.

Scores are compared in float64, whatever the type of the layer; ties go to the lowest option. The ends of the
intervals are kept as 16-bit integers in the order of floats (`order_keys`), moved one step inward. Cutting off never
turns the order of two numbers over, so an x that is inside by these keys is inside by at least a whole step (2**-10
of x), far more than all rounding errors of the crossing points; an x that is not is looked at again. So the winner is
always that of all K, and the check reads 2 bytes an end. selection.c is the same arithmetic, compiled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainers.kernels.options import FloatArray

Keys = NDArray[np.int16]
BLOCK = 1 << 17  # connections x options that are evaluated at once: their float64 scores fit in the cache
NOWHERE = np.iinfo(np.int16).max, np.iinfo(np.int16).min  # an interval that no x is in


def order_keys(numbers: NDArray[np.float32]) -> Keys:
    """16-bit integers in the order of floats: sign, 5 bits of exponent, 10 of mantissa, cut off; -0 comes before 0."""
    bits = numbers.view(np.int32)
    size = bits & 0x7FFFFFFF
    size >>= 13
    size -= 112 << 10
    np.clip(size, 0, 0x7FFE, out=size)
    size ^= bits >> 31
    return size.astype(np.int16)


@dataclass(frozen=True)
class Winners:
    """For n connections: the winning option, its value, and the ends of the interval in which it wins, as keys."""

    option: NDArray[np.int64]
    value: FloatArray
    lower: Keys
    upper: Keys


def winners(accumulated: FloatArray, scale: float | FloatArray, values: FloatArray, scores: FloatArray) -> Winners:
    """The winner among all K of each of n connections, by evaluating all of them; not a number where scores are not.

    accumulated: B, (n,); scale: c, one number or (n,); values, scores: (n, K), values (1, K) where they are shared.
    """
    slopes = values.astype(np.float64)
    b = accumulated.astype(np.float64)
    totals = slopes * b[:, None]
    totals += scores if isinstance(scale, float) and scale == 1.0 else scores * np.reshape(scale, (-1, 1))
    option = totals.argmax(axis=1)
    rows = np.arange(len(option))
    top_slope = slopes[rows if len(slopes) == len(rows) else 0, option]
    top = totals[rows, option]
    gaps = top[:, None] - totals
    gaps[rows, option] = np.inf
    # A line that is d steeper than the winner and g below it passes it g/d further on: nearest where d/g is extreme.
    with np.errstate(divide="ignore", invalid="ignore"):
        nearness = (slopes - top_slope[:, None]) / gaps
        above = np.fmax.reduce(nearness, axis=1)  # identical lines give NaN: they never part
        below = np.fmin.reduce(nearness, axis=1)
        upper = (b + 1.0 / np.where(above > 0, above, 0.0)) / scale
        lower = (b - 1.0 / np.where(below < 0, -below, 0.0)) / scale
    with np.errstate(over="ignore"):
        lower_keys = order_keys(lower.astype(np.float32)) + np.int16(1)
        upper_keys = order_keys(upper.astype(np.float32)) - np.int16(1)
    return Winners(option, np.where(np.isnan(top), np.nan, top_slope), lower_keys, upper_keys)


def outside(x: NDArray[np.float32], lower: Keys, upper: Keys) -> NDArray[np.int64]:
    """Indices of the connections whose x is not inside its interval."""
    keys = order_keys(x)
    out = keys <= lower
    out |= keys >= upper
    return np.flatnonzero(out)


def blocks(connections: NDArray[np.int64], options: int) -> Iterator[NDArray[np.int64]]:
    """The connections in pieces small enough to evaluate all K of at once."""
    size = max(1, BLOCK // options)
    return (connections[start : start + size] for start in range(0, len(connections), size))
