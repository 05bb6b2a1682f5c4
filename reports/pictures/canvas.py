"""Axes in our own style, their ticks, and how a drawing is written down: the only importer of matplotlib."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation

from reports.document.svg import COLOURS, Mark, themed

INK, FAINT, RULE = (COLOURS[name][0] for name in ("ink", "faint", "rule"))
WIDTH = 7.2  # inches; the drawing scales with the page
STYLE: dict[str, Any] = {
    "svg.hashsalt": "sweeper", "svg.fonttype": "none", "font.size": 9.5, "text.color": INK, "text.parse_math": False,
    "axes.edgecolor": RULE, "axes.labelcolor": FAINT, "axes.labelsize": 9.5, "axes.linewidth": 0.8,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.grid.axis": "y", "grid.color": RULE,
    "grid.linewidth": 0.6, "axes.axisbelow": True, "xtick.color": FAINT, "ytick.color": FAINT, "xtick.labelsize": 9,
    "ytick.labelsize": 9, "ytick.major.size": 0, "xtick.major.size": 3, "xtick.major.width": 0.8,
    "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none", "legend.frameon": False,
}  # fmt: skip
# So that the same numbers give the same bytes: nothing of the day, the machine or the library.
METADATA: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
    "pdf": {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": None},
    "png": {"Software": None},
}
PIXELS_PER_INCH = 200  # of a PNG
TICK_ROOM = 30.0  # pt, from the middle of one number to that of the next


@dataclass(frozen=True)
class Words:
    """What a figure is called: its name in files and ids, its title, and what it shows, for those who cannot see it."""

    name: str
    title: str
    description: str


@dataclass(frozen=True)
class Drawing:
    """A picture for a page, and how to have it as a file of another format ('pdf' or 'png')."""

    svg: str
    written_as: Callable[[str], bytes]


@contextmanager
def axes_of(
    left: float = 0.07, right: float = 0.98, top: float = 0.36, bottom: float = 0.52, height: float = 4.1
) -> Iterator[tuple[Figure, Axes]]:
    """One pair of axes in our own style, whatever the user's. left, right: shares of the width; the rest: inches."""
    with _style():
        figure = Figure(figsize=(WIDTH, height), dpi=72)  # what SVG is written at
        yield figure, figure.add_axes((left, bottom / height, right - left, 1 - (top + bottom) / height))


def drawn(figure: Figure, words: Words, marks: Mapping[str, Mark] | None = None) -> Drawing:
    """The figure as it stands now, with its words; `marks` say what the marks of those ids show."""
    svg = themed(_bytes(figure, "svg").decode(), words.name, words.title, words.description, marks)
    return Drawing(svg, partial(_written_as, figure))


def plain_numbers(axis: Any) -> None:
    """Ticks of either scale as plain numbers; none of the small ones has a number."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}" if abs(value) < 10_000 else f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def few_ticks(axis: Any, most: int, *, whole: bool = False) -> None:
    """At most so many ticks, at round numbers, or at whole ones."""
    axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10] if whole else [1, 2, 2.5, 5, 10], integer=whole))


def ticks_at(axis: Any, values: Iterable[float]) -> None:
    """Ticks at these values alone."""
    axis.set_major_locator(FixedLocator(sorted(set(values))))
    axis.set_minor_locator(NullLocator())


def have_room(axes: Axes, values: Iterable[float]) -> bool:
    """Whether the number of each value fits under the axis."""
    return len(those_with_room(axes, values)) == len(set(values))


def those_with_room(axes: Axes, values: Iterable[float]) -> list[float]:
    """As many of these values as have room for their numbers under the axis, the most frequent and lowest first."""
    found: list[tuple[float, float]] = []
    for value, _ in sorted(Counter(values).items(), key=lambda entry: (-entry[1], entry[0])):
        place = float(axes.transData.transform((value, 1.0))[0])
        if all(abs(place - other) > TICK_ROOM for other, _ in found):
            found.append((place, value))
    return sorted(value for _, value in found)


def logarithmic_ticks(axis: Any, low: float, high: float) -> None:
    """Ticks at 1, 2 and 5 times the powers of ten; at the powers alone where these are many, closer where few."""
    if high < 12 * low:
        few_ticks(axis, 7)
        axis.set_minor_locator(NullLocator())
        return
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,), numticks=20))
    axis.set_minor_locator(NullLocator())


def shifted(figure: Figure, axes: Axes, sideways: float) -> Any:
    """The data's place on the page, moved sideways (pt)."""
    return axes.transData + ScaledTranslation(sideways / 72, 0, figure.dpi_scale_trans)


def renderer_of(figure: Figure) -> Any:
    """What knows how wide text will be."""
    return FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]


@contextmanager
def _style() -> Iterator[None]:
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the page's own fonts are used
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)  # type: ignore[arg-type]
        yield


def _written_as(figure: Figure, format: str) -> bytes:
    with _style():
        return _bytes(figure, format, dpi=PIXELS_PER_INCH, facecolor="white")


def _bytes(figure: Figure, format: str, **how: Any) -> bytes:
    written = io.BytesIO()
    figure.savefig(written, format=format, metadata=METADATA[format], **how)
    return written.getvalue()
