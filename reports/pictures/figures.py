"""Pictures of numbers. Frames in, drawings out; the same frame gives the same bytes."""

from __future__ import annotations

from math import isnan
from typing import Any

import pandas as pd

from reports.document.svg import COLOURS, Mark, shade
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
    shifted,
    those_with_room,
    ticks_at,
)
from reports.pictures.drawing import (
    LINES,
    LOWEST,
    PUBLISHED,
    SHAPES,
    LineEnd,
    accuracy_axis,
    accuracy_limits,
    band,
    highest,
    hint,
    intervals,
    label_ends,
    legend,
    marker,
    part,
    room_for,
    room_for_ends,
    rows,
    shortened,
    view,
)
from trainers.readable import percent

FEW_VALUES = 12  # up to here ticks stand at values of an axis, as many as have room
TOLD_APART = 300  # trials in one picture that have a name each
EPOCHS = "Epochs"  # on an axis: whole numbers


def accuracy_by_arm(points: pd.DataFrame, words: Words) -> Drawing:
    """A row per arm, in the order given: its mean and 95 % interval, its n at the right.

    points: label, name, family, accuracy, half_width (fractions), n, below. What is `below` the scale is written, not
    drawn.
    """
    hints, count = {}, len(points)
    with axes_of(left=room_for(points["name"]), right=0.94, height=0.95 + 0.235 * count, bottom=0.45) as (
        figure,
        axes,
    ):
        axes.grid(axis="x")
        axes.grid(visible=False, axis="y")
        beside: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "color": FAINT, "fontsize": 9}
        for place, point in enumerate(rows(points)):
            hints[f"row-{place}"] = hint(point.label, point)
            colour = COLOURS[point.family][0]
            axes.text(1.02, place, f"{point.n}", va="center", **beside)
            if point.below:
                written = f"◂ {percent(point.accuracy, point.half_width)}"
                axes.text(0.01, place, written, va="center", **beside | {"color": colour})
                continue
            if not isnan(point.half_width):
                low, high = 100 * (point.accuracy - point.half_width), 100 * (point.accuracy + point.half_width)
                axes.plot([low, high], [place, place], color=colour, linewidth=1.6, solid_capstyle="round",
                          **part(f"row-{place}", point.family))  # fmt: skip
            marker(axes, 100 * point.accuracy, place, point, axes.transData, f"row-{place}")
        axes.text(1.02, -1.05, "n", va="center", **beside)
        low, high = view(*(points.loc[~points["below"], column] for column in ("accuracy", "half_width")))
        room = 4 * (high - low) or 1.0
        axes.set_xlim(max(100 * low - room, LOWEST), min(100 * high + room, highest(points)))
        axes.set_ylim(count - 0.4, -0.6)
        axes.set_yticks(range(count), points["name"].map(shortened), color=INK)
        axes.spines["left"].set_visible(False)
        few_ticks(axes.xaxis, 7)
        axes.set_xlabel("Test accuracy, %")
        return drawn(figure, words, hints)


