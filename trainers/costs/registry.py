"""What training costs: a row per cost, the only place where costs are listed. Imports no torch.

Records, MLflow, tables, pictures and searches take their costs from here. docs/adding.md says how to add one, and
`trainers/costs/plugged.py` what plug-ins add.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from trainers.costs import units
from trainers.costs.units import Unit
from trainers.errors import InvalidInput, nearest


@dataclass(frozen=True)
class Cost:
    """One standalone cost of a trial: what it would cost alone, whatever the sweep shared."""

    title: str  # heads a column
    phrase: str  # names an axis
    unit: Unit
    adds_up: Literal["sum", "max", "last"]  # how epochs, and then stages, come to the cost of a trial
    since: int = 0  # the format of stages' records that has it first: older records lack it; 0: it is a plug-in's
    # What measures it, one of the two:
    metered: str = ""  # every epoch: a meter of METERS in trainers/costs/meters.py
    of_run: str = ""  # a run at a stage's end, for a sum an epoch of it: of MEASURES in trainers/costs/measures.py
    everywhere: bool = True  # or only some machines can measure it
    of_machine: bool = False  # depends on the machine: compared on one kind of device only
    better: Literal["lower", "higher"] = "lower"
    foremost: bool = False  # among the few columns that MLflow shows first

    def __post_init__(self) -> None:
        if bool(self.metered) == bool(self.of_run):
            raise ValueError(f"cost {self.title!r}: either metered or of_run says what measures it, not both")

    @property
    def in_every_record(self) -> bool:
        """Whether a record cannot be so old that it lacks it."""
        return self.since == 1

    @property
    def sign(self) -> float:
        """What to multiply amounts with so that less is better."""
        return 1.0 if self.better == "lower" else -1.0


# In the order of columns.
COSTS: dict[str, Cost] = {
    "flops": Cost("FLOPs", "Training FLOPs of one trial", units.FLOP, "sum", 1, of_run="flops_per_epoch"),
    "train_seconds": Cost(
        "Time", "Training time of one trial", units.SECOND, "sum", 1, metered="train_seconds", of_machine=True,
        foremost=True,
    ),
    "train_cpu_seconds": Cost(
        "CPU time", "CPU time of training one trial", units.SECOND, "sum", 2, metered="train_cpu_seconds",
        everywhere=False, of_machine=True,
    ),
    "energy_joules": Cost(
        "Energy", "Energy of training one trial", units.JOULE, "sum", 2, metered="train_joules", everywhere=False,
        of_machine=True,
    ),
    "peak_memory_bytes": Cost(
        "Peak memory", "Peak memory in training", units.BYTE, "max", 1, of_run="peak_memory_bytes", of_machine=True
    ),
    "state_bytes": Cost("Training state", "Size of the training state", units.BYTE, "max", 1, of_run="state_bytes"),
    "stored_bits_per_weight": Cost(
        "Stored", "Stored bits per weight", units.BITS_PER_WEIGHT, "last", 1, of_run="stored_bits_per_weight",
        foremost=True,
    ),
    "ticket_bytes": Cost("Ticket", "Size of the network's file", units.BYTE, "last", 4, of_run="ticket_bytes"),
}  # fmt: skip
# Since 3 FLOPs lack the gradient of the images, and probabilistic selection is evaluated both ways; since 5 its losses
# are kept both ways, too; since 6 there are costs of plug-ins.
RECORD_FORMAT = max(6, *(cost.since for cost in COSTS.values()))
EPOCHS = "epochs"  # how many, which nothing has to measure: kept, told and printed beside the costs
# What a search may be told to keep low (or high): what every machine knows.
OBJECTIVES = (EPOCHS, *(name for name, cost in COSTS.items() if cost.everywhere))
# The rows of plug-ins' costs by their whole names, `my_costs.nonzero`: those that this process was told of last, by a
# spec, or by MLflow, from which reports read them.
PLUGGED: dict[str, Cost] = {}


def cost_named(name: str) -> Cost:
    """The row of a cost. Raises InvalidInput for a name that has none."""
    known = {**COSTS, **PLUGGED}
    if name not in known:
        raise InvalidInput(f"cost: {name!r} is not one of {', '.join(known)}{nearest(name, known)}")
    return known[name]


def costs_in(columns: Iterable[str]) -> dict[str, Cost]:
    """The package's costs, and those of plug-ins that a frame has columns for."""
    present = set(columns)
    return {**COSTS, **{name: row for name, row in PLUGGED.items() if name in present}}
