"""A search by Optuna, asked and told. Only this file and `sweeper.search.optuna_journal` know Optuna.

A stored study (an Optuna journal in the sweep's folder, a file or a log of objects) holds every point that was asked
for, so that launching again goes on with the same search. Points are proposed in a copy of it in memory and stored only
if they are new: no point is tried twice. What a killed driver left RUNNING is simply run on, under its own number.
"""

from __future__ import annotations

import itertools
import math
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from statistics import mean
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from search_spaces.expansion import CellSearch, searches
from search_spaces.ranges import ACCURACY, Dimension, Point, Search, is_better_higher
from search_spaces.spec import Spec
from sweeper.records.trial_result import TrialResult
from sweeper.search.optuna_journal import mend, opened
from sweeper.search.policy import Fits
from sweeper.stages.status import Status
from sweeper.storage.base import Place
from trainers.data.registry import DATA_SETS
from trainers.hashing import content_hash
from trainers.numerics import NUMERICS_VERSION
from trainers.recipe.recipe import Recipe

JOURNAL = "search.log"
EXHAUSTED = "exhausted"  # of a study: after so many points there is none left
PROPOSALS = 20  # of the sampler, before one that was tried already is replaced by a random one
RANDOM_PROPOSALS = 1000  # in an endless space, before it counts as searched through
TRIED_FOR_ROOM = 200  # points, before it is taken for granted that none fits the limits
DIVERGED = "diverged"  # of a trial: its loss was not a number, and it was told as the worst value
ENUMERABLE = 100_000  # points of a finite space, all of which are looked at for one that is left

ENDED = {Status.COMPLETED: TrialState.COMPLETE, Status.FAILED: TrialState.FAIL, Status.STOPPED_EARLY: TrialState.PRUNED}


class StudySearch:
    """The searches of a sweep, one for every cell of its grid."""

    def __init__(self, spec: Spec, folder: Place, read_only: bool = False, earlier_names: Sequence[str] = ()) -> None:
        """`read_only`: only reads, while another process may write. Raises StoreError.

        `earlier_names`: of the sweep, the first one first, after which its studies are named for good.
        """
        assert spec.search is not None
        self._first_name = earlier_names[0] if earlier_names else spec.name
        self.spec, self.trials = spec, spec.search.trials
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        path = folder / JOURNAL
        self.cells: list[_CellStudy] = []
        journal = path.journal()
        if read_only and not journal.exists():
            return
        if not read_only:
            mend(path, journal)
        storage, known = opened(path, journal)
        for cell in searches(spec):
            name = self._study_name(cell)
            if name in known or not read_only:
                study = _study(spec.search, storage, name, is_new=name not in known)
                self.cells.append(_CellStudy(spec.search, spec.seed_list(), cell, storage, study))

    def _study_name(self, cell: CellSearch) -> str:
        return _study_name(self.spec, cell, self._first_name)

    def recipes(self) -> list[Recipe]:
        """All that was asked for by now, in that order; a search of fewer trials than another before it has its first.

        The other one, of more trials, had asked for more points in the same study.
        """
        points = [asked for cell in self.cells for asked in itertools.islice(cell.asked.values(), self.trials)]
        return [recipe for asked in points for recipe in asked.recipes]

    def number(self, arm: str) -> int | None:
        """Optuna's number of the point with this arm's hash."""
        return next((cell.asked[arm].number for cell in self.cells if arm in cell.asked), None)

    def left(self) -> list[int]:
        """How many points may still be asked for, of every cell of the grid."""
        left = {cell.study.study_name: cell.left for cell in self.cells}
        return [left.get(self._study_name(cell), self.trials) for cell in searches(self.spec)]

    def trials_left(self) -> tuple[int, int]:
        """How many trials may still be asked for, and their epochs, each as long as the longest of its cell."""
        trials = [cell.left * len(cell.seeds) for cell in self.cells]
        return sum(trials), sum(count * cell.longest for count, cell in zip(trials, self.cells, strict=True) if count)

    @property
    def exhausted(self) -> bool:
        """Whether there is nothing more to ask for."""
        return not any(self.left())

    def ask(self, fits: Fits = lambda recipes: True) -> list[Recipe]:
        """The recipes of one more point, one for each seed; none where the search is exhausted, or none left fits.

        `fits` says whether there is room for the trials of these recipes. Of points that do not fit nothing is kept.
        """
        for cell in sorted((cell for cell in self.cells if cell.left), key=lambda cell: len(cell.asked)):
            if recipes := cell.ask(fits):
                return recipes
        return []

    def cell(self, arm: str) -> str:
        """The name of the cell that an arm was asked for in; empty where there is one cell, or none asked for it."""
        names = [cell.study.study_name for cell in self.cells if arm in cell.asked]
        return names[0] if names and len(self.cells) > 1 else ""

    def unsettled(self) -> list[str]:
        """The arms that Optuna has not been told of, or of whose failure it was told."""
        return [arm for cell in self.cells for arm, asked in cell.asked.items() if asked.is_open]

    def pause(self, arm: str, rungs: Mapping[int, float]) -> None:
        """An arm pauses at a rung: what it had there is told, and it counts as pruned as long as it has not ended."""
        for cell in self.cells:
            if arm in cell.asked and cell.asked[arm].state is TrialState.RUNNING:
                cell.pause(cell.asked[arm], rungs)

    def tell(self, arm: str, results: Sequence[TrialResult], rungs: Mapping[int, float]) -> None:
        """What became of an arm whose trials have all ended, and its accuracy at the rungs that it came to."""
        for cell in self.cells:
            if arm in cell.asked:
                cell.tell(cell.asked[arm], results, rungs)


