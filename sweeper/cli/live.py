"""What a terminal shows of a launch while it runs, and of sweeps that are watched. The only file that knows rich."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweeper.cli.progress import BestArm, Progress, Standing
from sweeper.text import accuracy, in_words

REFRESHES_PER_SECOND = 4
BAR_WIDTH = 60
WIDE = 60  # columns: with fewer, some words are left out


def can_be_live(stream: TextIO) -> bool:
    """Whether this is a terminal that can move its cursor."""
    return stream.isatty() and not Console(file=stream).is_dumb_terminal


@contextmanager
def live(progress: Progress, count: Callable[[], None], stream: TextIO) -> Iterator[Callable[[], None]]:
    """Shows a launch until it is closed; yields a function that the driver's thread calls now and then."""
    console = Console(file=stream, highlight=False)

    def refresh() -> None:
        count()
        while progress.news:
            console.print(Text(f"  {progress.news.popleft()}"))

    panel = _Panel(progress)
    with Live(panel, console=console, refresh_per_second=REFRESHES_PER_SECOND, transient=True):
        yield refresh
        refresh()


@contextmanager
def watched(stream: TextIO) -> Iterator[Callable[[str], None]]:
    """Yields a function that shows a text in place of the last one; the last text stays."""
    console = Console(file=stream, highlight=False)
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as shown:
        yield lambda text: shown.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)


class _Panel:
    """Drawn in a thread of rich's: it reads what was counted last, and counts nothing."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        progress, standing = self.progress, self.progress.standing
        later = progress.clock() - standing.at
        yield from _heading(progress, standing, options.max_width)
        yield Text(f"{in_words(progress.clock() - progress.started)} so far, {standing.speed(later)}")
        if standing.best:
            yield _best_arms(standing, options.max_width)
        for cause, count in standing.causes:
            yield Text(f"failed ×{count}: {cause}", style="red", no_wrap=True, overflow="ellipsis")
        if progress.problem():
            yield Text(f"MLflow: {progress.problem()}", style="yellow", no_wrap=True, overflow="ellipsis")


def _heading(progress: Progress, standing: Standing, width: int) -> Iterator[RenderableType]:
    yield Text.assemble((progress.launch.sweep, "bold"), f": {standing.counts()}")
    done = standing.epochs - standing.epochs_left
    numbers = f"{done:,}/{standing.epochs:,} epochs"
    row = Table.grid(padding=(0, 1))
    bar = ProgressBar(
        total=max(1, standing.epochs), completed=done, width=max(4, min(BAR_WIDTH, width - len(numbers) - 1)),
        complete_style="cyan", finished_style="green",
    )  # fmt: skip
    row.add_row(bar, numbers)
    yield row


def _best_arms(standing: Standing, width: int) -> RenderableType:
    """Names are cut where there is no room for them, numbers never."""
    wide = width >= WIDE
    rows = [
        (arm.label, accuracy(arm.validation_accuracy), _count(arm, " of " if wide else "/")) for arm in standing.best
    ]
    heads = ("best arms so far", "validation accuracy", "n") if wide else ("best so far", "validation", "n")
    widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(3)]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column(heads[0], no_wrap=True, overflow="ellipsis", width=min(widths[0], width - sum(widths[1:]) - 4))
    for head, taken in zip(heads[1:], widths[1:], strict=True):
        table.add_column(head, justify="right", no_wrap=True, width=taken)
    for row in rows:
        table.add_row(*map(Text, row))
    return Group(Text(""), table)


def _count(arm: BestArm, of: str) -> str:
    n = arm.validation_accuracy.n
    return f"{n}{of}{arm.trials}" if n < arm.trials else str(n)
