"""Pictures of numbers: the only importer of matplotlib. Frames in, SVG out; the same frame gives the same bytes."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isnan, nan
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation

from reports.arms import FAMILIES
from reports.formats import percent
from reports.placement import along, clusters, is_free, is_inside, pushed_apart, side_by_side
from reports.svg import COLOURS, themed

INK, FAINT, RULE = (COLOURS[name][0] for name in ("ink", "faint", "rule"))
CROWD = 80  # more arms than this in one picture are drawn small, and only those on the front are told apart
WIDTH = 7.2  # inches; the drawing scales with the page
# A family is told by its shape as well as by its colour.
SHAPES = {
    "gs": "o", "ps": "s", "gs_finetuned": "D", "ps_finetuned": "d", "edge_popup": "^", "supermask": "v", "learned": "X",
}  # fmt: skip
LINES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1, 2)))
PUBLISHED: dict[str, Any] = {"markerfacecolor": "none", "markersize": 5, "linewidth": 0.9}
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
    hints, rows = {}, len(points)
    with _axes(left=0.3, right=0.94, height=0.95 + 0.235 * rows, bottom=0.45) as (figure, axes):
        axes.grid(axis="x")
        axes.grid(visible=False, axis="y")
        beside: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "color": FAINT, "fontsize": 9}
        for place, point in enumerate(_rows(points)):
            hints[f"row-{place}"] = _hint(point.label, point)
            colour = COLOURS[point.family][0]
            axes.text(1.02, place, f"{point.n}", va="center", **beside)
            if point.below:
                written = f"◂ {percent(point.accuracy, point.half_width)}"
                axes.text(0.01, place, written, va="center", **beside | {"color": colour})
                continue
            if not isnan(point.half_width):
                low, high = 100 * (point.accuracy - point.half_width), 100 * (point.accuracy + point.half_width)
                axes.plot([low, high], [place, place], color=colour, linewidth=1.6, solid_capstyle="round")
            _marker(axes, 100 * point.accuracy, place, point, axes.transData, f"row-{place}")
        axes.text(1.02, -1.05, "n", va="center", **beside)
        axes.set_ylim(rows - 0.4, -0.6)
        axes.set_yticks(range(rows), points["label"], color=INK)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]))
        axes.set_xlabel("Test accuracy, %")
        return themed(_svg(figure), words.name, words.title, words.description, hints)


def accuracy_against_cost(points: pd.DataFrame, cost_label: str, words: Words) -> str:
    """One point per arm with its 95 % intervals, and the Pareto front as a step.

    points: label, family, cost, cost_half_width, accuracy, half_width (fractions), n, front, named. Arms with `named`
    are labelled. Points of nearly equal cost are spread sideways, the best of them staying where it belongs.
    """
    hints = {}
    with _axes(top=0.62) as (figure, axes):
        points = points.sort_values("accuracy", ascending=False)
        _limits(axes, points)
        crowd = len(points) > CROWD
        shifts = [0.0] * len(points) if crowd else _side_by_side(axes, points["cost"])
        transforms = [axes.transData + ScaledTranslation(shift / 72, 0, figure.dpi_scale_trans) for shift in shifts]
        for place, (point, moved) in enumerate(zip(_rows(points), transforms, strict=True)):
            if crowd and not point.front:
                continue
            hints[f"arm-{place}"] = _hint(point.label, point)
            _intervals(axes, point.cost, point, moved, point.cost_half_width)
            _marker(axes, point.cost, 100 * point.accuracy, point, moved, f"arm-{place}")
        if crowd:
            _crowd(axes, points[~points["front"]])
        front = points[points["front"]].sort_values("cost")
        costs, best = [*front["cost"], axes.get_xlim()[1]], [*front["accuracy"], *front["accuracy"].tail(1)]
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
        _family_legend(axes, points["family"])
        _label_points(axes, points, transforms)
        return themed(_svg(figure), words.name, words.title, words.description, hints)


def accuracy_over(points: pd.DataFrame, baseline: pd.DataFrame, x_label: str, logarithmic: bool, words: Words) -> str:
    """A line per series over K, or over the slot epochs of one budget, with 95 % intervals.

    points: series, family, style (0-3), x, accuracy, half_width, n, published (fraction or nan).
    baseline: label, accuracy, half_width, n: drawn as a band across.
    """
    hints, ends = {}, []
    with _axes(right=0.78, top=0.62 if points["published"].notna().any() else 0.36) as (figure, axes):
        if logarithmic:
            axes.set_xscale("log", base=2)
        low, high = float(points["x"].min()), float(points["x"].max())
        room = 0.07 * (high - low)
        axes.set_xlim(*((low / 1.25, high * 1.25) if logarithmic else (low - room, high + room)))
        _accuracy_limits(axes, pd.concat([points, baseline]), points["published"])
        for place, line in enumerate(_rows(baseline)):
            ends.append((_band(axes, line, place), line.label, COLOURS["learned"][0]))
        names = list(dict.fromkeys(points["series"]))
        for place, name in enumerate(names):
            series = points[points["series"] == name].sort_values("x")
            colour, accuracy = COLOURS[series["family"].iloc[0]][0], 100 * series["accuracy"]
            shift = ScaledTranslation(4.5 * (place - (len(names) - 1) / 2) / 72, 0, figure.dpi_scale_trans)
            moved = axes.transData + shift
            axes.plot(series["x"], accuracy, color=colour, linewidth=1.5, linestyle=LINES[series["style"].iloc[0]],
                      transform=moved)  # fmt: skip
            for point in _rows(series):
                group = f"point-{place}-{point.Index}"
                hints[group] = _hint(f"{name}, {point.x:g}", point)
                _intervals(axes, point.x, point, moved)
                _marker(axes, point.x, 100 * point.accuracy, point, moved, group)
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
            _legend(axes)
        _label_ends(axes, ends)
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


def _hint(label: str, point: Any) -> str:
    return f"{label}: {percent(point.accuracy, point.half_width)} %, n = {point.n}"


def _marker(axes: Axes, x: float, y: float, point: Any, transform: Any, group: str) -> None:
    """Hollow where a single trial gives no interval."""
    colour = COLOURS[point.family][0]
    axes.plot([x], [y], SHAPES[point.family], color=colour, markerfacecolor=colour if point.n > 1 else "none",
              markersize=5.5, transform=transform, gid=group, zorder=3)  # fmt: skip


def _intervals(axes: Axes, x: float, point: Any, transform: Any, x_half_width: float = nan) -> None:
    style: dict[str, Any] = {"color": COLOURS[point.family][0], "linewidth": 1.3, "alpha": 0.7, "transform": transform}
    accuracy, half_width = 100 * point.accuracy, 100 * point.half_width
    if not isnan(half_width):
        axes.plot([x, x], [accuracy - half_width, accuracy + half_width], **style)
    if not isnan(x_half_width):
        axes.plot([x - x_half_width, x + x_half_width], [accuracy, accuracy], **style)


def _crowd(axes: Axes, points: pd.DataFrame) -> None:
    """Many points at once, small and pale, with their intervals."""
    for family, members in points.groupby("family", sort=False):
        axes.errorbar(
            members["cost"], 100 * members["accuracy"], yerr=100 * members["half_width"], fmt=SHAPES[str(family)],
            color=COLOURS[str(family)][0], markersize=2.5, elinewidth=0.5, alpha=0.35, zorder=1.5,
        )  # fmt: skip


def _limits(axes: Axes, points: pd.DataFrame) -> None:
    """Room for every interval; a logarithmic axis where costs differ by more than a factor of four."""
    margin, costs = points["cost_half_width"].fillna(0), points["cost"]
    low, high = float((costs - margin).min()), float((costs + margin).max())
    if low > 0 and high > 4 * low:
        axes.set_xscale("log")
        axes.set_xlim(low / (high / low) ** 0.07, high * (high / low) ** 0.07)
    else:
        room = 0.08 * (high - low) or 0.5 * high or 1.0
        axes.set_xlim(low - room, high + room)
    _accuracy_limits(axes, points)


def _accuracy_limits(axes: Axes, points: pd.DataFrame, others: pd.Series[Any] | None = None) -> None:
    margin = points["half_width"].fillna(0)
    ends = pd.concat([points["accuracy"] - margin, points["accuracy"] + margin, *([] if others is None else [others])])
    low, high = 100 * float(ends.min()), 100 * float(ends.max())
    room = 0.08 * (high - low) or 1.0
    axes.set_ylim(low - room, high + 1.5 * room)


def _side_by_side(axes: Axes, costs: pd.Series[Any], apart: float = 9.0) -> list[float]:
    """How far to move each point sideways (in pt) so that those of nearly equal cost stand side by side, on a shade.

    The first of them, which is the best, stays where it belongs.
    """
    widest = max(len(members) for members in clusters(_places(axes, costs), apart))
    if widest > 1:
        _widen(axes, (widest + 1) * apart / 2 / axes.get_window_extent().width)
    places = _places(axes, costs)
    for members in clusters(places, apart):
        if len(members) > 2:
            middle, half = places[members[0]], (len(members) // 2 + 0.7) * apart
            edges = axes.transData.inverted().transform([(middle - half, 0.0), (middle + half, 0.0)])[:, 0]
            axes.axvspan(*edges, color=FAINT, alpha=0.08, linewidth=0)
            axes.axvline(float(costs.iloc[members[0]]), color=RULE, linewidth=1, zorder=0.6)
    return side_by_side(places, apart)


def _places(axes: Axes, costs: pd.Series[Any]) -> list[float]:
    """Where the costs lie on the page, in pt."""
    return [float(axes.transData.transform((cost, 1.0))[0]) for cost in costs]


def _widen(axes: Axes, share: float) -> None:
    low, high = (axes.transData.transform((limit, 1.0))[0] for limit in axes.get_xlim())
    room = share * (high - low)
    left, right = axes.transData.inverted().transform([(low - room, 0.0), (high + room, 0.0)])[:, 0]
    axes.set_xlim(float(left), float(right))


def _band(axes: Axes, line: Any, place: int) -> float:
    colour, mean = COLOURS["learned"][0], 100 * float(line.accuracy)
    if not isnan(line.half_width):
        axes.axhspan(mean - 100 * line.half_width, mean + 100 * line.half_width, color=colour, alpha=0.14, linewidth=0)
    axes.axhline(mean, color=colour, linewidth=1.1, linestyle=LINES[min(place + 1, 3)])
    return mean


def _accuracy_axis(axes: Axes) -> None:
    axes.text(-0.062, 1.03, "Test accuracy, %", transform=axes.transAxes, fontsize=9.5, color=FAINT)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _family_legend(axes: Axes, families: pd.Series[Any]) -> None:
    present = [family for family in FAMILIES if family in set(families)]
    for family in present:
        axes.plot([], [], SHAPES[family], color=COLOURS[family][0], markersize=5.5, label=FAMILIES[family])
    _legend(axes)


def _legend(axes: Axes) -> None:
    columns = len(axes.get_legend_handles_labels()[0])
    axes.legend(loc="lower left", bbox_to_anchor=(-0.075, 1.06), ncols=columns if columns < 6 else 4, fontsize=9,
                handletextpad=0.4, columnspacing=1.4, handlelength=1.2)  # fmt: skip


# Where a name may stand beside its point, the best place first: across and up (pt), and how its text is set there.
# The one that is not beside it is above its interval.
BESIDE = (
    (6, 5, "left", "bottom"), (8, 0, "left", "center"), (-6, 5, "right", "bottom"), (-8, 0, "right", "center"),
    (6, -5, "left", "top"), (-6, -5, "right", "top"), (12, 14, "left", "bottom"), (-12, 14, "right", "bottom"),
    (0, 4, "center", "bottom"), (14, -14, "left", "top"), (-14, -14, "right", "top"),
)  # fmt: skip


def _label_points(axes: Axes, points: pd.DataFrame, transforms: list[Any]) -> None:
    """Names beside points, each where it hides nothing and no other name; none where there is no such place."""
    renderer = FigureCanvasAgg(axes.get_figure(root=True)).get_renderer()  # type: ignore[no-untyped-call]
    frame = axes.get_window_extent(renderer).padded(8).extents
    ends = []  # of every interval, on the page
    for point, moved in zip(_rows(points), transforms, strict=True):
        half_width = 0.0 if isnan(point.half_width) else point.half_width
        ends.append(moved.transform([(point.cost, 100 * (point.accuracy + side * half_width)) for side in (-1, 0, 1)]))
    busy = [spot for low, _, high in ends for spot in along(low, high)]
    taken: list[Any] = []
    for point, (_, spot, high) in zip(_rows(points), ends, strict=True):
        for across, up, align, vertical in BESIDE if point.named else ():
            text = axes.annotate(
                point.label, spot if across else high, (across, up), xycoords="figure pixels",
                textcoords="offset points", fontsize=9, ha=align, va=vertical, color=COLOURS[point.family][0],
            )  # fmt: skip
            box = text.get_window_extent(renderer).extents
            if is_inside(box, frame) and is_free(box, busy, taken):
                taken.append(box)
                break
            text.remove()


def _label_ends(axes: Axes, ends: list[tuple[float, str, str]]) -> None:
    """Names at the right end of the lines, pushed apart where they would touch."""
    low, high = axes.get_ylim()
    heights = pushed_apart([(end[0] - low) / (high - low) for end in ends], apart=0.052, highest=1.0)
    for (_, name, colour), height in zip(ends, heights, strict=True):
        axes.text(1.02, height, name, transform=axes.transAxes, color=colour, fontsize=9, va="center")


def _rows(frame: pd.DataFrame) -> list[Any]:
    return list(frame.itertuples())
