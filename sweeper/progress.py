"""What a launch shows while it runs: a live display at a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from sweeper.faults import Failure
from sweeper.forest import Stage
from sweeper.launch import Launch
from sweeper.results import Epoch, arm_results
from sweeper.scheduling import StageStatus
from sweeper.text_table import in_words, percent

if TYPE_CHECKING:
    from rich.console import RenderableType

RATE_SECONDS = 60.0  # epochs per second are those of the last minute
LINE_SECONDS = 10.0  # between plain lines


class Progress:
    """Counts what happens in a launch and says it in words. A `Watcher`."""

    def __init__(self, launch: Launch, clock: Callable[[], float] = time.monotonic) -> None:
        self.launch = launch
        self.clock = clock
        self.started = clock()
        self.news: deque[str] = deque()  # what deserves a line of its own
        self.best = ""
        self._ends: deque[tuple[float, int]] = deque()  # when epochs ended, and how many
        self._done_epochs: dict[str, int] = {}  # of stages that run now
        self._left = launch.schedule.epochs_left()

    # As a Watcher

    def stage_started(self, stage: Stage) -> None:
        self._done_epochs[stage.key] = 0

    def epochs_ended(self, stage: Stage, epochs: Sequence[Epoch]) -> None:
        new = 1 if not self._done_epochs.get(stage.key) and len(epochs) > 1 else len(epochs)
        self._done_epochs[stage.key] = self._done_epochs.get(stage.key, 0) + len(epochs)
        self._ends.append((self.clock(), new))

    def stage_done(self, stage: Stage) -> None:
        self._done_epochs.pop(stage.key, None)
        self._left = self.launch.schedule.epochs_left()
        if any(trial.stages[-1] == stage.key for trial in self.launch.forest.trials):
            self.best = self._best()

    def stage_failed(self, stage: Stage, failure: Failure, again: bool) -> None:
        self._done_epochs.pop(stage.key, None)
        self._left = self.launch.schedule.epochs_left()
        where = f"{stage.recipe.method} seed {stage.recipe.seed}, {stage.phase} epochs {stage.start + 1} to {stage.end}"
        what = "will be tried again" if again else "failed"
        self.news.append(f"{where}: {what}: {failure}")

    # In words

    @property
    def rate(self) -> float | None:
        """Epochs per second."""
        now = self.clock()
        while self._ends and now - self._ends[0][0] > RATE_SECONDS:
            self._ends.popleft()
        since = max(self.started, now - RATE_SECONDS)
        if not self._ends or now <= since:
            return None
        return sum(count for _, count in self._ends) / (now - since)

    @property
    def epochs_left(self) -> int:
        return max(0, self._left - sum(self._done_epochs.values()))

    def seconds_left(self) -> float | None:
        rate = self.rate
        return self.epochs_left / rate if rate else None

    def counts(self) -> str:
        counts = self.launch.schedule.counts()
        parts = [f"{counts[StageStatus.DONE]}/{counts.total()} stages done", f"{counts[StageStatus.RUNNING]} running"]
        parts += [f"{counts[StageStatus.FAILED]} failed"] if counts[StageStatus.FAILED] else []
        return ", ".join(parts)

    def speed(self) -> str:
        rate, left = self.rate, self.seconds_left()
        if rate is None or left is None:
            return "starting" if self.epochs_left else "nothing left"
        return f"{rate:.3g} epochs/s" + (f", {in_words(left)} left" if self.epochs_left else "")

    def line(self) -> str:
        parts = [self.counts(), self.speed(), *([f"best: {self.best}"] if self.best else [])]
        return "; ".join(parts)

    def _best(self) -> str:
        arms = [arm for arm in arm_results(self.launch.results()) if arm.validation_accuracy is not None]
        if not arms:
            return ""
        best = max(arms, key=lambda arm: arm.validation_accuracy or 0.0)
        return f"{best.label}, {percent(best.validation_accuracy)} validation (n = {best.completed})"


@contextmanager
def shown(progress: Progress, out: TextIO | None = None) -> Iterator[Callable[[], None]]:
    """Shows the progress for as long as it is open; call what it gives now and then, it is quick."""
    stream = out or sys.stdout
    if stream.isatty():
        with _live(progress, stream) as refresh:
            yield refresh
    else:
        lines = _Lines(progress, stream)
        yield lines.refresh
        lines.refresh(last=True)


class _Lines:
    def __init__(self, progress: Progress, stream: TextIO) -> None:
        self.progress, self.stream = progress, stream
        self.said = ""
        self.due = progress.clock() + LINE_SECONDS

    def refresh(self, last: bool = False) -> None:
        while self.progress.news:
            self._say(self.progress.news.popleft())
        if last or self.progress.clock() >= self.due:
            self.due = self.progress.clock() + LINE_SECONDS
            line = self.progress.line()
            if line != self.said:
                self._say(line)
            self.said = line

    def _say(self, line: str) -> None:
        print(f"{time.strftime('%H:%M:%S')}  {line}", file=self.stream, flush=True)


@contextmanager
def _live(progress: Progress, stream: TextIO) -> Iterator[Callable[[], None]]:
    from rich.console import Console
    from rich.live import Live

    console = Console(file=stream)

    def refresh() -> None:
        while progress.news:
            console.print(f"  {progress.news.popleft()}", highlight=False, markup=False)

    with Live(get_renderable=lambda: _panel(progress), console=console, refresh_per_second=4, transient=True):
        yield refresh
        refresh()


def _panel(progress: Progress) -> RenderableType:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    total = progress.launch.forest.epochs_shared
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        ProgressBar(total=total, completed=total - progress.epochs_left, width=40),
        f"{total - progress.epochs_left}/{total} epochs",
        progress.speed(),
    )
    lines: list[RenderableType] = [Text(f"{progress.launch.sweep}: {progress.counts()}"), bar]
    if progress.best:
        lines.append(Text(f"best so far: {progress.best}"))
    return Group(*lines)