def accuracy_over(
    points: pd.DataFrame, baseline: pd.DataFrame, x_label: str, logarithmic: bool, words: Words
) -> Drawing:
    """A line per series over K, or over the slot epochs of one budget, with 95 % intervals.

    points: series, family, style (0-3), x, accuracy, half_width, n, published (fraction or nan).
    baseline: name, accuracy, half_width, n: drawn as a band across.
    """
    hints, ends = {}, list[LineEnd]()
    beside = 1 - room_for_ends([*points["series"], *baseline["name"]])
    with axes_of(right=beside, top=0.62 if points["published"].notna().any() else 0.36) as (figure, axes):
        if logarithmic:
            axes.set_xscale("log", base=2)
        low, high = float(points["x"].min()), float(points["x"].max())
        room = 0.07 * (high - low)
        axes.set_xlim(*((low / 1.25, high * 1.25) if logarithmic else (low - room, high + room)))
        accuracy_limits(axes, pd.concat([points, baseline]), points["published"])
        for place, line in enumerate(rows(baseline)):
            ends.append(band(axes, line, place))
        names = list(dict.fromkeys(points["series"]))
        for place, name in enumerate(names):
            series = points[points["series"] == name].sort_values("x")
            family, style, accuracy = series["family"].iloc[0], int(series["style"].iloc[0]), 100 * series["accuracy"]
            colour = shade(family, style)
            moved = shifted(figure, axes, 4.5 * (place - (len(names) - 1) / 2))
            drawn_as: dict[str, Any] = {"color": colour, "linewidth": 1.5, "linestyle": LINES[style]}
            axes.plot(series["x"], accuracy, transform=moved, **drawn_as, **part(f"line-{place}", family))
            for point in rows(series):
                group = f"point-{place}-{point.Index}"
                hints[group] = hint(f"{name}, {point.x:g}", point)
                intervals(axes, point.x, point, moved, group, colour=colour)
                marker(axes, point.x, 100 * point.accuracy, point, moved, group, colour)
            ends.append(LineEnd(float(accuracy.iloc[-1]), name, COLOURS[family][0], drawn_as))
            known = series[series["published"].notna()]
            axes.plot(known["x"], 100 * known["published"].astype(float), "o--", color=colour, **PUBLISHED)
        if points["x"].nunique() <= FEW_VALUES:
            ticks_at(axes.xaxis, those_with_room(axes, points["x"]))
        elif logarithmic:
            logarithmic_ticks(axes.xaxis, *axes.get_xlim())
        else:
            few_ticks(axes.xaxis, 7)
        plain_numbers(axes.xaxis)
        axes.set_xlabel(x_label)
        accuracy_axis(axes)
        if points["published"].notna().any():
            axes.plot([], [], "o--", color=FAINT, label="published", **PUBLISHED)
            legend(axes)
        label_ends(axes, ends)
        return drawn(figure, words, hints)


def along_training(points: pd.DataFrame, x_label: str, y_label: str, logarithmic: bool, words: Words) -> Drawing:
    """A line per series over epochs or time, its 95 % interval as a shade.

    points: series, family, epoch, x, value, half_width (fractions).
    """
    ends = []
    with axes_of(right=1 - room_for_ends(points["series"])) as (figure, axes):
        if logarithmic:
            axes.set_yscale("log")
        ends_at = points.groupby("series")["x"].max()
        if ends_at.max() > 4 * ends_at.min():
            axes.set_xscale("log")
        for name, series in points.groupby("series", sort=False):
            colour = COLOURS[series["family"].iloc[0]][0]
            value, half_width = 100 * series["value"], 100 * series["half_width"].fillna(0)
            style: dict[str, Any] = {"color": colour, "linewidth": 1.4}
            axes.plot(series["x"], value, **style)
            low = (value - half_width).clip(lower=value / 10 if logarithmic else None)
            axes.fill_between(series["x"], low, value + half_width, color=colour, alpha=0.15, linewidth=0)
            ends.append(LineEnd(float(value.iloc[-1]), str(name), colour, style))
        axes.margins(x=0.01)
        if not logarithmic:
            settled = points[points["epoch"] > 0.1 * points["epoch"].max()]
            accuracy_limits(axes, settled.rename(columns={"value": "accuracy"}))
            few_ticks(axes.yaxis, 6)
        else:
            logarithmic_ticks(axes.yaxis, *axes.get_ylim())
        plain_numbers(axes.yaxis)
        if axes.get_xscale() == "linear":
            few_ticks(axes.xaxis, 7, whole=x_label == EPOCHS)
        else:
            logarithmic_ticks(axes.xaxis, *axes.get_xlim())
        plain_numbers(axes.xaxis)
        axes.set_xlabel(x_label)
        axes.text(-0.075, 1.03, y_label, transform=axes.transAxes, fontsize=9.5, color=FAINT)
        label_ends(axes, ends)
        return drawn(figure, words)


