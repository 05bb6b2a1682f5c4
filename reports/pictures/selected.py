"""What gets selected, as pictures: shares of a layer's connections in the first epoch and the last."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from reports.analysis.statistics import interval_half_width
from reports.document.blocks import Figure
from reports.pictures import figures
from reports.pictures.canvas import Words
from reports.tracked.snapshots import own_extremes
from trainers.readable import percent

FIRST_AND_LAST = "Lines are means over seeds after the last slot epoch, with 95 % intervals; dotted: after the first."
MOST_HEARD = 8  # values in a picture's alternative
LAYERS_DRAWN = 5  # in one picture, evenly spaced over the network


def ranks(layers: pd.DataFrame, arm: pd.Series[Any], name: str, problem: str) -> Iterator[Figure]:
    """Shares of the ranks by layer, in the first epoch and the last; nothing to see where K is 2."""
    if layers.empty or arm["options"] < 3:
        return
    shares = pd.DataFrame(
        [np.array(counts) / max(1, sum(counts)) for counts in layers["counts"]], index=layers.index
    ).rename(columns=lambda column: column + 1)
    drawn = _means(layers, shares, arm)
    title = f"{problem}: rank of the value in use, {arm['arm']}"
    chance = 1 / shares.shape[1]
    grouped = f" Ranks stand in {shares.shape[1]} groups of neighbours." if arm["options"] > shares.shape[1] else ""
    yield _figure(drawn, name, title, "Rank of the value in use among its K, smallest first", "Connections, %", chance,
                  f"The thin line across is chance. {FIRST_AND_LAST}{grouped}")  # fmt: skip


def quarters(layers: pd.DataFrame, arm: pd.Series[Any], name: str, problem: str) -> Iterator[Figure]:
    """The share that uses the value on B's own end, by quarter of |B|."""
    if layers.empty:
        return
    shares = own_extremes(layers).set_axis([1, 2, 3, 4], axis=1)
    drawn = _means(layers, shares, arm)
    title = f"{problem}: values on B's own end against |B|, {arm['arm']}"
    caption = (
        "Quarters of a layer's connections by |B|, 1 the smallest. By chance it would be "
        f"{percent(1 / arm['options'])} %, the thin line across. {FIRST_AND_LAST}"
    )
    yield _figure(drawn, name, title, "Quarter of the connections by |B|", "Use the value on B's own end, %",
                  1 / arm["options"], caption)  # fmt: skip


def _means(layers: pd.DataFrame, shares: pd.DataFrame, arm: pd.Series[Any]) -> pd.DataFrame:
    """Means over trials of some layers' shares, first epoch and last: series, x, value, half_width, n, first."""
    positions = sorted(set(layers["position"]))
    spread = np.unique(np.linspace(0, len(positions) - 1, LAYERS_DRAWN).round().astype(int))
    first_epoch = layers["epoch"] == layers.groupby("run_id")["epoch"].transform("min")
    parts = []
    for style, position in enumerate(positions[place] for place in spread):
        for is_first, wanted in (
            (False, layers["last"]),
            (True, first_epoch & ~layers["last"]),
        ):
            own = shares[wanted & (layers["position"] == position)]
            if len(own):
                label = layers.loc[own.index[0], "layer"]
                parts.append(pd.DataFrame({
                    "series": label, "family": arm["family"], "style": style % 4, "first": is_first, "x": own.columns,
                    "value": own.mean().to_numpy(), "n": len(own),
                    "half_width": interval_half_width(own.std(), np.full(own.shape[1], len(own))),
                }))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def _figure(
    drawn: pd.DataFrame, name: str, title: str, x_label: str, y_label: str, chance: float, caption: str
) -> Figure:
    ends = drawn[~drawn["first"]]
    said = [f"{series}: {_heard(group['value'])} %" for series, group in ends.groupby("series", sort=False)]
    words = Words(name, title, f"In the last epoch, from left to right: {'; '.join(said)}.")
    drawing = figures.shares_over(drawn, x_label, y_label, chance, words)
    return Figure(name, title, caption, words.description, drawing.svg, drawn, drawing.written_as)


def _heard(values: pd.Series[float]) -> str:
    """What is listened to, not looked at: of many values the ends and how little is left between them."""
    told = [percent(value) for value in values]
    if len(told) <= MOST_HEARD:
        return ", ".join(told)
    inner = values.iloc[2:-2]
    between = f"{percent(inner.min())} to {percent(inner.max())}"
    return f"{', '.join(told[:2])}, then {between}, at the end {', '.join(told[-2:])}"
