"""What an order of stages does to the clock: the real `Schedule`, on workers that take as long as they are told to."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

from sweeper.stages.forest import Stage
from sweeper.stages.schedule import Schedule

Seconds = Callable[[Stage], float]


def makespan(schedule: Schedule, seconds: Seconds, workers: int) -> float:
    """The seconds until the last stage ends, if so many workers take what is ready. Uses the schedule up."""
    now = 0.0
    running: list[tuple[float, str]] = []
    while True:
        while len(running) < workers and (stage := schedule.next_stage(now)) is not None:
            heappush(running, (now + seconds(stage), stage.key))
        if not running:
            return now
        now, key = heappop(running)
        schedule.finish(key)


def lower_bound(schedule: Schedule, seconds: Seconds, workers: int) -> float:
    """The seconds that no order can undercut: those of the longest path, and of all work shared out evenly.

    `seconds` must be the cost that the schedule was made with.
    """
    left = schedule.left()
    work = sum(map(seconds, left))
    return max(max((schedule.remaining_cost(stage.key) for stage in left), default=0.0), work / workers)
