"""Workers that say nothing for too long: they hang, and only killing them gets their stage going again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from sweeper.launch.launch import Launch
from sweeper.launch.orders import ANSWER_SECONDS
from sweeper.records.index import longest_epoch_seconds, longest_seconds
from sweeper.records.stage_record import StageRecord
from sweeper.records.trial_result import Epoch
from sweeper.stages.faults import Failure
from sweeper.stages.forest import Stage
from trainers.hashing import content_hash

TIMES_AS_LONG = 20.0  # as the longest epoch of such a stage so far: by then it hangs
AT_LEAST_SECONDS = 300.0  # also for an epoch that should take a second: the machine may be busy, the disk slow


class Silence:
    """How long each worker has said nothing, and how long it may. A `Watcher`.

    Without a limit of the user's own, stages are given many times what an epoch of their kind has taken so far. Where
    none was measured yet there is nothing to go by, and no limit.
    """

    def __init__(
        self, launch: Launch, limit_seconds: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.launch = launch
        self.limit_seconds = limit_seconds  # None: from measured epochs; 0: for ever
        self.clock = clock
        self._heard: dict[str, float] = {}  # when, of stages that run
        self._longest: dict[str, float] = {}  # seconds of an epoch, by kind of stage
        self._kinds: dict[str, str] = {}  # of stages, by key
        self._learn_from(launch.records.values())

    def started(self, key: str) -> None:
        """Notes that the stage's worker has started, and could report from now on."""
        self._heard[key] = self.clock()

    def overdue(self) -> list[tuple[str, float]]:
        """The stages whose workers have said nothing for longer than an epoch may take, and those seconds."""
        now = self.clock() - ANSWER_SECONDS  # for so long they say nothing of epochs that have ended
        limits = [(key, heard, self.limit(self.launch.forest.stages[key])) for key, heard in self._heard.items()]
        return [(key, limit) for key, heard, limit in limits if limit is not None and now - heard > limit]

    def forget(self, key: str) -> None:
        """Forgets a stage whose worker is being killed."""
        self._heard.pop(key, None)

    def limit(self, stage: Stage) -> float | None:
        """The seconds that an epoch of this stage may take; None is no limit."""
        if self.limit_seconds is not None:
            return self.limit_seconds or None
        longest = self._longest.get(self._kind(stage))
        return None if longest is None else max(AT_LEAST_SECONDS, TIMES_AS_LONG * longest)

    # As a Watcher

    def stage_started(self, stage: Stage) -> None:
        """Does nothing: its worker has to start first."""

    def epochs_ended(self, stage: Stage, epochs: Sequence[Epoch]) -> None:
        if stage.key in self._heard:
            self._heard[stage.key] = self.clock()
        self._measure(stage, longest_seconds(epochs))

    def stage_done(self, stage: Stage) -> None:
        self._heard.pop(stage.key, None)

    def stage_failed(self, stage: Stage, failure: Failure, again: bool) -> None:
        self._heard.pop(stage.key, None)

    # How

    def _learn_from(self, records: Iterable[StageRecord]) -> None:
        for record in records:
            self._measure(self.launch.forest.stages[record.key], longest_epoch_seconds(record))

    def _measure(self, stage: Stage, seconds: float) -> None:
        kind = self._kind(stage)
        self._longest[kind] = max(self._longest.get(kind, 0.0), seconds)

    def _kind(self, stage: Stage) -> str:
        """Stages that differ in their seeds and in nothing else are of one kind: their epochs take as long."""
        if stage.key not in self._kinds:
            recipe, phase = stage.recipe, stage.phase
            fields = [phase, {**recipe.common_fields(), "seed": None}, recipe.phase_fields(phase)]
            self._kinds[stage.key] = content_hash(fields)
        return self._kinds[stage.key]
