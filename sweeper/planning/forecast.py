"""What a sweep will take on the machine at hand: device time, wall clock, memory, and how that is known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sweeper.planning.caps import NO_CAP, Cap
from sweeper.planning.estimates import Estimates, MemoryEstimate
from sweeper.planning.makespan import lower_bound, makespan
from sweeper.stages.faults import Failure
from sweeper.stages.forest import Forest, Stage
from sweeper.stages.schedule import Schedule
from sweeper.text import in_words
from trainers.costs.units import BYTE

STAGE_SECONDS = 0.25  # beside training: to hand it out, load, test and store it (benchmarks/overhead.py)
START_SECONDS = 8.0  # of Ray and its first workers


@dataclass(frozen=True)
class Forecast:
    """A forecast of a sweep: device seconds, wall-clock seconds, memory of the most expensive trial."""

    at_once: int  # trials
    device: str
    device_seconds: float  # of what is left to train
    wall_seconds: float  # the same, by the schedule's order
    bound_seconds: float  # no order is quicker
    device_seconds_alone: float  # if every trial ran by itself, and nothing were stored
    sources: dict[str, float]  # how it is known -> the share of the device seconds
    memory_bytes: int | None
    memory_source: str
    packing: str = ""  # why so many at once
    cap: str = ""  # what rungs and limits leave out of it

    @property
    def lines(self) -> list[str]:
        """The forecast as lines of text."""
        if not self.device_seconds:
            return []
        known = ", ".join(f"{100 * share:.0f} % {why}" for why, share in self.sources.items())
        order = f" (no order takes less than {in_words(self.bound_seconds)})"
        lines = [
            f"estimate: {in_words(self.device_seconds)} of training, {in_words(self.wall_seconds)} with {self.at_once} "
            f"at once{order if self.wall_seconds > 1.01 * self.bound_seconds else ''}",
            *([self.cap] if self.cap else []),
            f"known from: {known}",
        ]
        if self.memory_bytes is not None:
            lines.append(f"memory: up to {BYTE.print(self.memory_bytes)} a trial ({self.memory_source})")
        if self.packing:
            lines.append(self.packing)
        return lines

    @property
    def is_guessed(self) -> bool:
        """Whether some of it rests on an assumed rate."""
        return any("assumed" in why for why in self.sources)


def forecast(
    forest: Forest,
    estimates: Estimates,
    at_once: int,
    packing: str = "",
    start_seconds: float = 0.0,
    failed: Mapping[str, Failure] = MappingProxyType({}),
    cap: Cap = NO_CAP,
) -> Forecast | None:
    """The forecast of a forest's unfinished stages, less those that `failed` and those that the cap leaves out.

    None where some time is not known.
    """
    known = {key: estimates.seconds(stage) for key, stage in forest.stages.items()}
    seconds = {key: own for key, own in known.items() if own is not None}
    if len(seconds) < len(known):
        return None
    shares: dict[str, float] = defaultdict(float)
    for stage in forest.left(failed):
        epoch = estimates.epoch(stage.recipe, stage.phase) if stage.epochs else None
        if epoch is not None:
            shares[epoch.why] += epoch.seconds * stage.epochs * cap.of(stage)
    alone = [estimates.trial_seconds(trial.recipe) for trial in forest.trials]
    total = sum(shares.values())
    memory = dearest(forest, estimates)

    def takes(stage: Stage) -> float:
        return (seconds[stage.key] + STAGE_SECONDS) * cap.of(stage)

    schedule = Schedule(forest, forest.stored, failed, cost=takes)
    bound = lower_bound(schedule, takes, at_once)  # before the makespan uses it up
    return Forecast(
        at_once=at_once,
        device=estimates.machine.device or estimates.machine.kind,
        device_seconds=total,
        wall_seconds=start_seconds + makespan(schedule, takes, at_once),
        bound_seconds=start_seconds + bound,
        device_seconds_alone=sum(value or 0.0 for value in alone),
        sources={why: shares[why] / total for why in sorted(shares, key=lambda why: -shares[why]) if total},
        memory_bytes=memory.bytes if memory else None,
        memory_source=memory.why if memory else "",
        packing=packing,
        cap=cap.line,
    )


def dearest(forest: Forest, estimates: Estimates) -> MemoryEstimate | None:
    """The most memory that any trial takes; None where no trial's is known."""
    known = (memory for trial in forest.trials if (memory := estimates.memory(trial.recipe)))
    return max(known, key=lambda memory: memory.bytes, default=None)


def against(estimate: Forecast, estimated: float, took: float, wall_seconds: float, is_whole: bool) -> str:
    """A line that compares what a launch was estimated at with what it took; its wall clock only if it is complete."""
    line = f"Estimated at {in_words(estimated)} of training, and took {in_words(took)}"
    if is_whole:
        line += f"; {in_words(estimate.wall_seconds)} of wall clock, and took {in_words(wall_seconds)}"
    return f"{line} ({', '.join(estimate.sources)})."


def width(forest: Forest) -> int:
    """The largest number of stages that can run at the same time: the number of ends of unfinished paths."""
    left = forest.stages.keys() - forest.stored
    return len(left - {forest.stages[key].parent for key in left})
