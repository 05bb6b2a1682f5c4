"""Pictures of a search: accuracy against one searched field, and every point as a line through all of them."""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np
import pandas as pd

from reports.document.svg import COLOURS, Mark
from reports.pictures.canvas import (
    FAINT,
    INK,
    RULE,
    Drawing,
    Words,
    axes_of,
    drawn,
    few_ticks,
    logarithmic_ticks,
    plain_numbers,
)
from reports.pictures.drawing import CROWD, SHAPES, rows
from trainers.readable import percent

BEST = 10  # lines that have their colour
GOAL = "Validation accuracy, %"


def accuracy_against_field(points: pd.DataFrame, label: str, logarithmic: bool, words: Words) -> Drawing:
    """A mark per point, the best ringed. points: label, family, x (a number, or a text), accuracy, best."""
    marks = {}
    with axes_of() as (figure, axes):
        names = [] if pd.api.types.is_numeric_dtype(points["x"]) else sorted(set(points["x"].astype(str)))
        places = _places(points["x"], names)
        for place, (point, x) in enumerate(zip(rows(points), places, strict=True)):
            name = f"point-{place}"
            if len(points) <= CROWD or point.best:
                marks[name] = Mark(point.label, point.family, f"{point.label}: {percent(point.accuracy)} %")
            axes.plot([x], [100 * point.accuracy], SHAPES[point.family], color=COLOURS[point.family][0], markersize=4.5,
                      alpha=1.0 if point.best else 0.55, gid=name)  # fmt: skip
            if point.best:
                axes.plot([x], [100 * point.accuracy], "o", markersize=12, markerfacecolor="none", color=INK)
        if names:
            axes.set_xticks(range(len(names)), names)
            axes.set_xlim(-0.5, len(names) - 0.5)
        else:
            if logarithmic:
                axes.set_xscale("log")
                logarithmic_ticks(axes.xaxis, *axes.get_xlim())
            else:
                few_ticks(axes.xaxis, 7)
            plain_numbers(axes.xaxis)
        axes.set_xlabel(label)
        axes.text(-0.062, 1.03, GOAL, transform=axes.transAxes, fontsize=9.5, color=FAINT)
        few_ticks(axes.yaxis, 6)
        plain_numbers(axes.yaxis)
        return drawn(figure, words, marks)


def parallel_fields(points: pd.DataFrame, fields: dict[str, bool], words: Words) -> Drawing:
    """A line per point through an axis per field, the last one its accuracy; the best few in colour, the best thick.

    points: label, family, accuracy, and a column per field. fields: whether its axis is logarithmic.
    """
    axes_names = [*fields, "accuracy"]
    with axes_of(left=0.06, right=0.94, top=0.5, bottom=0.6) as (figure, axes):
        axes.grid(visible=False)
        heights = {name: _scaled(points[name], fields.get(name, False)) for name in axes_names}
        order = points["accuracy"].rank(ascending=False, method="first")
        for place in np.argsort(-order.to_numpy()):  # the best last, above the others
            own = [float(heights[name][0].iloc[place]) for name in axes_names]
            best = order.iloc[place] <= BEST
            colour = COLOURS[points["family"].iloc[place]][0] if best else FAINT
            axes.plot(range(len(own)), own, color=colour, linewidth=2.4 if order.iloc[place] == 1 else 0.9,
                      alpha=0.9 if best else 0.3, marker="o", markersize=2.5)  # fmt: skip
        for at, name in enumerate(axes_names):
            axes.axvline(at, color=RULE, linewidth=1, zorder=0)
            for height, text in heights[name][1]:
                axes.text(at + 0.03, height, text, fontsize=8, color=FAINT, va="center")
        axes.set_xticks(range(len(axes_names)), [*(name.replace("_", " ") for name in fields), GOAL])
        axes.set_yticks([])
        axes.set_xlim(-0.1, len(axes_names) - 0.75)
        axes.set_ylim(-0.06, 1.06)
        for side in axes.spines.values():
            side.set_visible(False)
        return drawn(figure, words)


def _places(values: pd.Series[Any], names: list[str]) -> list[float]:
    """Where the marks stand: numbers where they are, texts side by side in their column."""
    if not names:
        return [float(value) for value in values]
    met = dict.fromkeys(names, 0)
    counts = values.astype(str).value_counts()
    places = []
    for value in values.astype(str):
        met[value] += 1
        places.append(names.index(value) + 0.6 * (met[value] / (counts[value] + 1) - 0.5))
    return places


def _scaled(values: pd.Series[Any], logarithmic: bool) -> tuple[pd.Series[Any], list[tuple[float, str]]]:
    """The values as heights in 0..1 (nan where a point lacks the field), and what stands beside the axis."""
    if not pd.api.types.is_numeric_dtype(values):
        names = sorted(set(values.dropna().astype(str)))
        step = max(1, len(names) - 1)
        heights = {name: place / step for place, name in enumerate(names)}
        return values.map(lambda value: heights.get(str(value), np.nan)).astype(float), [
            (height, name.replace("_", " ")) for name, height in heights.items()
        ]
    numbers = values.astype(float)
    low, high = float(numbers.min()), float(numbers.max())
    share = 100 if values.name == "accuracy" else 1
    if logarithmic and low > 0:
        numbers = numbers.map(log)
    span = float(numbers.max() - numbers.min()) or 1.0
    ends = [(0.0, f"{share * low:.3g}"), (1.0, f"{share * high:.4g}")] if high > low else [(0.0, f"{share * low:.3g}")]
    return (numbers - numbers.min()) / span, ends
