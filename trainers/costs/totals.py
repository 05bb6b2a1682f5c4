"""How costs add up: over the epochs of a stage, and over the stages of a trial. What was not measured is absent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import fsum
from typing import Any

from trainers.costs.registry import COSTS, Cost

Amounts = Mapping[str, float]  # by the names of COSTS, and of those of plug-ins
Rows = Mapping[str, Cost]  # of one recipe: `trainers.costs.plugged.costs_of`


def of_epochs(epochs: Sequence[Mapping[str, Any]], of_run: Mapping[str, float], rows: Rows = COSTS) -> dict[str, float]:
    """The costs of epochs that were trained one after the other, from what their records and their run say.

    epochs: EpochRecords as dicts. of_run: what `TrainingRun.costs` gave after them.
    """
    found: dict[str, float | None] = {}
    for name, cost in rows.items():
        if cost.metered:
            found[name] = _added(cost.adds_up, [epoch.get(cost.metered) for epoch in epochs])
        else:
            amount = of_run.get(cost.of_run)
            found[name] = amount * len(epochs) if cost.adds_up == "sum" and amount is not None else amount
    return _measured(found)


def of_stages(stages: Sequence[Amounts], rows: Rows = COSTS) -> dict[str, float]:
    """The costs of stages that follow each other: absent where one of them lacks it."""
    return _measured({name: _added(cost.adds_up, [stage.get(name) for stage in stages]) for name, cost in rows.items()})


def of_part(
    whole: Amounts, whole_epochs: int, epochs: Sequence[Mapping[str, Any]], rows: Rows = COSTS
) -> dict[str, float]:
    """The costs of the last `epochs` of a stage that has `whole_epochs` and costs `whole`."""
    found: dict[str, float | None] = {}
    for name, cost in rows.items():
        if cost.metered:
            found[name] = _added(cost.adds_up, [epoch.get(cost.metered) for epoch in epochs])
        elif cost.adds_up == "sum" and name in whole:
            share = whole[name] * len(epochs)
            found[name] = share // whole_epochs if isinstance(share, int) else share / whole_epochs
        else:
            found[name] = whole.get(name)
    return _measured(found)


def _sum(amounts: Sequence[float]) -> float:
    """Whole numbers stay whole, however large."""
    return sum(amounts) if all(isinstance(amount, int) for amount in amounts) else fsum(amounts)


def _last(amounts: Sequence[float]) -> float:
    return amounts[-1]


ADDING: dict[str, Callable[[Sequence[float]], float]] = {"sum": _sum, "max": max, "last": _last}


def _added(how: str, amounts: Sequence[float | None]) -> float | None:
    known = [amount for amount in amounts if amount is not None]
    if not amounts and how == "sum":
        return 0.0  # of no epochs
    return ADDING[how](known) if known and len(known) == len(amounts) else None


def _measured(found: Mapping[str, float | None]) -> dict[str, float]:
    return {name: amount for name, amount in found.items() if amount is not None}
