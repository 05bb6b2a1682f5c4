"""What training costs, and how it is printed and drawn. To add a cost: a metric in runs.py, and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reports import numbers as formats


@dataclass(frozen=True)
class Cost:
    """One standalone cost of a trial: what it would cost alone, whatever the sweep shared."""

    title: str  # heads a column
    phrase: str  # names an axis
    print: Callable[[float], str]
    unit: str  # of the metric itself
    measured: bool = False  # depends on the machine: compared on one kind of device only
    scales: tuple[tuple[float, str], ...] = ()  # larger units for axes, the largest first
    column_unit: str = ""  # where the printed value has none


PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def _prefixed(unit: str) -> tuple[tuple[float, str], ...]:
    return tuple((factor, prefix + unit) for factor, prefix in PREFIXES)


LONGER = ((7200.0, "h"), (120.0, "min"))
COSTS: dict[str, Cost] = {
    "flops": Cost("FLOPs", "Training FLOPs of one trial", formats.flops, "FLOP", scales=_prefixed("FLOP")),
    "train_seconds": Cost("Time", "Training time of one trial", formats.seconds, "s", True, LONGER),
    "train_cpu_seconds": Cost("CPU time", "CPU time of training one trial", formats.seconds, "s", True, LONGER),
    "energy_joules": Cost("Energy", "Energy of training one trial", formats.energy, "J", True, _prefixed("J")),
    "peak_memory_bytes": Cost("Peak memory", "Peak memory in training", formats.size, "B", True, _prefixed("B")),
    "state_bytes": Cost("Training state", "Size of the training state", formats.size, "B", scales=_prefixed("B")),
    "stored_bits_per_weight": Cost(
        "Stored", "Stored bits per weight", formats.number, "bit", column_unit="bits/weight"
    ),
}


def axis_unit(cost: str, largest: float) -> tuple[float, str]:
    """What to divide by for an axis that reaches `largest`, and the unit that it then has."""
    kind = COSTS[cost]
    factor, unit = next(((limit, unit) for limit, unit in kind.scales if largest >= limit), (1.0, kind.unit))
    return {"h": 3600.0, "min": 60.0}.get(unit, factor), unit
