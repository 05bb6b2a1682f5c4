"""What costs are counted in: how an amount is printed, and which larger units an axis has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from trainers.readable import PREFIXES, engineering, number, seconds


@dataclass(frozen=True)
class Unit:
    """A unit of amounts. What prints an amount adds the unit, or else `heads_column` says it once for all."""

    name: str  # of an amount as it is stored
    print: Callable[[float], str]
    larger: tuple[tuple[float, float, str], ...] = ()  # for axes: from where on, what to divide by, its name
    heads_column: str = ""

    def of_axis(self, largest: float) -> tuple[float, str]:
        """What to divide by for an axis that reaches `largest`, and the name of the unit that it then has."""
        found = (unit for unit in reversed(self.larger) if largest >= unit[0])
        _, divisor, name = next(found, (0.0, 1.0, self.name))
        return divisor, name


def si_unit(name: str) -> Unit:
    """A unit that takes the prefixes of the SI: three digits are printed."""
    larger = [(1000.0**step, 1000.0**step, prefix + name) for step, prefix in enumerate(PREFIXES, 1)]
    return Unit(name, partial(engineering, unit=name), tuple(larger))


FLOP = si_unit("FLOP")  # a multiply-add is 2
BYTE = si_unit("B")
JOULE = si_unit("J")
SECOND = Unit("s", seconds, ((120.0, 60.0, "min"), (7200.0, 3600.0, "h")))
BITS_PER_WEIGHT = Unit("bit", number, heads_column="bits/weight")
COUNT = Unit("", number)
