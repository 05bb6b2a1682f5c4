"""The search of one cell of a grid: asks Optuna for points that are new and fit, and tells it what came of them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import RandomSampler
from optuna.storages import BaseStorage
from optuna.trial import TrialState, create_trial

from search_spaces.expansion import CellSearch
from search_spaces.ranges import ACCURACY, Point, Search, is_better_higher
from sweeper.records.trial_result import TrialResult
from sweeper.search.optuna_terms import (
    OnlyTrials,
    as_pruned,
    chance_accuracy,
    distribution,
    outcome_of,
    placed_attributes,
    quietly,
    sampler,
    seed_of,
    suggest,
)
from sweeper.search.policy import Fits
from trainers.recipe.recipe import Recipe

EXHAUSTED = "exhausted"  # of a study: after so many points there is none left
PROPOSALS = 20  # of the sampler, before one that was tried already is replaced by a random one
RANDOM_PROPOSALS = 1000  # in an endless space, before it counts as searched through
TRIED_FOR_ROOM = 200  # points, before it is taken for granted that none fits the limits
DIVERGED = "diverged"  # of a trial: its loss was not a number, and it was told as the worst value
ENUMERABLE = 100_000  # points of a finite space, all of which are looked at for one that is left


@dataclass
class Asked:
    """A point that was asked for."""

    number: int
    point: Point
    distributions: Mapping[str, BaseDistribution]
    recipes: list[Recipe]
    state: TrialState
    diverged: bool = False  # the study was told the worst value

    @property
    def is_open(self) -> bool:
        """A failure may be mended: then the study gets the result after all."""
        return self.state in (TrialState.RUNNING, TrialState.FAIL) or self.diverged


@dataclass
class CellStudy:
    """The search of one cell."""

    search: Search
    seeds: Sequence[int]
    cell: CellSearch
    storage: BaseStorage
    study: optuna.Study
    asked: dict[str, Asked] = field(default_factory=dict)  # by the arm's hash
    _copy: optuna.Study | None = None  # of the study, in memory; None: has to be made anew
    _has_misfits: bool = False  # a point was proposed last for which there was no room

    def __post_init__(self) -> None:
        for trial in self.study.get_trials(deepcopy=False):
            asked = self._take_in(trial.number, trial.params, trial.distributions, trial.state)
            asked.diverged = DIVERGED in trial.user_attrs

    @cached_property
    def longest(self) -> int:
        """The epochs of the longest trial that may be asked for."""
        return max(recipe.budget_epochs for recipe in self.cell.corners())

    @property
    def left(self) -> int:
        """How many points may still be asked for."""
        return 0 if EXHAUSTED in self.study.user_attrs else max(0, self.search.trials - len(self.asked))

    def ask(self, fits: Fits) -> list[Recipe]:
        """One more point; none where there is none left, or none that fits."""
        proposal = self._propose(fits)
        if proposal is None:
            if not self._has_misfits:
                self.study.set_user_attr(EXHAUSTED, len(self.asked))
            return []
        self.study.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params=proposal.params,
                distributions=proposal.distributions,
                system_attrs=proposal.system_attrs,
                user_attrs={"arm_hash": self.cell.recipe(proposal.params).content_hash()},
            )
        )
        number = len(self.study.get_trials(deepcopy=False)) - 1
        return self._take_in(number, proposal.params, proposal.distributions, TrialState.RUNNING).recipes

    def tell(self, asked: Asked, results: Sequence[TrialResult], rungs: Mapping[int, float]) -> None:
        outcome = outcome_of(self.search.objectives, results)
        state, values = outcome or self._worst(asked)
        diverged = outcome is None and values is not None
        is_known = asked.state is state and asked.diverged == diverged
        if not asked.is_open or is_known or (outcome is None and asked.state is not TrialState.RUNNING):
            return
        copy, self._copy = self._copy, None
        if asked.state is not TrialState.RUNNING:  # what a study was told stays: the mended result stands beside it
            self.study.add_trial(
                create_trial(
                    state=state,
                    values=values,
                    params=dict(asked.point),
                    distributions=dict(asked.distributions),
                    user_attrs={"after_failure_of": asked.number, **({DIVERGED: True} if diverged else {})},
                    intermediate_values=dict(rungs),
                )
            )
        else:
            study_id = self.storage.get_study_id_from_name(self.study.study_name)
            trial_id = self.storage.get_trial_id_from_study_id_trial_number(study_id, asked.number)
            for epoch, accuracy in rungs.items():
                self.storage.set_trial_intermediate_value(trial_id, epoch, accuracy)
            if diverged:
                self.storage.set_trial_user_attr(trial_id, DIVERGED, True)
            self.study.tell(asked.number, values, state)
            if copy is not None and state is TrialState.COMPLETE and not rungs:
                copy.tell(asked.number, values, state)
                self._copy = copy
        asked.state, asked.diverged = state, diverged

    def pause(self, asked: Asked, rungs: Mapping[int, float]) -> None:
        """Tells the accuracies at rungs of a point that may go on."""
        study_id = self.storage.get_study_id_from_name(self.study.study_name)
        trial_id = self.storage.get_trial_id_from_study_id_trial_number(study_id, asked.number)
        for epoch, accuracy in rungs.items():
            self.storage.set_trial_intermediate_value(trial_id, epoch, accuracy)
        self._copy = None

    def _worst(self, asked: Asked) -> tuple[TrialState, list[float] | None]:
        """What is told of a point that has diverged: chance, and costs as bad as any; a failure where none is known."""
        told = [trial.values for trial in self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))]
        values = []
        for place, name in enumerate(self.search.objectives):
            if name == ACCURACY:
                values.append(chance_accuracy(asked.recipes[0]))
            elif told:
                worst = min if is_better_higher(name) else max
                values.append(worst(float(trial[place]) for trial in told))
            else:
                return TrialState.FAIL, None
        return TrialState.COMPLETE, values

    def _take_in(
        self, number: int, point: Point, distributions: Mapping[str, BaseDistribution], state: TrialState
    ) -> Asked:
        recipe = self.cell.recipe(point)
        known = self.asked.get(recipe.content_hash())
        if known is not None:
            known.state = state  # mended after a failure
            return known
        recipes = [recipe.with_seed(seed) for seed in self.seeds]
        asked = self.asked[recipe.content_hash()] = Asked(number, point, distributions, recipes, state)
        return asked

    # Proposing

    def _propose(self, fits: Fits) -> optuna.trial.FrozenTrial | None:
        """A point whose recipe is new and fits, proposed in a copy of the study; None where there is none left."""
        self._has_misfits = False
        copy, self._copy = self._copy or self._copied(), None
        number = len(self.asked)
        for known in self.search.enqueued(self.cell.known):
            if self._is_new(known) and self._fit(fits, known):
                return self._placed(self._suggested(copy), known)
        for attempt in range(PROPOSALS):
            copy.sampler = sampler(self.search, number, attempt)
            proposal = self._suggested(copy)
            if self._is_new(proposal.params) and self._fit(fits, proposal.params):
                if not attempt:  # else the copy has points that the study has not
                    self._copy = copy
                return proposal
            copy.tell(proposal.number, state=TrialState.FAIL)
        point = self._unseen(number, fits)
        return None if point is None else self._placed(proposal, point)

    def _placed(self, proposal: optuna.trial.FrozenTrial, point: Point) -> optuna.trial.FrozenTrial:
        """A proposal that is moved to a point."""
        proposal.params, proposal.system_attrs = dict(point), placed_attributes(proposal.system_attrs)
        proposal.distributions = {name: distribution(self.search.space[name]) for name in point}
        return proposal

    def _copied(self) -> optuna.Study:
        """A search of thousands of points keeps its copy: making it takes ten times as long as proposing a point."""
        copy = optuna.create_study(storage=OnlyTrials(), directions=self.study.directions)
        trials = self.study.get_trials(deepcopy=False)
        copy.add_trials(trials if len(self.search.objectives) > 1 else [as_pruned(trial) for trial in trials])
        return copy

    def _suggested(self, study: optuna.Study) -> optuna.trial.FrozenTrial:
        with quietly():
            trial = study.ask()
            point: dict[str, Any] = {}
            for name in self.search.order():
                dimension = self.search.space[name]
                if not dimension.when or self.search.asks_for(name, self.cell.known(point)):
                    point[name] = suggest(trial, name, dimension)
        return study.get_trials(deepcopy=False)[trial.number]

    def _is_new(self, point: Point) -> bool:
        return self.cell.recipe(point).content_hash() not in self.asked

    def _fit(self, fits: Fits, point: Point) -> bool:
        recipe = self.cell.recipe(point)
        has_room = fits([recipe.with_seed(seed) for seed in self.seeds])
        self._has_misfits |= not has_room
        return has_room

    def _unseen(self, number: int, fits: Fits) -> Point | None:
        """A point that was not tried and fits, drawn at random: of a finite space from all that are left."""
        chance = random.Random(seed_of(self.search.seed, number, PROPOSALS))
        points = self.search.points(self.cell.known)
        if points is not None and len(few := list(itertools.islice(points, ENUMERABLE + 1))) <= ENUMERABLE:
            left = [point for point in few if self._is_new(point)]
            for _ in range(min(len(left), TRIED_FOR_ROOM)):
                point = chance.choice(left)
                if self._fit(fits, point):
                    return point
                left.remove(point)
            return None
        study = optuna.create_study(sampler=RandomSampler(chance.getrandbits(32)))
        proposals: Iterator[Point] = (self._suggested(study).params for _ in range(RANDOM_PROPOSALS))
        new = (point for point in proposals if self._is_new(point))
        return next((point for point in itertools.islice(new, TRIED_FOR_ROOM) if self._fit(fits, point)), None)
