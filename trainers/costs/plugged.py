"""The costs of plug-ins: a row each, what measures it beside it, and the same row in plain data. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from trainers.costs.registry import COSTS, PLUGGED, Cost
from trainers.costs.units import STYLES, Unit
from trainers.errors import InvalidInput, one_of
from trainers.plugins.known import Facts, code_of, facts_of, needs_code, split

if TYPE_CHECKING:
    from trainers.costs.measures import Trained
    from trainers.costs.meters import Meter

REGISTRY = "COSTS"
# What its row says in plain data, beside the unit and how it is measured.
PLAIN = ("title", "phrase", "adds_up", "everywhere", "of_machine", "better")
ADDS_UP, BETTER = ("sum", "max", "last"), ("lower", "higher")


@dataclass(frozen=True)
class OwnCost(Cost):
    """A cost as a plug-in registers it: its row, and what measures it, one of the two."""

    measure: Callable[[Trained], float] | None = None  # of a run at a stage's end; for a sum, that of one epoch
    meter: Meter | None = None  # makes a counter, which is read before and after every epoch

    def __post_init__(self) -> None:
        if (self.measure is None) == (self.meter is None):
            raise ValueError(f"cost {self.title!r}: either measure or meter says how it is measured, not both")


def told_of_cost(cost: Any) -> dict[str, Any]:
    """What a spec tells of a plug-in's cost, in plain data. Raises InvalidInput."""
    if not isinstance(cost, OwnCost):
        raise InvalidInput(f"{cost!r} is no cost; one is a trainers.costs.plugged.OwnCost with what measures it")
    if not isinstance(cost.unit, Unit):
        raise InvalidInput(f"unit: one of trainers.costs.units, or a Unit, not {cost.unit!r}")
    for field, value, choices in (
        ("adds_up", cost.adds_up, ADDS_UP),
        ("better", cost.better, BETTER),
        ("unit.style", cost.unit.style, STYLES),
    ):
        if value not in choices:
            raise InvalidInput(one_of(field, value, choices))
    row = {field: getattr(cost, field) for field in PLAIN}
    return {**row, "unit": asdict(cost.unit), "metered": cost.meter is not None}


def row_of(name: str, told: Mapping[str, Any]) -> Cost:
    """The row of a plug-in's cost, from what is told of it; measured under its own name."""
    fields = {field: told[field] for field in PLAIN} | {"metered" if told["metered"] else "of_run": name}
    return Cost(unit=Unit(**told["unit"]), **fields)


def tell(plugin: str, facts: Facts) -> None:
    """Lets this process print, and rank by, what a plug-in's costs come to."""
    PLUGGED.update(
        {f"{plugin}.{name}": row_of(f"{plugin}.{name}", told) for name, told in facts.get(REGISTRY, {}).items()}
    )


def tell_again(told: Mapping[str, Mapping[str, Any]]) -> dict[str, Cost]:
    """The same of costs by their whole names, as MLflow keeps them with a sweep; returns their rows."""
    rows = {name: row_of(name, facts) for name, facts in told.items()}
    PLUGGED.update(rows)
    return rows


def costs_of(recipe: Mapping[str, Any]) -> dict[str, Cost]:
    """The rows of all that is measured of a recipe, from its fields: the package's costs, then those of its plug-ins.

    One that this process was told nothing of is left out.
    """
    if not recipe.get("costs"):
        return COSTS
    told = {name: facts_of(REGISTRY, name, recipe["plugins"]) for name in split(recipe["costs"])}
    return {**COSTS, **{name: row_of(name, facts) for name, facts in told.items() if facts is not None}}


def own_costs(costs: str | None, plugins: str | None) -> dict[str, OwnCost]:
    """The plug-ins' costs that a recipe asks for, with their code. Raises InvalidInput where it was not imported."""
    found: dict[str, OwnCost] = {}
    for name in split(costs):
        cost: OwnCost | None = code_of(REGISTRY, name, plugins)
        if cost is None:
            raise needs_code(plugins)
        found[name] = cost
    return found


def amount_of(name: str, amount: Any) -> float:
    """What a plug-in's cost came to, as a plain number. Raises InvalidInput for what is none, or is not finite."""
    if isinstance(amount, bool) or not isinstance(amount, int | float):
        raise InvalidInput(f"costs: {name} gave {amount!r}, and a cost is a number (of a tensor: .item())")
    if not math.isfinite(amount):
        raise InvalidInput(f"costs: {name} gave {amount!r}, and a cost is finite")
    return amount
