"""`sweeper status --watch`: how far sweeps are, again and again, as long as one of them runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

PAUSE_SECONDS = 2.0
SHARE_OF_TIME = 0.1  # of the machine's at most goes into looking

Look = Callable[[], tuple[str, bool]]  # what there is to see, and whether something runs


def watch(look: Look, stream: TextIO | None = None) -> None:
    """Shows what `look` sees until nothing runs: in place at a terminal, else whenever it has changed."""
    with _shown(stream or sys.stdout) as show:
        while True:
            began = time.monotonic()
            text, running = look()
            show(text)
            if not running:
                return
            time.sleep(max(PAUSE_SECONDS, (time.monotonic() - began) / SHARE_OF_TIME))


@contextmanager
def _shown(stream: TextIO) -> Iterator[Callable[[str], None]]:
    from sweeper.live_display import can_be_live, watched

    if can_be_live(stream):
        with watched(stream) as show:
            yield show
        return
    said = ""

    def say(text: str) -> None:
        nonlocal said
        if text != said:
            print(text, file=stream, flush=True)
        said = text

    yield say
