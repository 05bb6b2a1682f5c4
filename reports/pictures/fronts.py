"""Test accuracy against a cost: a mark an arm, the Pareto front as a staircase, levels to compare with as lines."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pandas as pd

from reports.document.svg import COLOURS
from reports.pictures.canvas import (
    FAINT,
    Drawing,
    Words,
    axes_of,
    drawn,
    few_ticks,
    have_room,
    logarithmic_ticks,
    plain_numbers,
    renderer_of,
    shifted,
    ticks_at,
)
from reports.pictures.drawing import (
    CROWD,
    SHAPES,
    above_legend,
    accuracy_axis,
    crowd,
    family_legend,
    hint,
    intervals,
    label_points,
    limits,
    marker,
    part,
    rows,
    spread_sideways,
)
from reports.pictures.placement import Spot
from trainers.readable import percent

HOLLOW: dict[str, Any] = {"markerfacecolor": "none", "markersize": 7, "markeredgewidth": 0.9, "linestyle": ""}
HEIGHT = 3.48  # inches, without the legend
FEW_COSTS = 6  # up to here each of them is a tick


def accuracy_against_cost(
    points: pd.DataFrame, levels: pd.DataFrame, cost_label: str, words: Words, more_is_better: bool = False
) -> Drawing:
    """One mark per arm with its 95 % intervals both ways, and the Pareto front as a step.

    points: label, name, family, cost, cost_half_width, cost_text, accuracy, half_width, published (fractions), n,
    front, shown, named, below. Arms with `named` are labelled; those off the front are grey; those `below` the scale
    stand at its lower edge. Points of nearly equal cost that hide one another are spread sideways, the best of them
    staying where it belongs; where they are too many, all but those to be `shown` are dots.
    levels: label, family, accuracy, below: lines across; what is `below` the scale is written at the bottom.
    """
    marks = {}
    has_published = bool((points["front"] & points["published"].notna()).any())
    top = above_legend(points["family"].nunique() + has_published)
    with axes_of(top=top, height=HEIGHT + top) as (figure, axes):
        sunk = points[points["below"]]
        points = points[~points["below"]].sort_values("accuracy", ascending=False)
        limits(axes, points)
        crowded = len(points) > CROWD
        shifts = [0.0] * len(points) if crowded else spread_sideways(axes, points)
        places = [shifted(figure, axes, shift) for shift in shifts]
        for place, (point, moved) in enumerate(zip(rows(points), places, strict=True)):
            if crowded and not point.shown:
                continue
            colour = COLOURS[point.family][0] if point.front or point.family == "learned" else FAINT
            name = f"arm-{place}"
            marks[name] = hint(point.label, point, f", {point.cost_text}")
            intervals(axes, point.cost, point, moved, name, point.cost_half_width, colour)
            marker(axes, point.cost, 100 * point.accuracy, point, moved, name, colour)
            if point.front and point.published == point.published:
                axes.plot([point.cost], [100 * point.published], SHAPES[point.family], color=colour, transform=moved,
                          **HOLLOW, **part(f"published-{place}", point.family))  # fmt: skip
        if crowded:
            crowd(axes, points[~points["shown"]])
        for place, point in enumerate(rows(sunk)):
            marks[f"below-{place}"] = hint(point.label, point, f", {point.cost_text}")
            axes.plot([point.cost], [0.03], "v", transform=axes.get_xaxis_transform(), color=FAINT, markersize=3.5,
                      gid=f"below-{place}")  # fmt: skip
        lines = [_staircase(axes, points, more_is_better), *_levels(axes, levels)]
        _cost_axis(axes, points["cost"], cost_label)
        accuracy_axis(axes)
        if has_published:
            axes.plot([], [], "o", color=FAINT, label="published", **HOLLOW)
        family_legend(axes, points["family"])
        label_points(axes, points, places, renderer_of(figure), lines)
        return drawn(figure, words, marks)


def _staircase(axes: Any, points: pd.DataFrame, more_is_better: bool) -> list[Spot]:
    """Draws it; returns where it bends."""
    front = points[points["front"]].sort_values("cost", ascending=not more_is_better)
    costs = [*front["cost"], axes.get_xlim()[not more_is_better]]
    best = [100 * float(value) for value in [*front["accuracy"], *front["accuracy"].tail(1)]]
    axes.step(costs, best, where="post", color=FAINT, linewidth=1, zorder=1.2)
    steps = list(zip(costs, best, strict=True))
    return steps[:1] + [bend for (_, old), (cost, new) in pairwise(steps) for bend in ((cost, old), (cost, new))]


def _levels(axes: Any, levels: pd.DataFrame) -> list[list[Spot]]:
    """Lines across; those below the scale in words at the bottom. Returns where they begin and end."""
    found = []
    for level in rows(levels):
        colour = COLOURS[level.family][0] if level.family in COLOURS else FAINT
        words = f"{level.label}, {percent(level.accuracy)} %"
        if level.below:
            axes.text(0.99, 0.02, f"▾ {words}", transform=axes.transAxes, ha="right", fontsize=9, color=FAINT)
            continue
        axes.axhline(100 * level.accuracy, color=colour, linewidth=0.9, linestyle=(0, (5, 3)), zorder=0.8)
        found.append([(limit, 100 * level.accuracy) for limit in axes.get_xlim()])
    return found


def _cost_axis(axes: Any, costs: pd.Series[Any], label: str) -> None:
    plain_numbers(axes.xaxis)
    if axes.get_xscale() == "linear":
        few_ticks(axes.xaxis, 7)
    elif costs.nunique() <= FEW_COSTS and have_room(axes, costs):
        ticks_at(axes.xaxis, costs)
    else:
        logarithmic_ticks(axes.xaxis, *axes.get_xlim())
    axes.set_xlabel(label)
