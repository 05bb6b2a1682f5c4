"""Runs a launch's stages one after the other in this process: for debugging, and where Ray is not wanted."""

from __future__ import annotations

import time
from collections.abc import Callable

from sweeper.launch.launch import Launch
from sweeper.launch.worker import DataShelf, StageWorker

IDLE_SECONDS = 0.05


def run_local(
    launch: Launch, refresh: Callable[[], None] = lambda: None, give_up: Callable[[str], None] | None = None
) -> None:
    """Runs the stages until the launch is over or told to stop; then the running stage is saved after its epoch."""
    try:
        _run(launch, refresh)
    finally:
        launch.let_go()


def _run(launch: Launch, refresh: Callable[[], None]) -> None:
    shelf = DataShelf()
    while not launch.is_over:
        order = launch.next_order()
        if order is None:
            refresh()
            time.sleep(IDLE_SECONDS)  # a retry waits for its time, or another launch trains what is left
            continue
        worker = StageWorker(order, shelf)
        while True:
            step = worker.step()
            launch.take(order.stage["key"], step)
            refresh()
            if step.done:
                break
            if launch.stop_requested:
                worker.save()
                return
