"""The arms of a sweep as they are compared: what they are, and their accuracies by seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweeper.stages.status import Status

if TYPE_CHECKING:
    from sweeper.launch.view import SweepView
    from sweeper.records.trial_result import TrialResult
    from trainers.recipe.recipe import Recipe

# Validation comes first: it is what one selects by.
MEASURES: Mapping[str, Callable[[TrialResult], float | None]] = {
    "validation": lambda result: result.validation_accuracy,
    "test": lambda result: result.test_accuracy,
}
NO_FACTS = frozenset({"seed", "filled"})  # of a recipe: the same arm, said in another way


@dataclass(frozen=True)
class Arm:
    """The trials of one arm, which differ only in the seed."""

    sweep: str
    version: int | None  # None: the present one
    label: str
    trials: list[TrialResult]

    @property
    def where(self) -> str:
        """The sweep, and which version of it where that is another than the present one."""
        return f"{self.sweep} version {self.version}" if self.version else self.sweep

    @property
    def recipe(self) -> Recipe:
        return self.trials[0].trial.recipe

    @property
    def recipe_hash(self) -> str:
        return self.recipe.arm_hash()

    def facts(self) -> dict[str, Any]:
        return self.recipe.model_dump(mode="json", exclude=set(NO_FACTS))

    def values(self, measure: str) -> dict[int, float]:
        """The values of a measure by seed, of completed trials only."""
        completed = [result for result in self.trials if result.status is Status.COMPLETED]
        read = {result.trial.recipe.seed: MEASURES[measure](result) for result in completed}
        return {seed: value for seed, value in read.items() if value is not None}


def arms_in(view: SweepView, side: str) -> list[Arm]:
    """The arms of 'SWEEP', or those of 'SWEEP:ARM'. Raises InvalidInput for an arm that is not there."""
    from sweeper.launch.view import arms_like

    sweep, colon, wanted = side.partition(":")
    members: dict[str, list[TrialResult]] = defaultdict(list)
    for result in view.results:
        members[result.label].append(result)
    arms = [Arm(sweep, None if view.is_present else view.version, label, trials) for label, trials in members.items()]
    chosen = arms_like(wanted, list(members)) if colon else set(members)
    return [arm for arm in arms if arm.label in chosen]


def varying(arms: Sequence[Arm]) -> set[str]:
    """The fields that make the difference between these arms, without those that a preset fills accordingly."""
    facts = [arm.facts() for arm in arms]
    stated = {
        name
        for arm, known in zip(arms, facts, strict=True)
        for name, value in known.items()
        if value is not None and name not in arm.recipe.filled
    }
    return {name for name in stated if any(other[name] != facts[0][name] for other in facts)}
