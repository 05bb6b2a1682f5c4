"""Signals that are heard although the main thread is in a call that does not come back."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def told_of_signals(numbers: Collection[int], tell: Callable[[int], None]) -> Iterator[None]:
    """Calls `tell` with each of these signals, in a thread of its own; the second ends the main thread as Ctrl-C does.

    But for SIGHUP: a terminal that is closed may send it twice.

    Python's handlers run between two steps of the main thread, which Ray may keep for a minute when its servers are
    told to end too: the signal would be heard after all was given up. For the main thread only.
    """
    arrives, leaves = socket.socketpair()
    leaves.setblocking(False)  # as Python wants it of what its handler in C writes to
    handled = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal handled
        handled += number != signal.SIGHUP
        if handled > 1:
            raise KeyboardInterrupt

    def listen() -> None:
        while number := arrives.recv(1):
            if number[0] in numbers:
                tell(number[0])

    thread = threading.Thread(target=listen, name="signals", daemon=True)
    thread.start()
    woken = signal.set_wakeup_fd(leaves.fileno(), warn_on_full_buffer=False)
    before: dict[int, Any] = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(woken)
        leaves.close()
        thread.join()
        arrives.close()
