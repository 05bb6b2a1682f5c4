"""A search by Optuna, asked and told. Only the files named `optuna_…` know Optuna.

A stored study (an Optuna journal in the sweep's folder, a file or a log of objects) holds every point that was asked
for, so that launching again goes on with the same search. Points are proposed in a copy of it in memory and stored only
if they are new: no point is tried twice. What a killed driver left RUNNING is simply run on, under its own number.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import optuna
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState

from search_spaces.expansion import CellSearch, searches
from search_spaces.ranges import Search, is_better_higher
from search_spaces.spec import Spec
from sweeper.records.trial_result import TrialResult
from sweeper.search.optuna_cell import CellStudy
from sweeper.search.optuna_journal import mend, opened
from sweeper.search.optuna_terms import quietly
from sweeper.search.policy import Fits
from sweeper.storage.base import Place
from trainers.hashing import content_hash
from trainers.numerics import NUMERICS_VERSION
from trainers.recipe.recipe import Recipe

JOURNAL = "search.log"


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
        self.cells: list[CellStudy] = []
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
                self.cells.append(CellStudy(spec.search, spec.seed_list(), cell, storage, study))

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


def _study(search: Search, storage: BaseStorage, name: str, is_new: bool) -> optuna.Study:
    if not is_new:
        return optuna.load_study(study_name=name, storage=storage)
    directions = [
        StudyDirection.MAXIMIZE if is_better_higher(goal) else StudyDirection.MINIMIZE for goal in search.objectives
    ]
    study = optuna.create_study(study_name=name, storage=storage, directions=directions)
    with quietly():
        study.set_metric_names(search.objectives)
    return study


def _study_name(spec: Spec, cell: CellSearch, sweep: str) -> str:
    """A study of its own for whatever changes what a point means or is told; more trials go on with the same."""
    assert spec.search is not None
    told = spec.model_dump(mode="json", include={"recipe", "budget_epochs", "seeds"})
    search = spec.search.model_dump(mode="json", exclude={"trials", "enqueue"}, exclude_defaults=True)
    where = ", ".join(f"{name}={value}" for name, value in cell.cell.items())
    digest = content_hash([NUMERICS_VERSION, told, search, dict(cell.cell)])[:12]
    return " ".join(part for part in (sweep, where, digest) if part)
