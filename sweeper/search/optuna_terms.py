"""A search in Optuna's terms: its sampler, its dimensions, and what a study is told of an arm."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import mean
from typing import Any

import optuna
from optuna._transform import _SearchSpaceTransform
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, CmaEsSampler, NSGAIISampler, QMCSampler, RandomSampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState, create_trial

from search_spaces.ranges import Dimension, Search
from sweeper.records.trial_result import TrialResult
from sweeper.stages.status import Status
from trainers.data.registry import IMAGE_FOLDER, data_set_named
from trainers.hashing import content_hash
from trainers.recipe.recipe import Recipe

ENDED = {Status.COMPLETED: TrialState.COMPLETE, Status.FAILED: TrialState.FAIL, Status.STOPPED_EARLY: TrialState.PRUNED}


def sampler(search: Search, number: int, attempt: int) -> BaseSampler:
    """The sampler of a point; made anew for each, so that a search that was broken off proposes what it would have."""
    seed = seed_of(search.seed, number, attempt)
    with quietly():
        if search.sampler == "random":
            return RandomSampler(seed)
        if search.sampler == "qmc":
            return QuasiRandom(search, number + attempt * search.trials)
        if search.sampler == "cmaes":
            return Evolved(search, seed)
        if search.sampler == "nsga2":
            population = search.population or max(4, min(50, search.trials // 4))
            return NSGAIISampler(population_size=population, seed=seed)
        conditional = any(dimension.when for dimension in search.space.values())
        return TPESampler(seed=seed, multivariate=True, constant_liar=True, group=conditional)


class QuasiRandom(QMCSampler):
    """Sobol's sequence at a place: Optuna's own counts the places in the study, and a search broken off would lose it.

    A number of points that is a power of 2 fills the ranges most evenly (Owen, 1995; Bergstra & Bengio, 2012).
    """

    def __init__(self, search: Search, place: int):
        super().__init__(scramble=True, seed=seed_of(search.seed), warn_independent_sampling=False)
        self.search, self.place = search, place

    def infer_relative_search_space(self, study: optuna.Study, trial: Any) -> dict[str, BaseDistribution]:
        return {name: distribution(self.search.space[name]) for name in self.search.order()}

    def _find_sample_id(self, study: optuna.Study, search_space: dict[str, BaseDistribution]) -> int:
        return self.place


class Evolved(CmaEsSampler):
    """CMA-ES (Hansen, "The CMA Evolution Strategy: A Tutorial", 2016), its state worked out anew for every point.

    Optuna's own keeps the state in the study, as a pickle: whoever writes to the storage could have code run by it.
    """

    def __init__(self, search: Search, seed: int):
        super().__init__(seed=seed, n_startup_trials=0, warn_independent_sampling=False)
        self.search, self._direction = search, optuna.study.StudyDirection.MINIMIZE

    def infer_relative_search_space(self, study: optuna.Study, trial: Any) -> dict[str, BaseDistribution]:
        return {name: distribution(self.search.space[name]) for name in self.search.order()}

    def sample_relative(self, study: optuna.Study, trial: Any, search_space: dict[str, BaseDistribution]) -> Any:
        self._direction = study.direction
        return super().sample_relative(study, trial, search_space)

    def _restore_optimizer(self, completed_trials: list[optuna.trial.FrozenTrial]) -> Any:
        """The state after every generation that was told whole, the first trials of each counting."""
        space = {name: distribution(self.search.space[name]) for name in self.search.order()}
        transformed = _SearchSpaceTransform(space, transform_step=True, transform_0_1=True)
        state = self._init_optimizer(transformed, self._direction)
        sign = 1.0 if self._direction is optuna.study.StudyDirection.MINIMIZE else -1.0
        while len(told := self._get_solution_trials(completed_trials, state.generation)) >= state.population_size:
            first = told[: state.population_size]
            state.tell([(transformed.transform(trial.params), sign * float(trial.value or 0)) for trial in first])
        return state

    def _split_optimizer_str(self, optimizer_str: str) -> dict[str, str]:
        return {}


def placed_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What a sampler noted of a point, without that it is of CMA-ES's generation: it was moved to where others said."""
    return {name: value for name, value in attributes.items() if not name.startswith("cma:")}


class OnlyTrials(InMemoryStorage):
    """Remembers nothing but trials: what NSGA-II notes of a generation would be another for a search broken off."""

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        pass


def as_pruned(trial: optuna.trial.FrozenTrial) -> optuna.trial.FrozenTrial:
    """A trial that pauses, as a sampler is to see it: pruned where it is. Others as they are."""
    if trial.state is not TrialState.RUNNING or not trial.intermediate_values:
        return trial
    return create_trial(
        state=TrialState.PRUNED,
        params=trial.params,
        distributions=trial.distributions,
        intermediate_values=trial.intermediate_values,
        system_attrs=trial.system_attrs,
        user_attrs=trial.user_attrs,
    )


def chance_accuracy(recipe: Recipe) -> float:
    """The accuracy of guessing; 0 where only looking at the images would tell how many classes there are."""
    return 0.0 if recipe.dataset == IMAGE_FOLDER else data_set_named(recipe.dataset, recipe.plugins).chance


def outcome_of(
    objectives: Sequence[str], results: Sequence[TrialResult]
) -> tuple[TrialState, list[float] | None] | None:
    """What a study is told of an arm: the mean over its seeds, if all completed; None of one that has diverged."""
    if any(result.diverged for result in results):
        return None
    statuses = {result.status for result in results}
    for status in (Status.FAILED, Status.STOPPED_EARLY):
        if status in statuses:
            return ENDED[status], None
    values = [
        mean(float("nan" if (value := result.objective(name)) is None else value) for result in results)
        for name in objectives
    ]
    return (TrialState.COMPLETE, values) if all(map(math.isfinite, values)) else (TrialState.FAIL, None)


@contextmanager
def quietly() -> Iterator[None]:
    """Without being told that a part of Optuna may change: its version is pinned."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def seed_of(*parts: int) -> int:
    return int(content_hash(list(parts))[:8], 16)


def distribution(dimension: Dimension) -> BaseDistribution:
    low, high = dimension.bounds
    if dimension.choice is not None:
        return CategoricalDistribution(dimension.choice)
    if dimension.integer is not None:
        return IntDistribution(int(low), int(high), log=dimension.log, step=dimension.step or 1)
    return FloatDistribution(low, high, log=dimension.log_uniform is not None)


def suggest(trial: optuna.Trial, name: str, dimension: Dimension) -> Any:
    low, high = dimension.bounds
    if dimension.choice is not None:
        return trial.suggest_categorical(name, dimension.choice)
    if dimension.integer is not None:
        return trial.suggest_int(name, int(low), int(high), log=dimension.log, step=dimension.step or 1)
    return trial.suggest_float(name, low, high, log=dimension.log_uniform is not None)
