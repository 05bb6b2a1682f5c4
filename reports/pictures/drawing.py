"""Marks, intervals, limits and names, put on axes that canvas.py has made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise, product
from math import ceil, isnan, nan
from typing import Any, NamedTuple

import pandas as pd

from reports.analysis.arms import FAMILIES
from reports.document.svg import COLOURS, Mark
from reports.pictures.canvas import FAINT, RULE, few_ticks, plain_numbers
from reports.pictures.placement import Spot, along, clusters, is_free, is_inside, pushed_apart, side_by_side
from trainers.conversions.registry import families
from trainers.readable import percent

LONGEST_NAME, END_KEPT = 44, 14  # letters
MARK = 8.0  # pt, the height of a mark
LEGEND_COLUMNS = 4  # of a long one
LOWEST = -3.0  # %: nothing is below 0, however wide an interval
SAMPLE = 0.03  # of the width, the piece of a line before its name
LINE_SPOTS = 60  # of a line from one end of a picture to the other, as names see it
CROWD = 80  # more arms than this in one picture are drawn small, and only those on the front are told apart
# A family is told by its shape as well as by its colour.
SHAPES = {family.name: family.marker for family in families()}
LINES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1, 2)))
PUBLISHED: dict[str, Any] = {"markerfacecolor": "none", "markersize": 5, "linewidth": 0.9}


def room_for(names: Iterable[str]) -> float:
    """The share of the width that the longest name takes, set small; never more than half of the picture."""
    return min(0.45, 0.03 + 0.0096 * max((len(shortened(name)) for name in names), default=0))


def shortened(name: str) -> str:
    """A name that fits beside a picture, its end kept, which tells arms apart; the whole of it shows on hovering."""
    if len(name) <= LONGEST_NAME:
        return name
    end = name[-END_KEPT:]
    end = end[end.index(" ") :].rstrip() if " " in end else end
    return f"{name[: LONGEST_NAME - 1 - len(end)].rstrip(' ,')}…{end}"


def part(name: str, family: str) -> dict[str, Any]:
    """What tells a part of a picture's family, where it is no mark itself."""
    return {"gid": f"part-{name}-of-{family}"}


def hint(label: str, point: Any, more: str = "") -> Mark:
    """What a mark of an arm says: its accuracy, n, and more."""
    said = f"{label}: {percent(point.accuracy, point.half_width)} %, n = {point.n}{more}"
    return Mark(point.label, point.family, said)


def marker(axes: Any, x: float, y: float, point: Any, transform: Any, group: str, colour: str | None = None) -> None:
    """Hollow where a single trial gives no interval; in its family's colour, or another."""
    colour = colour or COLOURS[point.family][0]
    axes.plot([x], [y], SHAPES[point.family], color=colour, markerfacecolor=colour if point.n > 1 else "none",
              markersize=5.5, transform=transform, gid=group, zorder=3)  # fmt: skip


def intervals(
    axes: Any, x: float, point: Any, transform: Any, group: str, x_half_width: float = nan, colour: str | None = None
) -> None:
    """The interval of the accuracy, and paler that of the cost."""
    style: dict[str, Any] = {
        "color": colour or COLOURS[point.family][0], "linewidth": 1.3, "alpha": 0.7, "transform": transform,
        **part(group, point.family),
    }  # fmt: skip
    accuracy, half_width = 100 * point.accuracy, 100 * point.half_width
    if not isnan(half_width):
        axes.plot([x, x], [accuracy - half_width, accuracy + half_width], **style)
    if not isnan(x_half_width):
        paler = style | {"linewidth": 0.9, "alpha": 0.4, **part(f"{group}-cost", point.family)}
        axes.plot([x - x_half_width, x + x_half_width], [accuracy, accuracy], **paler)


def crowd(axes: Any, points: pd.DataFrame) -> None:
    """Many points at once, small and pale, with their intervals."""
    for family, members in points.groupby("family", sort=False):
        axes.errorbar(
            members["cost"], 100 * members["accuracy"], yerr=100 * members["half_width"], fmt=SHAPES[str(family)],
            color=FAINT, markersize=2.5, elinewidth=0.5, alpha=0.35, zorder=1.5,
        )  # fmt: skip


def limits(axes: Any, points: pd.DataFrame) -> None:
    """Room for every mean and the usual interval; costs are on a logarithmic axis wherever they are above 0."""
    costs = points["cost"]
    low, high = view(costs, points["cost_half_width"])
    low = max(low, float(costs.min()) / 2)  # costs are above 0, however wide their intervals
    if low > 0:
        room = max(high / low, 1.5) ** 0.07
        axes.set_xscale("log")
        axes.set_xlim(low / room, high * room)
    else:
        room = 0.08 * (high - low) or 0.5 * high or 1.0
        axes.set_xlim(low - room, high + room)
    accuracy_limits(axes, points)