def shares_over(points: pd.DataFrame, x_label: str, y_label: str, chance: float, words: Words) -> Drawing:
    """A line per series over ranks or quarters, its 95 % interval as a shade; the same in the first epoch dotted.

    points: series, family, style (0-3), first, x, value, half_width (fractions). chance: a line across, a fraction.
    """
    ends = []
    with axes_of(right=1 - room_for_ends(points["series"])) as (figure, axes):
        axes.axhline(100 * chance, color=FAINT, linewidth=0.8)
        for (name, first), series in points.groupby(["series", "first"], sort=False):
            colour = shade(series["family"].iloc[0], int(series["style"].iloc[0]))
            value, half_width = 100 * series["value"], 100 * series["half_width"].fillna(0)
            faint: dict[str, Any] = {"linestyle": LINES[2], "linewidth": 0.9, "alpha": 0.55}
            style: dict[str, Any] = {"linestyle": LINES[series["style"].iloc[0]], "linewidth": 1.4}
            axes.plot(series["x"], value, color=colour, **(faint if first else style))
            if not first:
                axes.fill_between(
                    series["x"], (value - half_width).clip(lower=0), (value + half_width).clip(upper=100),
                    color=colour, alpha=0.12, linewidth=0,
                )  # fmt: skip
                text = COLOURS[series["family"].iloc[0]][0]
                ends.append(LineEnd(float(value.iloc[-1]), str(name), text, {"color": colour, **style}))
        axes.margins(x=0.01)
        axes.set_ylim(bottom=0)
        few_ticks(axes.yaxis, 6)
        few_ticks(axes.xaxis, 9, whole=True)
        axes.set_xlabel(x_label)
        axes.text(-0.075, 1.03, y_label, transform=axes.transAxes, fontsize=9.5, color=FAINT)
        label_ends(axes, ends)
        return drawn(figure, words)


def accuracy_of_trials(points: pd.DataFrame, x_label: str, words: Words) -> Drawing:
    """A mark per trial, no means: for what one trial in two may do. points: label, family, x, accuracy (fraction)."""
    hints = {}
    with axes_of() as (figure, axes):
        for family, members in points.groupby("family", sort=False):
            mark: dict[str, Any] = {"marker": SHAPES[str(family)], "linestyle": "", "color": COLOURS[str(family)][0]}
            if len(members) > TOLD_APART:
                axes.plot(members["x"], 100 * members["accuracy"], **mark, markersize=2.5, alpha=0.35)
                continue
            for point in rows(members):
                group = f"trial-{point.Index}"
                hints[group] = Mark(point.label, str(family), f"{point.label}: {percent(point.accuracy)} %")
                axes.plot([point.x], [100 * point.accuracy], **mark, markersize=5, alpha=0.75, gid=group)
        axes.axvline(0, color=RULE, linewidth=0.8, zorder=0)
        axes.margins(0.04)
        few_ticks(axes.xaxis, 9)
        plain_numbers(axes.xaxis)
        axes.set_xlabel(x_label)
        accuracy_axis(axes)
        return drawn(figure, words, hints)


def counts_of(counts: pd.DataFrame, states: list[str], words: Words) -> Drawing:
    """A bar per row of `counts`, called by its column `group`, in parts for the columns `states`, the count in each."""
    colours = (COLOURS["edge_popup"][0], COLOURS["ps"][0], RULE, RULE)
    names = [str(name) for name in counts["group"]]
    with axes_of(left=room_for(names), top=0.5, height=1.1 + 0.26 * len(names)) as (figure, axes):
        axes.grid(visible=False)
        left = pd.Series(0.0, index=counts.index)
        for place, state in enumerate(states):
            sizes = counts[state].astype(float)
            axes.barh(range(len(names)), list(sizes), left=list(left), height=0.62, color=colours[place], label=state,
                      alpha=0.35 if place == len(states) - 1 else 1.0)  # fmt: skip
            for row, (start, size) in enumerate(zip(left, sizes, strict=True)):
                if size:
                    ink = "#ffffff" if place < 2 else INK
                    axes.text(start + size / 2, row, f"{size:.0f}", ha="center", va="center", fontsize=8, color=ink)
            left = left + sizes
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_yticks(range(len(names)), [shortened(name) for name in names], color=INK)
        few_ticks(axes.xaxis, 7, whole=True)
        axes.set_xlabel("Requirements")
        axes.spines["left"].set_visible(False)
        legend(axes)
        return drawn(figure, words)
