"""Pictures of numbers: the only importer of matplotlib. Frames in, SVG out; the same frame gives the same bytes."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isnan
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation

from reports.document.svg import COLOURS, themed
from reports.pictures.drawing import (
    CROWD,
    FAINT,
    INK,
    LINES,
    PUBLISHED,
    RULE,
    SHAPES,
    accuracy_limits,
    band,
    crowd,
    family_legend,
    hint,
    intervals,
    label_ends,
    label_points,
    legend,
    limits,
    marker,
    room_for,
    rows,
    shortened,
    spread_sideways,
    view,
)
from trainers.readable import percent

TOLD_APART = 300  # trials in one picture that have a name each
WIDTH = 7.2  # inches; the drawing scales with the page
STYLE: dict[str, Any] = {
    "svg.hashsalt": "sweeper", "svg.fonttype": "none", "font.size": 9.5, "text.color": INK, "text.parse_math": False,
    "axes.edgecolor": RULE, "axes.labelcolor": FAINT, "axes.labelsize": 9.5, "axes.linewidth": 0.8,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.grid.axis": "y", "grid.color": RULE,
    "grid.linewidth": 0.6, "axes.axisbelow": True, "xtick.color": FAINT, "ytick.color": FAINT, "xtick.labelsize": 9,
    "ytick.labelsize": 9, "ytick.major.size": 0, "xtick.major.size": 3, "xtick.major.width": 0.8,
    "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none", "legend.frameon": False,
}  # fmt: skip


@dataclass(frozen=True)
class Words:
    """What a figure is called: its name in files and ids, its title, and what it shows, for those who cannot see it."""

    name: str
    title: str
    description: str


def accuracy_by_arm(points: pd.DataFrame, words: Words) -> str:
    """A row per arm, in the order given: its mean and 95 % interval, its n at the right.

    points: label, family, accuracy, half_width (fractions), n, below. What is `below` the scale is written, not drawn.
    """
    hints, count = {}, len(points)
    with _axes(left=room_for(points["label"]), right=0.94, height=0.95 + 0.235 * count, bottom=0.45) as (figure, axes):
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
                axes.plot([low, high], [place, place], color=colour, linewidth=1.6, solid_capstyle="round")
            marker(axes, 100 * point.accuracy, place, point, axes.transData, f"row-{place}")
        axes.text(1.02, -1.05, "n", va="center", **beside)
        low, high = view(*(points.loc[~points["below"], column] for column in ("accuracy", "half_width")))
        room = 4 * (high - low) or 1.0
        axes.set_xlim(100 * low - room, min(100 * high + room, max(100.5, 100 * high)))
        axes.set_ylim(count - 0.4, -0.6)
        axes.set_yticks(range(count), points["label"].map(shortened), color=INK)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]))
        axes.set_xlabel("Test accuracy, %")
        return themed(_svg(figure), words.name, words.title, words.description, hints)


def accuracy_against_cost(points: pd.DataFrame, cost_label: str, more_is_better: bool, words: Words) -> str:
    """One point per arm with its 95 % intervals, and the Pareto front as a step.

    points: label, family, cost, cost_half_width, accuracy, half_width (fractions), n, front, shown, named. Arms with
    `named` are labelled. Points of nearly equal cost are spread sideways, the best of them staying where it belongs;
    where they are too many for that, all but those to be `shown` are dots.
    """
    hints = {}
    with _axes(top=0.62) as (figure, axes):
        points = points.sort_values("accuracy", ascending=False)
        limits(axes, points)
        crowded = len(points) > CROWD
        shifts = [0.0] * len(points) if crowded else spread_sideways(axes, points["cost"])
        transforms = [axes.transData + ScaledTranslation(shift / 72, 0, figure.dpi_scale_trans) for shift in shifts]
        for place, (point, moved) in enumerate(zip(rows(points), transforms, strict=True)):
            if crowded and not point.shown:
                continue
            hints[f"arm-{place}"] = hint(point.label, point)
            intervals(axes, point.cost, point, moved, point.cost_half_width)
            marker(axes, point.cost, 100 * point.accuracy, point, moved, f"arm-{place}")
        if crowded:
            crowd(axes, points[~points["shown"]])
        front = points[points["front"]].sort_values("cost", ascending=not more_is_better)
        costs = [*front["cost"], axes.get_xlim()[not more_is_better]]
        best = [*front["accuracy"], *front["accuracy"].tail(1)]
        axes.step(costs, 100 * np.array(best), where="post", color=FAINT, linewidth=1, linestyle=(0, (4, 2)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        if axes.get_xscale() == "linear":
            axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]))
        elif points["cost"].nunique() <= 6:
            axes.xaxis.set_major_locator(FixedLocator(sorted(set(points["cost"]))))
            axes.xaxis.set_minor_locator(NullLocator())
        else:
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.set_xlabel(cost_label)
        _accuracy_axis(axes)
        family_legend(axes, points["family"])
        renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
        label_points(axes, points, transforms, renderer)
        return themed(_svg(figure), words.name, words.title, words.description, hints)


def accuracy_over(points: pd.DataFrame, baseline: pd.DataFrame, x_label: str, logarithmic: bool, words: Words) -> str:
    """A line per series over K, or over the slot epochs of one budget, with 95 % intervals.

    points: series, family, style (0-3), x, accuracy, half_width, n, published (fraction or nan).
    baseline: label, accuracy, half_width, n: drawn as a band across.
    """
    hints, ends = {}, []
    beside = 1 - room_for([*points["series"], *baseline["label"]])
    with _axes(right=beside, top=0.62 if points["published"].notna().any() else 0.36) as (figure, axes):
        if logarithmic:
            axes.set_xscale("log", base=2)
        low, high = float(points["x"].min()), float(points["x"].max())
        room = 0.07 * (high - low)
        axes.set_xlim(*((low / 1.25, high * 1.25) if logarithmic else (low - room, high + room)))
        accuracy_limits(axes, pd.concat([points, baseline]), points["published"])
        for place, line in enumerate(rows(baseline)):
            ends.append((band(axes, line, place), line.label, COLOURS["learned"][0]))
        names = list(dict.fromkeys(points["series"]))
        for place, name in enumerate(names):
            series = points[points["series"] == name].sort_values("x")
            colour, accuracy = COLOURS[series["family"].iloc[0]][0], 100 * series["accuracy"]
            shift = ScaledTranslation(4.5 * (place - (len(names) - 1) / 2) / 72, 0, figure.dpi_scale_trans)
            moved = axes.transData + shift
            axes.plot(series["x"], accuracy, color=colour, linewidth=1.5, linestyle=LINES[series["style"].iloc[0]],
                      transform=moved)  # fmt: skip
            for point in rows(series):
                group = f"point-{place}-{point.Index}"
                hints[group] = hint(f"{name}, {point.x:g}", point)
                intervals(axes, point.x, point, moved)
                marker(axes, point.x, 100 * point.accuracy, point, moved, group)
            ends.append((accuracy.iloc[-1], name, colour))
            known = series[series["published"].notna()]
            axes.plot(known["x"], 100 * known["published"].astype(float), "o--", color=colour, **PUBLISHED)
        axes.xaxis.set_major_locator(FixedLocator(sorted(set(points["x"]))))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlabel(x_label)
        _accuracy_axis(axes)
        if points["published"].notna().any():
            axes.plot([], [], "o--", color=FAINT, label="published", **PUBLISHED)
            legend(axes)
        label_ends(axes, ends)
        return themed(_svg(figure), words.name, words.title, words.description, hints)


def along_training(points: pd.DataFrame, x_label: str, y_label: str, logarithmic: bool, words: Words) -> str:
    """A line per series over epochs or time, its 95 % interval as a shade.

    points: series, family, epoch, x, value, half_width (fractions).
    """
    ends = []
    with _axes(right=1 - room_for(points["series"])) as (figure, axes):
        if logarithmic:
            axes.set_yscale("log")
        ends_at = points.groupby("series")["x"].max()
        if ends_at.max() > 4 * ends_at.min():
            axes.set_xscale("log")
        for name, series in points.groupby("series", sort=False):
            colour = COLOURS[series["family"].iloc[0]][0]
            value, half_width = 100 * series["value"], 100 * series["half_width"].fillna(0)
            axes.plot(series["x"], value, color=colour, linewidth=1.4)
            low = (value - half_width).clip(lower=value / 10 if logarithmic else None)
            axes.fill_between(series["x"], low, value + half_width, color=colour, alpha=0.15, linewidth=0)
            ends.append((float(value.iloc[-1]), str(name), colour))
        axes.margins(x=0.01)
        if not logarithmic:
            settled = points[points["epoch"] > 0.1 * points["epoch"].max()]
            accuracy_limits(axes, settled.rename(columns={"value": "accuracy"}))
            axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        if axes.get_xscale() == "linear":
            axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlabel(x_label)
        axes.text(-0.075, 1.03, y_label, transform=axes.transAxes, fontsize=9.5, color=FAINT)
        label_ends(axes, ends)
        return themed(_svg(figure), words.name, words.title, words.description)


def shares_over(points: pd.DataFrame, x_label: str, y_label: str, chance: float, words: Words) -> str:
    """A line per series over ranks or quarters, its 95 % interval as a shade; the same in the first epoch dotted.

    points: series, family, style (0-3), first, x, value, half_width (fractions). chance: a line across, a fraction.
    """
    ends = []
    with _axes(right=1 - room_for(points["series"])) as (figure, axes):
        axes.axhline(100 * chance, color=FAINT, linewidth=0.8)
        for (name, first), series in points.groupby(["series", "first"], sort=False):
            colour = COLOURS[series["family"].iloc[0]][0]
            value, half_width = 100 * series["value"], 100 * series["half_width"].fillna(0)
            faint: dict[str, Any] = {"linestyle": LINES[2], "linewidth": 0.9, "alpha": 0.55}
            style: dict[str, Any] = {"linestyle": LINES[series["style"].iloc[0]], "linewidth": 1.4}
            axes.plot(series["x"], value, color=colour, **(faint if first else style))
            if not first:
                axes.fill_between(
                    series["x"], (value - half_width).clip(lower=0), (value + half_width).clip(upper=100),
                    color=colour, alpha=0.12, linewidth=0,
                )  # fmt: skip
                ends.append((float(value.iloc[-1]), str(name), colour))
        axes.margins(x=0.01)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
        axes.xaxis.set_major_locator(MaxNLocator(9, steps=[1, 2, 5, 10], integer=True))
        axes.set_xlabel(x_label)
        axes.text(-0.075, 1.03, y_label, transform=axes.transAxes, fontsize=9.5, color=FAINT)
        label_ends(axes, ends)
        return themed(_svg(figure), words.name, words.title, words.description)


def accuracy_of_trials(points: pd.DataFrame, x_label: str, words: Words) -> str:
    """A mark per trial, no means: for what one trial in two may do. points: label, family, x, accuracy (fraction)."""
    hints = {}
    with _axes() as (figure, axes):
        for family, members in points.groupby("family", sort=False):
            mark: dict[str, Any] = {"marker": SHAPES[str(family)], "linestyle": "", "color": COLOURS[str(family)][0]}
            if len(members) > TOLD_APART:
                axes.plot(members["x"], 100 * members["accuracy"], **mark, markersize=2.5, alpha=0.35)
                continue
            for point in rows(members):
                group = f"trial-{point.Index}"
                hints[group] = f"{point.label}: {percent(point.accuracy)} %"
                axes.plot([point.x], [100 * point.accuracy], **mark, markersize=5, alpha=0.75, gid=group)
        axes.axvline(0, color=RULE, linewidth=0.8, zorder=0)
        axes.margins(0.04)
        axes.xaxis.set_major_locator(MaxNLocator(9, steps=[1, 2, 2.5, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlabel(x_label)
        _accuracy_axis(axes)
        return themed(_svg(figure), words.name, words.title, words.description, hints)


@contextmanager
def _axes(
    left: float = 0.07, right: float = 0.98, top: float = 0.36, bottom: float = 0.52, height: float = 4.1
) -> Iterator[tuple[Figure, Axes]]:
    """One pair of axes in our own style, whatever the user's. left, right: shares of the width; the rest: inches."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the page's own fonts are used
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)  # type: ignore[arg-type]
        figure = Figure(figsize=(WIDTH, height), dpi=72)  # what SVG is written at
        yield figure, figure.add_axes((left, bottom / height, right - left, 1 - (top + bottom) / height))


def _svg(figure: Figure) -> str:
    written = io.StringIO()
    figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return written.getvalue()


def _accuracy_axis(axes: Axes) -> None:
    axes.text(-0.062, 1.03, "Test accuracy, %", transform=axes.transAxes, fontsize=9.5, color=FAINT)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
