"""What gets selected, as tables: a row per arm and layer, means over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from reports.analysis.arms import counted_trials
from reports.analysis.statistics import estimate
from reports.document.blocks import Cell, Column, Table
from reports.tracked.snapshots import agreement, extremes, own_extremes
from trainers.readable import MISSING, number, percent, signed

SELECTION_NOTE = (
    "Shares of a layer's connections, means over seeds with 95 % intervals. Moved: uses another option than the one "
    "with its highest initial score. Extremes: the smallest or the largest of its K values. B's end: the one of them "
    "that B pulls to, among the quarter of the layer's connections with the smallest and with the largest |B|. Mean "
    "|values| are relative to the bound that values were drawn within: by chance 0.5."
)
MASK_NOTE = (
    "Means over seeds with 95 % intervals. Mean |weights| are relative to the root mean square of the layer's weights: "
    "by chance 0.80 for normal weights; signed constants are all 1."
)
AGREEMENT_NOTE = (
    "Every seed draws its own random values and its own order of batches, so what can agree is the rank of the value "
    "in use among its K (of a mask: kept or dropped). Shares of the ranks: what the distributions of two trials over "
    "the ranks have in common, all connections (100: the same). Same rank: among the same 1,024 evenly spaced "
    "connections of the layer in both trials; by chance: if both chose independently, each with its own shares of the "
    "ranks; kappa is (same - chance) / (1 - chance), with its range over the pairs. Means over all pairs of seeds."
)


def machines_table(arms: pd.DataFrame, name: str) -> Table | None:
    """A row per slot machine: the extremes and the mean |value| of all its layers together."""
    machines = arms[(arms["method"] == "slot_machine") & (arms["options"] > 1) & arms["extreme_fraction"].notna()]
    if len(machines) < 2:
        return None
    columns = [
        Column("Arm", numeric=False), Column("n"), Column("K"), Column("Extremes", "%"),
        Column("Extremes by chance", "%"), Column("Mean |value| in use"),
    ]  # fmt: skip
    cells = [
        [
            Cell(arm["arm"], family=arm["family"]), Cell(counted_trials(arm), int(arm["n"])),
            Cell(f"{arm['options']}", int(arm["options"])),
            Cell(percent(arm["extreme_fraction"], arm["extreme_fraction_half_width"]), arm["extreme_fraction"]),
            Cell(percent(2 / arm["options"]), 2 / arm["options"]),
            Cell(f"{arm['selected_magnitude']:.3f}", arm["selected_magnitude"]),
        ]
        for arm in machines.to_dict("records")
    ]  # fmt: skip
    shown = [f"{metric}{end}" for metric in ("extreme_fraction", "selected_magnitude") for end in ("", "_half_width")]
    data = machines[["arm", "n", "options", *shown]]
    caption = "Extremes in every slot machine, all layers together, after the last slot epoch"
    return Table(f"{name}-machines", caption, columns, cells, [], data)


def options_table(layers: pd.DataFrame, arms: pd.DataFrame, name: str) -> Table | None:
    """A row per slot machine and layer."""
    layers = layers[layers["by_pull"].map(len) > 0]
    layers = pd.concat([layers.assign(extreme=extremes(layers)), own_extremes(layers)], axis=1)
    columns = [
        Column("Arm", numeric=False), Column("Layer", numeric=False), Column("Connections"), Column("n"),
        Column("Changed in the last epoch", "%"), Column("Moved", "%"), Column("Extremes, first epoch", "%"),
        Column("Extremes, last epoch", "%"), Column("Extremes by chance", "%"), Column("B's end, smallest |B|", "%"),
        Column("B's end, largest |B|", "%"), Column("Mean |value| in use"), Column("Mean |value| not in use"),
    ]  # fmt: skip
    cells, data = [], []
    for arm, layer, own in _by_layer(layers, arms):
        last, first = own[own["last"]], own[own["epoch"] == own["epoch"].min()]
        shares = {
            "changed": last["changed"], "moved": last["moved"], "extremes_first": first["extreme"],
            "extremes_last": last["extreme"], "own_end_smallest": last["quarter_1"],
            "own_end_largest": last["quarter_4"],
        }  # fmt: skip
        chance = min(1.0, 2 / arm["options"])
        sizes = {column: last[column] for column in ("selected_magnitude", "unselected_magnitude")}
        printed = [_share(values) for values in shares.values()]
        cells.append([
            *_heads(arm, layer, last), *printed[:4], Cell(percent(chance), chance), *printed[4:],
            *map(_size, sizes.values()),
        ])  # fmt: skip
        data.append(_data(arm, layer, last, {**shares, **sizes}) | {"extremes_by_chance": chance})
    if not cells:
        return None
    caption = "Values in use after the last slot epoch"
    return Table(f"{name}-options", caption, columns, cells, [SELECTION_NOTE], pd.DataFrame(data))


def mask_table(layers: pd.DataFrame, arms: pd.DataFrame, name: str) -> Table | None:
    """A row per mask and layer."""
    columns = [
        Column("Arm", numeric=False), Column("Layer", numeric=False), Column("Connections"), Column("n"),
        Column("Kept", "%"), Column("Changed in the last epoch", "%"), Column("Mean |weight| kept"),
        Column("Mean |weight| dropped"),
    ]  # fmt: skip
    cells, data = [], []
    for arm, layer, own in _by_layer(layers[layers["by_pull"].map(len) == 0], arms):
        last = own[own["last"]]
        kept = pd.Series([counts[-1] for counts in last["counts"]], index=last.index) / last["connections"]
        values = {"kept": kept, "changed": last["changed"], "kept_magnitude": last["selected_magnitude"],
                  "dropped_magnitude": last["unselected_magnitude"]}  # fmt: skip
        printed = [*(_share(values[share]) for share in ("kept", "changed")),
                   *(_size(values[size]) for size in ("kept_magnitude", "dropped_magnitude"))]  # fmt: skip
        cells.append([*_heads(arm, layer, last), *printed])
        data.append(_data(arm, layer, last, values))
    if not cells:
        return None
    return Table(f"{name}-masks", "Weights kept after the last epoch", columns, cells, [MASK_NOTE], pd.DataFrame(data))


def agreement_table(layers: pd.DataFrame, arms: pd.DataFrame, name: str) -> Table | None:
    """A row per arm and layer that more than one seed has."""
    columns = [
        Column("Arm", numeric=False), Column("Layer", numeric=False), Column("Connections"), Column("n"),
        Column("Shares of the ranks in common", "%"), Column("Same rank", "%"), Column("By chance", "%"),
        Column("kappa"), Column("Range of kappa"),
    ]  # fmt: skip
    cells, data = [], []
    for arm, layer, own in _by_layer(layers[layers["last"]], arms):
        if len(own) < 2:
            continue
        pairs = agreement(own)
        mean, kappa = pairs.mean(), pairs["kappa"].dropna()
        low, high = (float(kappa.min()), float(kappa.max())) if len(kappa) else (np.nan, np.nan)
        cells.append([
            *_heads(arm, layer, own), *(Cell(percent(mean[column]), mean[column]) for column in
                                        ("distribution", "same", "chance")),
            Cell(signed(mean["kappa"], 3), mean["kappa"]) if len(kappa) else Cell(MISSING),
            Cell(f"{signed(low, 3)} to {signed(high, 3)}" if len(kappa) else MISSING),
        ])  # fmt: skip
        data.append({"arm": arm["arm"], "layer": layer, "n": len(own), "pairs": len(pairs), **mean.to_dict(),
                     "kappa_low": low, "kappa_high": high})  # fmt: skip
    if not cells:
        return None
    caption = "Agreement between seeds"
    return Table(f"{name}-agreement", caption, columns, cells, [AGREEMENT_NOTE], pd.DataFrame(data))


def _by_layer(layers: pd.DataFrame, arms: pd.DataFrame) -> Iterator[tuple[pd.Series[Any], str, pd.DataFrame]]:
    for _, own in layers.groupby(["arm", "position"], sort=True):
        yield arms.iloc[int(own["arm"].iloc[0])], str(own["layer"].iloc[0]), own


def _heads(arm: pd.Series[Any], layer: str, last: pd.DataFrame) -> list[Cell]:
    connections = float(last["connections"].iloc[0])
    return [Cell(arm["arm"], family=arm["family"]), Cell(layer), Cell(number(connections), connections),
            Cell(f"{len(last)}", len(last))]  # fmt: skip


def _data(arm: pd.Series[Any], layer: str, last: pd.DataFrame, values: Mapping[str, pd.Series[Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "arm": arm["arm"],
        "layer": layer,
        "connections": last["connections"].iloc[0],
        "n": len(last),
    }
    for column, numbers in values.items():
        mean = estimate(numbers)
        found |= {column: mean.mean, f"{column}_half_width": mean.half_width}
    return found


def _share(values: pd.Series[Any]) -> Cell:
    found = estimate(values)
    return Cell(percent(found.mean, found.half_width), None if np.isnan(found.mean) else found.mean)


def _size(values: pd.Series[Any]) -> Cell:
    found = estimate(values)
    if np.isnan(found.mean):
        return Cell(MISSING)
    spread = "" if np.isnan(found.half_width) else f" ± {found.half_width:.3f}"
    return Cell(f"{found.mean:.3f}{spread}", found.mean)
