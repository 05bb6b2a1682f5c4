"""What gets selected, from each trial's selection.json: a row per trial, epoch and layer, and agreement of trials.

The files come from a tracking server, so nothing in them is taken for granted: what has another shape is left out.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from itertools import combinations
from math import isfinite
from typing import Any

import numpy as np
import pandas as pd

COLUMNS = (
    "run_id", "epoch", "position", "layer", "connections", "changed", "moved", "counts", "selected_magnitude",
    "unselected_magnitude", "by_pull", "sample", "last",
)  # fmt: skip
MOST_SNAPSHOTS, MOST_LAYERS = 64, 1000


def layers_frame(texts: Mapping[str, str]) -> pd.DataFrame:
    """Every layer at every epoch that the trials kept, by run; `last` says that it is the trial's last one.

    changed and moved are shares; counts and by_pull tuples of counts; a mask has no `moved` (nan) and no `by_pull`.
    """
    rows: list[dict[str, Any]] = []
    for run_id, text in texts.items():
        try:
            found = [_row(run_id, snapshot, place, layer) for snapshot, place, layer in _parts(json.loads(text))]
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
        last = max((row["epoch"] for row in found), default=0)
        rows += [{**row, "last": row["epoch"] == last} for row in found]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"last": bool})


def _parts(snapshots: Any) -> list[tuple[Any, int, Any]]:
    return [
        (snapshot, place, layer)
        for snapshot in snapshots[:MOST_SNAPSHOTS]
        for place, layer in enumerate(snapshot["layers"][:MOST_LAYERS])
    ]


def _row(run_id: str, snapshot: Any, position: int, layer: Any) -> dict[str, Any]:
    connections = _count(layer["connections"])
    counts, by_pull = _counts(layer["counts"]), tuple(_counts(row) for row in layer["by_pull"])
    if sum(counts) != connections or len(by_pull) not in (0, 4) or any(len(row) != 3 for row in by_pull):
        raise ValueError("not what the trainers write")
    return {
        "run_id": run_id, "epoch": _count(snapshot["epoch"]), "position": position, "layer": str(layer["layer"]),
        "connections": connections, "changed": _count(layer["changed"]) / connections,
        "moved": np.nan if layer["moved"] is None else _count(layer["moved"]) / connections,
        "counts": counts, "by_pull": by_pull, "sample": _sample(layer.get("sample", "")),
        **{name: _number(layer[name]) for name in ("selected_magnitude", "unselected_magnitude")},
    }  # fmt: skip


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value


def _counts(values: Any) -> tuple[int, ...]:
    return tuple(map(_count, values))


def _number(value: Any) -> float:
    number = np.nan if value is None else float(value)
    return number if isfinite(number) else np.nan


def _sample(text: Any) -> bytes:
    try:
        return base64.b64decode(str(text), validate=True)
    except binascii.Error:
        return b""


def own_extremes(layers: pd.DataFrame) -> pd.DataFrame:
    """By quarter of |B|, `quarter_1` … `quarter_4`: the share that uses the value on B's own end; nan for masks."""
    shares = [
        [own / max(1, inner + other + own) for inner, other, own in by_pull] if by_pull else [np.nan] * 4
        for by_pull in layers["by_pull"]
    ]
    columns = [f"quarter_{quarter}" for quarter in (1, 2, 3, 4)]
    return pd.DataFrame(np.array(shares, dtype=float).reshape(len(layers), 4), index=layers.index, columns=columns)


def extremes(layers: pd.DataFrame) -> pd.Series[Any]:
    """The share that uses the smallest or the largest value; nan for masks."""
    shares = [
        sum(other + own for _, other, own in by_pull) / connections if by_pull else np.nan
        for by_pull, connections in zip(layers["by_pull"], layers["connections"], strict=True)
    ]
    return pd.Series(shares, index=layers.index, dtype=float)


def agreement(last: pd.DataFrame) -> pd.DataFrame:
    """How alike two trials of one arm have selected in one layer, a row per pair of trials.

    last: the layer in each trial. distribution: what their shares of the ranks have in common (1: all). same: the share
    of sampled connections that use the same rank. chance: what that would be if the two chose independently, each with
    its own shares of the ranks. kappa: (same - chance) / (1 - chance), Cohen's.
    """
    found = []
    for first, second in combinations(last.to_dict("records"), 2):
        one, two = (_shares(row["counts"]) for row in (first, second))
        ours, theirs = (np.frombuffer(row["sample"], dtype=np.uint8) for row in (first, second))
        pair = {"distribution": _common(one, two), "same": np.nan, "chance": np.nan, "kappa": np.nan}
        if len(ours) == len(theirs) > 0 and len(one) == len(two):
            shares = [np.bincount(ranks, minlength=256) / len(ranks) for ranks in (ours, theirs)]
            same, chance = float((ours == theirs).mean()), float(shares[0] @ shares[1])
            pair |= {"same": same, "chance": chance, "kappa": (same - chance) / (1 - chance) if chance < 1 else np.nan}
        found.append(pair)
    return pd.DataFrame(found, columns=["distribution", "same", "chance", "kappa"], dtype=float)


def _shares(counts: tuple[int, ...]) -> Any:
    return np.array(counts, dtype=float) / max(1, sum(counts))


def _common(one: Any, two: Any) -> float:
    return float(np.minimum(one, two).sum()) if len(one) == len(two) else np.nan
