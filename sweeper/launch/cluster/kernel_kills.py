"""Whether the kernel has killed a process of this machine, or of this container, because memory ran out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from sweeper.stages.faults import Failure, Fault

# The first of these that is there: a container's own count, else that of the machine.
COUNTERS = (Path("/sys/fs/cgroup/memory.events"), Path("/proc/vmstat"))
DIED = "its worker process died"
KILLED = f"{DIED}, and the kernel killed a process because memory ran out"


def kills(counters: Sequence[Path] = COUNTERS) -> int:
    """How many processes the kernel has killed so far; 0 where it does not say."""
    for file in counters:
        try:
            counts = dict(line.split() for line in file.read_text().splitlines())
            return int(counts["oom_kill"])
        except (OSError, ValueError, KeyError):
            continue
    return 0


class KernelKills:
    """Tells workers of this machine that the kernel killed from those that died otherwise: each kill is one's end."""

    def __init__(self, count: Callable[[], int] = kills) -> None:
        self._count = count
        self._seen = count()

    def named(self, failure: Failure) -> Failure:
        """The failure of a worker here; of one that died without a reason since the kernel killed, out of memory."""
        if failure.reason != DIED or self._count() <= self._seen:
            return failure
        self._seen += 1
        return replace(failure, fault=Fault.OUT_OF_MEMORY, reason=KILLED)
