"""Shows how far a launch is: live at a terminal, in plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from sweeper.cli.progress import Progress

FIRST_LINE_SECONDS, LAST_LINE_SECONDS = 10.0, 300.0  # between plain lines: more and more, and at most


LINE_SHARE = 1 / 60  # of the time that has passed


SHARE_OF_TIME = 0.02  # of the driver's at most goes into counting for a display


SHORTEST_PAUSE_SECONDS = 0.2


class NowAndThen:
    """Refreshes the standing now and then, in a small share of the driver's time."""

    def __init__(self, progress: Progress, measure: Callable[[], float] = time.perf_counter) -> None:
        self.progress, self.measure = progress, measure
        self._due = 0.0

    def __call__(self) -> None:
        began = self.measure()
        if began >= self._due:
            self.progress.stand()
            ended = self.measure()
            self._due = ended + max(SHORTEST_PAUSE_SECONDS, (ended - began) / SHARE_OF_TIME)


@contextmanager
def shown(progress: Progress, out: TextIO | None = None) -> Iterator[Callable[[], None]]:
    """Shows the progress while it is open; yields a quick function that refreshes it, to be called now and then."""
    from sweeper.cli.live import can_be_live, live

    stream = out or sys.stdout
    if can_be_live(stream):
        with live(progress, NowAndThen(progress), stream) as refresh:
            yield refresh
    else:
        lines = _Lines(progress, stream)
        yield lines.refresh
        lines.refresh(last=True)


class _Lines:
    def __init__(self, progress: Progress, stream: TextIO) -> None:
        self.progress, self.stream = progress, stream
        self.said = ""
        self.due = progress.clock() + FIRST_LINE_SECONDS

    def refresh(self, last: bool = False) -> None:
        while self.progress.news:
            self._say(self.progress.news.popleft())
        now = self.progress.clock()
        if last or now >= self.due:
            line = self.progress.stand().line()
            if line != self.said:
                self._say(line)
            self.said = line
            pause = max(FIRST_LINE_SECONDS, (now - self.progress.started) * LINE_SHARE)
            self.due = now + min(pause, LAST_LINE_SECONDS)

    def _say(self, line: str) -> None:
        print(f"{time.strftime('%H:%M:%S')}  {line}", file=self.stream, flush=True)