def accuracy_limits(axes: Any, points: pd.DataFrame, others: pd.Series[Any] | None = None) -> None:
    """The same for accuracies in % upwards, with `others` in view; nothing is above 100 %."""
    low, high = view(points["accuracy"], points["half_width"], others)
    room = 8 * (high - low) or 1.0
    axes.set_ylim(max(100 * low - room, LOWEST), min(100 * high + 1.5 * room, highest(points)))


def highest(points: pd.DataFrame) -> float:
    """Where a scale of accuracies in % ends at the latest: nothing is above 100, however wide an interval."""
    return max(100.5, 100 * float(points["accuracy"].max()))


def view(
    means: pd.Series[Any], half_widths: pd.Series[Any], others: pd.Series[Any] | None = None
) -> tuple[float, float]:
    """From where to where to look: all means, and their intervals as far as these are not the widest thing to see.

    One arm with a very wide interval would make points of all others; such an interval is cut at the frame.
    """
    spread = float(means.max() - means.min())
    usual = half_widths[half_widths > 0].median()
    reach = half_widths.fillna(0).clip(upper=max(spread, 2 * float(usual) if usual == usual else 0.0))
    ends = pd.concat([means - reach, means + reach, *([] if others is None else [others])]).astype(float)
    return float(ends.min()), float(ends.max())


