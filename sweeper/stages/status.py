"""The states of stages and of trials, and the life cycle that each has."""

from __future__ import annotations

from enum import StrEnum


class StageStatus(StrEnum):
    """WAITING (for its parent, or held) -> READY -> RUNNING -> DONE | FAILED, or WAITING | READY -> STOPPED.

    RUNNING -> READY after a fault that may pass; READY -> WAITING when it is held, or cut anew.
    """

    WAITING = "waiting"
    READY = "ready"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"  # a rung stopped all trials that go through it


OVER = frozenset({StageStatus.DONE, StageStatus.FAILED, StageStatus.STOPPED})


class Status(StrEnum):
    """Of a trial.  PENDING -> RUNNING -> COMPLETED | STOPPED_EARLY | FAILED.  Reports average COMPLETED only.

    RUNNING -> INTERRUPTED once nobody trains it any more: a launch goes on from what is stored of it.
    """

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    INTERRUPTED = "INTERRUPTED"
    COMPLETED = "COMPLETED"
    STOPPED_EARLY = "STOPPED_EARLY"
    FAILED = "FAILED"


ENDED = frozenset({Status.COMPLETED, Status.STOPPED_EARLY, Status.FAILED})
