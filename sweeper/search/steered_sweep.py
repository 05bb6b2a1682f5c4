"""A sweep whose trials a search adds to, rungs stop and limits hold back: its state, as its steering lets it stand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sweeper.records.trial_result import TrialResult
from sweeper.search.policy import Steering
from sweeper.search.sweep_state import SweepState
from sweeper.stages.forest import Forest, Trial
from sweeper.stages.status import Status
from trainers.recipe.recipe import Recipe


@dataclass
class SteeredSweep(SweepState):
    """A sweep's stages, trials and what steers it."""

    steering: Steering = field(default_factory=Steering, kw_only=True)

    def add(self, recipes: Sequence[Recipe]) -> list[int]:
        """Takes in trials while it runs; returns the numbers of their trials. Recipes it has are not added twice."""
        self.steer(*self.grown(recipes, self.begun()))
        return self.numbers_of(recipes)

    def steer(self, forest: Forest, failures: Mapping[str, dict[str, Any]]) -> None:
        """Goes on with a forest that has grown, its new stages held as the steering says; see `take_in`."""
        self.steering.begin(self, self.take_in(forest, failures, self.steering.holds))

    def status(self, trial: Trial) -> Status:
        """Of an arm of which a rung stopped a seed, all seeds are stopped: one may be stored beyond the rung."""
        status = super().status(trial)
        is_stopped = status is Status.COMPLETED and self.steering.stops(trial.stages[-1])
        return Status.STOPPED_EARLY if is_stopped else status

    def result(self, number: int) -> TrialResult:
        """The result of a trial, as far as it is stored, with its number in the search."""
        result = super().result(number)
        search_trial = self.steering.search_trial(number)
        return result if search_trial is None else replace(result, search_trial=search_trial)

    @property
    def limits_reached(self) -> list[str]:
        """The limits that kept trials from being run, with their values."""
        account = self.steering.account
        return account.reached if account and (self.steering.wants_more or self.not_run()) else []

    def not_run(self) -> Counter[str]:
        """The number of trials, by arm, that have not ended: neither completed, failed nor stopped early."""
        left = (Status.PENDING, Status.RUNNING)
        trials = zip(self.forest.trials, self.labels, strict=False)
        return Counter(label for trial, label in trials if self.status(trial) in left)
