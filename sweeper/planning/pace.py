"""How the seconds of an epoch grow: with its steps, whatever their size, and with the FLOPs in them.

seconds = steps x c0 + effort / rate, both fitted to epochs that were timed, by network and method.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# What a step takes beside its effort, in FLOPs that a network does in the same time, until two works tell: Lenet on a
# CPU, where batches of 32 take 2.3 times, and of 8 seven times as long as is told by FLOPs from batches of 128.
FLOPS_OF_A_STEP = {"cpu": 1e8, "cuda": 0.0}
SPREAD = 2.0  # works whose FLOPs a step differ by less than this tell nothing of what a step takes


@dataclass(frozen=True)
class Timed:
    """An epoch that was timed."""

    steps: int
    effort: float  # FLOPs, and what selection takes in the same measure
    seconds: float


@dataclass(frozen=True)
class Pace:
    """What a step takes, and what a FLOP does; only their ratio is known where nothing could be fitted."""

    of_a_step: float
    of_a_flop: float

    @classmethod
    def of(cls, timed: Iterable[Timed], kind: str) -> Pace:
        """Fitted by least squares of the relative error, neither below 0."""
        known = [epoch for epoch in timed if epoch.steps and epoch.effort and epoch.seconds]
        sizes = [epoch.effort / epoch.steps for epoch in known]
        if not sizes or max(sizes) < SPREAD * min(sizes):
            return cls.unknown(kind)
        rows = [(epoch.steps / epoch.seconds, epoch.effort / epoch.seconds) for epoch in known]
        aa, ab, bb = (sum(row[i] * row[j] for row in rows) for i, j in ((0, 0), (0, 1), (1, 1)))
        a, b = (sum(row[i] for row in rows) for i in (0, 1))
        determinant = aa * bb - ab * ab
        step, flop = (bb * a - ab * b) / determinant, (aa * b - ab * a) / determinant
        if step <= 0:
            return cls(0.0, b / bb)
        return cls(a / aa, 0.0) if flop <= 0 else cls(step, flop)

    @classmethod
    def unknown(cls, kind: str) -> Pace:
        """In proportion, as it was measured on one machine of this kind."""
        return cls(FLOPS_OF_A_STEP[kind], 1.0)

    def seconds(self, steps: int, effort: float) -> float:
        """Of an epoch; in proportion only, where nothing could be fitted."""
        return self.of_a_step * steps + self.of_a_flop * effort
