"""What costs are counted in: how an amount is printed, and which larger units an axis has. All plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from trainers.readable import PREFIXES, engineering, number, seconds

Style = Literal["si", "seconds", "number"]
STYLES = get_args(Style)


@dataclass(frozen=True)
class Unit:
    """A unit of amounts. What prints an amount adds the unit, or else `heads_column` says it once for all."""

    name: str  # of an amount as it is stored
    style: Style = "number"  # si: with the prefixes of the SI, three digits; seconds: as min and h; a number as it is
    heads_column: str = ""

    def print(self, amount: float) -> str:
        """The amount for people."""
        if self.style == "si":
            return engineering(amount, unit=self.name)
        return seconds(amount) if self.style == "seconds" else number(amount)

    def of_axis(self, largest: float) -> tuple[float, str]:
        """What to divide by for an axis that reaches `largest`, and the name of the unit that it then has."""
        found = (unit for unit in reversed(self._larger()) if largest >= unit[0])
        _, divisor, name = next(found, (0.0, 1.0, self.name))
        return divisor, name

    def _larger(self) -> list[tuple[float, float, str]]:
        """For axes: from where on, what to divide by, its name."""
        if self.style == "si":
            return [(1000.0**step, 1000.0**step, prefix + self.name) for step, prefix in enumerate(PREFIXES, 1)]
        return [(120.0, 60.0, "min"), (7200.0, 3600.0, "h")] if self.style == "seconds" else []


def si_unit(name: str) -> Unit:
    """A unit that takes the prefixes of the SI: three digits are printed."""
    return Unit(name, "si")


FLOP = si_unit("FLOP")  # a multiply-add is 2
BYTE = si_unit("B")
JOULE = si_unit("J")
SECOND = Unit("s", "seconds")
BITS_PER_WEIGHT = Unit("bit", heads_column="bits/weight")
COUNT = Unit("")