@dataclass
class _Asked:
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
class _CellStudy:
    """The search of one cell."""

    search: Search
    seeds: Sequence[int]
    cell: CellSearch
    storage: BaseStorage
    study: optuna.Study
    asked: dict[str, _Asked] = field(default_factory=dict)  # by the arm's hash
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

    def tell(self, asked: _Asked, results: Sequence[TrialResult], rungs: Mapping[int, float]) -> None:
        outcome = _outcome(self.search.objectives, results)
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

    def pause(self, asked: _Asked, rungs: Mapping[int, float]) -> None:
        """Tells the accuracies at rungs of a point that may go on."""
        study_id = self.storage.get_study_id_from_name(self.study.study_name)
        trial_id = self.storage.get_trial_id_from_study_id_trial_number(study_id, asked.number)
        for epoch, accuracy in rungs.items():
            self.storage.set_trial_intermediate_value(trial_id, epoch, accuracy)
        self._copy = None

    def _worst(self, asked: _Asked) -> tuple[TrialState, list[float] | None]:
        """What is told of a point that has diverged: chance, and costs as bad as any; a failure where none is known."""
        told = [trial.values for trial in self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))]
        values = []
        for place, name in enumerate(self.search.objectives):
            if name == ACCURACY:
                values.append(_chance(asked.recipes[0]))
            elif told:
                worst = min if is_better_higher(name) else max
                values.append(worst(float(trial[place]) for trial in told))
            else:
                return TrialState.FAIL, None
        return TrialState.COMPLETE, values

    def _take_in(
        self, number: int, point: Point, distributions: Mapping[str, BaseDistribution], state: TrialState
    ) -> _Asked:
        recipe = self.cell.recipe(point)
        known = self.asked.get(recipe.content_hash())
        if known is not None:
            known.state = state  # mended after a failure
            return known
        recipes = [recipe.model_copy(update={"seed": seed}) for seed in self.seeds]
        asked = self.asked[recipe.content_hash()] = _Asked(number, point, distributions, recipes, state)
        return asked

    # Proposing

    def _propose(self, fits: Fits) -> optuna.trial.FrozenTrial | None:
        """A point whose recipe is new and fits, proposed in a copy of the study; None where there is none left."""
        self._has_misfits = False
        copy, self._copy = self._copy or self._copied(), None
        number = len(self.asked)
        for attempt in range(PROPOSALS):
            copy.sampler = self._sampler(number, attempt)
            proposal = self._suggested(copy)
            if self._is_new(proposal.params) and self._fit(fits, proposal.params):
                if not attempt:  # else the copy has points that the study has not
                    self._copy = copy
                return proposal
            copy.tell(proposal.number, state=TrialState.FAIL)
        point = self._unseen(number, fits)
        if point is None:
            return None
        proposal.params = dict(point)
        proposal.distributions = {name: _distribution(self.search.space[name]) for name in point}
        return proposal

    def _copied(self) -> optuna.Study:
        """A search of thousands of points keeps its copy: making it takes ten times as long as proposing a point."""
        copy = optuna.create_study(storage=_OnlyTrials(), directions=self.study.directions)
        trials = self.study.get_trials(deepcopy=False)
        copy.add_trials(trials if len(self.search.objectives) > 1 else [_as_pruned(trial) for trial in trials])
        return copy

    def _suggested(self, study: optuna.Study) -> optuna.trial.FrozenTrial:
        with _quietly():
            trial = study.ask()
            point: dict[str, Any] = {}
            for name in self.search.order():
                dimension = self.search.space[name]
                if not dimension.when or self.search.asks_for(name, self.cell.known(point)):
                    point[name] = _suggest(trial, name, dimension)
        return study.get_trials(deepcopy=False)[trial.number]

    def _is_new(self, point: Point) -> bool:
        return self.cell.recipe(point).content_hash() not in self.asked

    def _fit(self, fits: Fits, point: Point) -> bool:
        recipe = self.cell.recipe(point)
        has_room = fits([recipe.model_copy(update={"seed": seed}) for seed in self.seeds])
        self._has_misfits |= not has_room
        return has_room

    def _unseen(self, number: int, fits: Fits) -> Point | None:
        """A point that was not tried and fits, drawn at random: of a finite space from all that are left."""
        chance = random.Random(_seed(self.search.seed, number, PROPOSALS))
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

    def _sampler(self, number: int, attempt: int) -> BaseSampler:
        """Made anew for every point, so that a search that was broken off proposes what it would have."""
        search, seed = self.search, _seed(self.search.seed, number, attempt)
        with _quietly():
            if search.sampler == "random":
                return RandomSampler(seed)
            if search.sampler == "nsga2":
                population = search.population or max(4, min(50, search.trials // 4))
                return NSGAIISampler(population_size=population, seed=seed)
            conditional = any(dimension.when for dimension in search.space.values())
            return TPESampler(seed=seed, multivariate=True, constant_liar=True, group=conditional)


class _OnlyTrials(InMemoryStorage):
    """Remembers nothing but trials: what NSGA-II notes of a generation would be another for a search broken off."""

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        pass


def _study(search: Search, storage: BaseStorage, name: str, is_new: bool) -> optuna.Study:
    if not is_new:
        return optuna.load_study(study_name=name, storage=storage)
    directions = [
        StudyDirection.MAXIMIZE if is_better_higher(goal) else StudyDirection.MINIMIZE for goal in search.objectives
    ]
    study = optuna.create_study(study_name=name, storage=storage, directions=directions)
    with _quietly():
        study.set_metric_names(search.objectives)
    return study


def _study_name(spec: Spec, cell: CellSearch, sweep: str) -> str:
    """A study of its own for whatever changes what a point means or is told; more trials go on with the same."""
    assert spec.search is not None
    told = spec.model_dump(mode="json", include={"recipe", "budget_epochs", "seeds"})
    search = spec.search.model_dump(mode="json", exclude={"trials"}, exclude_defaults=True)
    where = ", ".join(f"{name}={value}" for name, value in cell.cell.items())
    digest = content_hash([NUMERICS_VERSION, told, search, dict(cell.cell)])[:12]
    return " ".join(part for part in (sweep, where, digest) if part)


def _as_pruned(trial: optuna.trial.FrozenTrial) -> optuna.trial.FrozenTrial:
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


def _chance(recipe: Recipe) -> float:
    """The accuracy of guessing; 0 where only looking at the images would tell how many classes there are."""
    known = DATA_SETS.get(recipe.dataset)
    return 1 / known.classes if known else 0.0


def _outcome(objectives: Sequence[str], results: Sequence[TrialResult]) -> tuple[TrialState, list[float] | None] | None:
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
def _quietly() -> Iterator[None]:
    """Without being told that a part of Optuna may change: its version is pinned."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def _seed(*parts: int) -> int:
    return int(content_hash(list(parts))[:8], 16)


def _distribution(dimension: Dimension) -> BaseDistribution:
    low, high = dimension.bounds
    if dimension.choice is not None:
        return CategoricalDistribution(dimension.choice)
    if dimension.integer is not None:
        return IntDistribution(int(low), int(high), log=dimension.log, step=dimension.step or 1)
    return FloatDistribution(low, high, log=dimension.log_uniform is not None)


def _suggest(trial: optuna.Trial, name: str, dimension: Dimension) -> Any:
    low, high = dimension.bounds
    if dimension.choice is not None:
        return trial.suggest_categorical(name, dimension.choice)
    if dimension.integer is not None:
        return trial.suggest_int(name, int(low), int(high), log=dimension.log, step=dimension.step or 1)
    return trial.suggest_float(name, low, high, log=dimension.log_uniform is not None)
