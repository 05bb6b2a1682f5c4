"""How far a launch is, in numbers and in plain lines. At a terminal `sweeper.cli.live` shows the same.

What happens is noted in passing; what takes a look at every stage or trial is counted now and then, and for a small
share of the time only, however large the sweep.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from math import isnan
from statistics import fmean

from sweeper.launch.launch import Launch
from sweeper.records.trial_result import Epoch, seconds_of
from sweeper.stages.faults import Failure
from sweeper.stages.forest import Stage
from sweeper.stages.status import StageStatus, Status
from sweeper.text import Estimate, accuracy, in_words

RATE_SECONDS = 60.0  # epochs per second are those of the last minute,
RATE_ENTRIES = 20  # or longer where fewer epochs than this have ended in it
BEST_ARMS = 5
LIKELY_BEST = 50  # arms, of which the best ones are shown
CAUSES = 3
STILL_SECONDS = 30.0  # without any news of a stage: then nothing moves,
STILL_WHILE_TRAINING_SECONDS = 60.0  # or this, while stages train, and more where epochs have taken long
TIMES_AS_LONG = 5  # as the longest time between two epochs


@dataclass(frozen=True)
class BestArm:
    """An arm as it stands now, by the validation accuracy of its completed trials."""

    label: str
    validation_accuracy: Estimate
    trials: int  # completed or not

    def standing(self) -> tuple[bool, bool, float]:
        """What arms are ordered by: whole ones by their means, then the others by the lower ends of their intervals."""
        found = self.validation_accuracy
        is_whole, is_single = found.n == self.trials, isnan(found.half_width)
        return is_whole, not is_single, found.mean if is_whole or is_single else found.mean - found.half_width

    def __str__(self) -> str:
        n, trials = self.validation_accuracy.n, self.trials
        count = f"n = {n}" if n == trials else f"{n} of {trials}"
        return f"{self.label}: {accuracy(self.validation_accuracy)} validation ({count})"


@dataclass(frozen=True)
class Standing:
    """The progress of a launch at one moment."""

    at: float  # the clock
    stages: Counter[StageStatus]
    epochs_left: int  # of stages that are neither done nor failed, less those that are saved or run, and of `unasked`
    epochs: int  # of the stages that have not failed, and of `unasked`
    rate: float | None  # epochs per second
    best: tuple[BestArm, ...] = ()
    causes: tuple[tuple[str, int], ...] = ()  # why stages failed for good, and how many for each
    elsewhere: int = 0  # stages that another launch trains now
    still: str = ""  # since when nothing moves, and why
    unasked: int = 0  # epochs of what a search may still ask for

    @property
    def seconds_left(self) -> float | None:
        return self.epochs_left / self.rate if self.rate else None

    def counts(self) -> str:
        """The counts of stages: '3/18 stages done, 2 running, 1 elsewhere, 1 failed'."""
        parts = [
            f"{self.stages[StageStatus.DONE]:,}/{self.stages.total():,} stages done",
            f"{self.stages[StageStatus.RUNNING]:,} running",
        ]
        parts += [f"{self.elsewhere:,} elsewhere"] if self.elsewhere else []
        for status in (StageStatus.STOPPED, StageStatus.FAILED):  # what rungs stopped, and what went wrong
            parts += [f"{self.stages[status]:,} {status}"] if self.stages[status] else []
        parts += [f"{self.unasked:,} epochs not asked for yet"] if self.unasked else []
        return ", ".join(parts)

    def speed(self, seconds_later: float = 0.0) -> str:
        """The speed and the time left, '12.3 epochs/s, 4 min left'; while nothing moves since when that is, and why."""
        if self.still and self.epochs_left:
            return self.still
        if self.rate is None or self.seconds_left is None:
            return "starting" if self.epochs_left else "nothing left"
        speed = f"{self.rate:.3g} epochs/s" if self.rate >= 0.1 else f"{60 * self.rate:.3g} epochs/min"
        left = max(0.0, self.seconds_left - seconds_later)
        return f"{speed}, {in_words(left)} left" if self.epochs_left else speed

    def line(self) -> str:
        """The standing in one line."""
        return "; ".join([self.counts(), self.speed(), *[f"best: {arm}" for arm in self.best[:1]]])


@dataclass
class Progress:
    """A `Watcher` that counts what happens in a launch."""

    launch: Launch
    clock: Callable[[], float] = time.monotonic
    news: deque[str] = field(default_factory=deque)  # what deserves a line of its own
    problem: Callable[[], str] = lambda: ""  # of the tracking, to be shown while it lasts

    def __post_init__(self) -> None:
        self.started = self._since = self._moved = self.clock()
        self._longest_pause = 0.0  # between two epochs
        self._ends: deque[tuple[float, int]] = deque()  # when epochs ended, and how many
        self._done_epochs: dict[str, int] = {}  # of stages that run now
        self._causes: Counter[str] = Counter()
        self._trials_ending: dict[str, list[int]] = defaultdict(list)  # by the stage that ends them
        self._known = 0  # trials; a sweep that searches adds some
        self._ended: list[int] = []  # trials whose last stage is done, and that were not looked at since
        self._accuracies: dict[int, float] = {}  # of the completed trials
        self.standing = self.stand()

    # As a Watcher

    def stage_started(self, stage: Stage) -> None:
        now = self.clock()
        if not self._done_epochs and (not self._ends or now - self._moved > STILL_SECONDS):
            self._ends.clear()
            self._since = now  # what it took to come so far, or to go on, is no part of the speed
        self._moved = now
        self._done_epochs[stage.key] = 0

    def epochs_ended(self, stage: Stage, epochs: Sequence[Epoch]) -> None:
        new = 1 if not self._done_epochs.get(stage.key) and len(epochs) > 1 else len(epochs)
        self._done_epochs[stage.key] = self._done_epochs.get(stage.key, 0) + len(epochs)
        now = self.clock()
        if not self._ends and new:  # what its worker took to come up is no part of the speed
            self._since = max(self._since, now - seconds_of(epochs[-new:]))
        self._longest_pause, self._moved = max(self._longest_pause, now - self._moved), now
        self._ends.append((now, new))

    def stage_done(self, stage: Stage) -> None:
        self._moved = self.clock()
        self._done_epochs.pop(stage.key, None)
        self._ended += self._trials_ending.get(stage.key, ())

    def stage_failed(self, stage: Stage, failure: Failure, again: bool) -> None:
        self._done_epochs.pop(stage.key, None)
        if not again:
            self._causes[str(failure)] += 1
        what = "will be tried again" if again else "failed"
        self.news.append(
            f"{self._name(stage)}, {stage.phase} epochs {stage.start + 1} to {stage.end}: {what}: {failure}"
        )

    # How far it is

    def stand(self) -> Standing:
        """Counts everything, which takes the longer the larger the sweep. In the driver's thread only."""
        schedule = self.launch.schedule
        unasked = self.launch.steering.epochs_unasked
        left = sum(stage.epochs - self._epochs_of(stage.key) for stage in schedule.left()) + unasked
        stages = self.launch.forest.stages
        lost = sum(stages[key].epochs for key in schedule.failures)
        total = sum(stage.epochs for stage in stages.values()) - lost + unasked
        causes = tuple(self._causes.most_common(CAUSES))
        elsewhere = len(self.launch.elsewhere)
        self.standing = Standing(
            self.clock(), schedule.counts(), left, total, self.rate, self._best(), causes, elsewhere, self._still(),
            unasked,
        )  # fmt: skip
        return self.standing

    def _epochs_of(self, key: str) -> int:
        """The epochs that an unfinished stage has, in its worker or in the store."""
        return max(self._done_epochs.get(key, 0), len(self.launch.saved.get(key, ())))

    def _still(self) -> str:
        """'nothing has moved since 14:03:12 (5 min): waits for a node with 1 GPU for a trial'; "" while all is well."""
        quiet = self.clock() - self._moved
        trains = bool(self.launch.schedule.running)
        training = max(STILL_WHILE_TRAINING_SECONDS, TIMES_AS_LONG * self._longest_pause)
        if not trains and self.launch.waits and quiet < STILL_SECONDS:
            return self.launch.why_still()
        if quiet < (training if trains else STILL_SECONDS):
            return ""
        since = time.strftime("%H:%M:%S", time.localtime(time.time() - quiet))
        return f"nothing has moved since {since} ({in_words(quiet)}): {self.launch.why_still()}"

    def _name(self, stage: Stage) -> str:
        """A trial that the stage is part of."""
        numbers = self._trials_ending.get(stage.key)
        label = self.launch.labels[numbers[0]] if numbers else stage.recipe.method
        return f"{label} seed {stage.recipe.seed}"

    @property
    def rate(self) -> float | None:
        """The epochs per second, of late."""
        now = self.clock()
        while len(self._ends) > RATE_ENTRIES and now - self._ends[0][0] > RATE_SECONDS:
            self._since = self._ends.popleft()[0]
        if not self._ends or now <= self._since:
            return None
        return sum(count for _, count in self._ends) / (now - self._since)

    def _best(self) -> tuple[BestArm, ...]:
        """The best arms: those first of which all trials completed. Looks at each trial once, when it is completed."""
        from reports.analysis.statistics import estimate

        trials, labels = self.launch.forest.trials, self.launch.labels
        for number in range(self._known, len(trials)):
            self._trials_ending[trials[number].stages[-1]].append(number)
        ended = [*self._ended, *range(self._known, len(trials))]
        self._known, self._ended = len(trials), []
        for number in ended:
            if self.launch.status(trials[number]) is Status.COMPLETED:
                self._accuracies[number] = self.launch.result(number).validation_accuracy or 0.0
        arms: dict[str, list[float]] = defaultdict(list)
        for number, value in self._accuracies.items():
            if not self.launch.steering.stops(trials[number].stages[-1]):
                arms[labels[number]].append(value)
        sizes = Counter(labels) if arms else Counter()
        # The lower end is asked of few: of thousands of arms with one trial so far most cannot be among the best.
        likely = nlargest(LIKELY_BEST, arms, key=lambda label: (len(arms[label]) == sizes[label], fmean(arms[label])))
        best = [BestArm(label, estimate(arms[label]), sizes[label]) for label in likely]
        return tuple(nlargest(BEST_ARMS, best, key=BestArm.standing))