def spread_sideways(axes: Any, points: pd.DataFrame, apart: float = 9.0) -> list[float]:
    """How far to move each point sideways (in pt) so that those of nearly equal cost and accuracy stand side by side.

    The first of them, which is the best, stays where it belongs; where they are more than two there is a shade behind.
    """
    costs, spans = points["cost"], _spans(axes, points)
    widest = max(len(members) for members in clusters(places_of(axes, costs), apart, spans))
    if widest > 1:
        widen(axes, (widest + 1) * apart / 2 / axes.get_window_extent().width)
    places = places_of(axes, costs)
    for members in clusters(places, apart, spans):
        if len(members) > 2:
            middle, half = places[members[0]], (len(members) // 2 + 0.7) * apart
            bottom, top = min(spans[member][0] for member in members), max(spans[member][1] for member in members)
            edges = axes.transData.inverted().transform([(middle - half, 0.0), (middle + half, 0.0)])[:, 0]
            low, high = (
                float(share) for share in axes.transAxes.inverted().transform([(0.0, bottom), (0.0, top)])[:, 1]
            )
            axes.axvspan(*edges, low, high, color=FAINT, alpha=0.08, linewidth=0)
            axes.axvline(float(costs.iloc[members[0]]), low, high, color=RULE, linewidth=1, zorder=0.6)
    return side_by_side(places, apart, spans)


def _spans(axes: Any, points: pd.DataFrame) -> list[tuple[float, float]]:
    """From where to where each point with its interval reaches on the page, in pt; at least a mark's height."""
    found = []
    for point in rows(points):
        half = 0.0 if isnan(point.half_width) else float(point.half_width)
        low, high = (
            float(axes.transData.transform((1.0, 100 * (point.accuracy + way * half)))[1]) + way * MARK / 2
            for way in (-1, 1)
        )
        found.append((low, high))
    return found


def places_of(axes: Any, costs: pd.Series[Any]) -> list[float]:
    """Where the costs lie on the page, in pt."""
    return [float(axes.transData.transform((cost, 1.0))[0]) for cost in costs]


def widen(axes: Any, share: float) -> None:
    low, high = (axes.transData.transform((limit, 1.0))[0] for limit in axes.get_xlim())
    room = share * (high - low)
    left, right = axes.transData.inverted().transform([(low - room, 0.0), (high + room, 0.0)])[:, 0]
    axes.set_xlim(float(left), float(right))


def band(axes: Any, line: Any, place: int) -> LineEnd:
    """A line across with its interval as a shade; returns its end."""
    colour, mean = COLOURS["learned"][0], 100 * float(line.accuracy)
    style: dict[str, Any] = {"color": colour, "linewidth": 1.1, "linestyle": LINES[min(place + 1, 3)]}
    if not isnan(line.half_width):
        axes.axhspan(mean - 100 * line.half_width, mean + 100 * line.half_width, color=colour, alpha=0.14, linewidth=0)
    axes.axhline(mean, **style)
    return LineEnd(mean, line.name, colour, style)


def family_legend(axes: Any, families: pd.Series[Any]) -> None:
    present = [family for family in FAMILIES if family in set(families)]
    for family in present:
        axes.plot([], [], SHAPES[family], color=COLOURS[family][0], markersize=5.5, label=FAMILIES[family])
    made = legend(axes)
    by_label = {label: family for family, label in FAMILIES.items()}
    for text in made.get_texts():
        if (own := by_label.get(text.get_text())) is not None:
            text.set_gid(f"key-of-{own}")


def legend(axes: Any) -> Any:
    entries = len(axes.get_legend_handles_labels()[0])
    columns = entries if entries < 6 else LEGEND_COLUMNS
    return axes.legend(loc="lower left", bbox_to_anchor=(-0.075, 1.06), ncols=columns, fontsize=9, handletextpad=0.4,
                       columnspacing=1.4, handlelength=1.2)  # fmt: skip


def above_legend(entries: int) -> float:
    """The inches above the axes that a legend of so many entries takes."""
    lines = ceil(entries / LEGEND_COLUMNS) if entries >= 6 else 1
    return 0.62 + 0.2 * max(0, lines - 2)


def accuracy_axis(axes: Any) -> None:
    """Test accuracy upwards, in %."""
    axes.text(-0.062, 1.03, "Test accuracy, %", transform=axes.transAxes, fontsize=9.5, color=FAINT)
    few_ticks(axes.yaxis, 6)
    plain_numbers(axes.yaxis)


# Where a name may stand beside its point, the best place first: across and up (pt), and how its text is set there.
# The one that is not beside it is above its interval.
BESIDE = (
    (6, 5, "left", "bottom"), (8, 0, "left", "center"), (-6, 5, "right", "bottom"), (-8, 0, "right", "center"),
    (6, -5, "left", "top"), (-6, -5, "right", "top"), (12, 14, "left", "bottom"), (-12, 14, "right", "bottom"),
    (0, 4, "center", "bottom"), (14, -14, "left", "top"), (-14, -14, "right", "top"),
)  # fmt: skip


def label_points(
    axes: Any, points: pd.DataFrame, transforms: list[Any], renderer: Any, lines: Sequence[Sequence[Spot]] = ()
) -> None:
    """Names beside points, each where it hides nothing and no other name; none where there is no such place.

    `renderer` knows how wide text will be. `lines`, which bend at these places of the data, go through no name that has
    another place.
    """
    inside = axes.get_window_extent(renderer)
    frame = (inside.x0, *inside.padded(8).extents[1:])  # left of it stand the numbers of the scale
    ends = []  # of every interval, on the page
    for point, moved in zip(rows(points), transforms, strict=True):
        half_width = 0.0 if isnan(point.half_width) else point.half_width
        ends.append(moved.transform([(point.cost, 100 * (point.accuracy + side * half_width)) for side in (-1, 0, 1)]))
    busy = [spot for low, _, high in ends for spot in along(low, high)]
    bends = [axes.transData.transform(line) for line in lines]
    crossed = [spot for line in bends for start, end in pairwise(line) for spot in along(start, end, LINE_SPOTS)]
    places = list(product((busy + crossed, busy), BESIDE))
    taken: list[Any] = []
    for point, (_, spot, high) in zip(rows(points), ends, strict=True):
        for hidden, (across, up, align, vertical) in places if point.named else ():
            text = axes.annotate(
                shortened(point.name), spot if across else high, (across, up), xycoords="figure pixels",
                textcoords="offset points", fontsize=9, ha=align, va=vertical, color=COLOURS[point.family][0],
                **part(f"name-{len(taken)}", point.family),
            )  # fmt: skip
            box = text.get_window_extent(renderer).extents
            if is_inside(box, frame) and is_free(box, hidden, taken):
                taken.append(box)
                break
            text.remove()


class LineEnd(NamedTuple):
    """The right end of a line: how high it ends, what it is called, and how it is drawn."""

    height: float
    name: str
    text_colour: str
    style: dict[str, Any]


def room_for_ends(names: Iterable[str]) -> float:
    """The share of the width that `label_ends` takes for these names."""
    return room_for(names) + SAMPLE


def label_ends(axes: Any, ends: Sequence[LineEnd]) -> None:
    """Names right of the lines, each behind a piece of its line, pushed apart where they would touch."""
    to_axes = axes.transData + axes.transAxes.inverted()
    heights = [float(to_axes.transform((axes.get_xlim()[1], end.height))[1]) for end in ends]
    heights = pushed_apart(heights, apart=0.052, highest=1.0)
    own: dict[str, Any] = {"transform": axes.transAxes}
    start, stop = 1.012, 1.012 + SAMPLE / axes.get_position().width
    for end, height in zip(ends, heights, strict=True):
        axes.plot([start, stop], [height, height], clip_on=False, **own, **end.style)
        axes.text(stop + 0.01, height, shortened(end.name), color=end.text_colour, fontsize=9, va="center", **own)


def rows(frame: pd.DataFrame) -> list[Any]:
    return list(frame.itertuples())
