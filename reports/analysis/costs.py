"""The costs that accuracy is shown against, the file of a network first."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import nan
from typing import Any

import pandas as pd

from reports.analysis.arms import same_problem
from reports.analysis.statistics import pareto_front
from trainers.costs.registry import costs_in
from trainers.networks.registry import NETWORKS

STORED, TICKET = "stored_bits_per_weight", "ticket_bytes"
FIRST = (TICKET, "train_cpu_seconds", "train_seconds")
PLAIN = ("network", "dataset", *sorted({name for network in NETWORKS.values() for name in network.fields}))


def with_tickets(arms: pd.DataFrame) -> pd.DataFrame:
    """Fills in `ticket_bytes` of records that had only bits per weight, and adds its half width and its front.

    nan where nobody can say how many weights a network has.
    """
    counts = pd.Series(
        [_connections(arm) for arm in arms[list(PLAIN)].to_dict("records")], index=arms.index, dtype=float
    )
    columns = {end: arms.get(f"{TICKET}{end}", pd.Series(nan, index=arms.index)) for end in ("", "_half_width")}
    sized = arms.assign(
        **{
            f"{TICKET}{end}": known.astype(float).fillna(arms[f"{STORED}{end}"] * counts / 8)
            for end, known in columns.items()
        }
    )
    front = pd.Series(False, index=arms.index)
    for group in same_problem(sized):
        front.loc[group.index] = pareto_front(group[TICKET], group["test_accuracy"])
    return sized.assign(**{f"front_{TICKET}": front})


def costs_to_show(arms: pd.DataFrame) -> list[str]:
    """The costs in which some arms differ by more than a hundredth, the ticket first, or else bits per weight."""
    names = dict.fromkeys([*FIRST, *costs_in(arms.columns)])
    found = [name for name in names if name in arms and _differs(arms[name])]
    return [name for name in found if name != STORED or TICKET not in found]


def _differs(costs: pd.Series[Any]) -> bool:
    known = costs.dropna()
    return len(known) > 1 and float(known.max()) > 1.01 * float(known.min())


def _connections(arm: Mapping[Any, Any]) -> float:
    return _counted(*(None if pd.isna(arm[field]) else arm[field] for field in PLAIN))


@lru_cache
def _counted(network: str, dataset: str, *fields: Any) -> float:
    """The weights of such a network for the images of that data set."""
    from trainers.costs.flops import connections_of  # only where it is needed

    try:
        return float(connections_of(network, dataset, **dict(zip(PLAIN[2:], fields, strict=True))))
    except (KeyError, TypeError, ValueError):  # of another version, or images of one's own
        return nan
