"""A sweep planted from its spec and what the storage keeps of it: what its search asked for, what rungs decided."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from search_spaces.expansion import expand, searches
from search_spaces.spec import Limits, Spec
from sweeper.launch.launch import Launch, Resources
from sweeper.planning.estimates import Estimates, training_flops
from sweeper.records.bucket_store import open_store
from sweeper.records.environment import sources
from sweeper.records.index import FILE as INDEX
from sweeper.records.sweep_folder import SweepFolder
from sweeper.search.limits import Account
from sweeper.search.policy import Steering
from sweeper.search.rungs import RungBook
from sweeper.stages.forest import Cuts, Forest
from sweeper.stages.planting import grow, plant
from trainers.methods.registry import build_method
from trainers.recipe.choices import PHASES, Phase
from trainers.recipe.recipe import Recipe

STAND_IN_SEEDS = 2**62  # from here on: those of no trial


class PlantedSweep:
    """The forest of a spec: of its grid and arms, and of all that its search has asked for by now."""

    def __init__(
        self, spec: Spec, folder: SweepFolder, digests: Mapping[str, str], sources_apart: str, read_only: bool = False
    ) -> None:
        """Reads what the storage keeps of it. Raises StoreError.

        `sources_apart`: the digest of trainers' sources, where their results are kept apart from the pinned ones.
        `read_only`: nothing will be written, and another process may run the sweep.
        """
        self.spec, self.digests, self.read_only = spec, digests, read_only
        self.store = open_store(folder.storage, folder.path / INDEX)
        self.earlier_names = folder.earlier_names()
        search = None
        recipes = {recipe.content_hash(): recipe for recipe in expand(spec)}
        if spec.search is not None:
            from sweeper.search.optuna_study import StudySearch

            search = StudySearch(spec, folder.path, read_only, self.earlier_names)
            recipes |= {recipe.content_hash(): recipe for recipe in search.recipes()}
        self.steering = Steering(search, RungBook(spec.rungs, folder.path) if spec.rungs is not None else None)
        self.forest = plant(list(recipes.values()), digests, self.store, cuts_of(spec), sources_apart)

    def at_most(self) -> Forest:
        """The forest with a trial for every one that the search may still ask for, each as long as its longest."""
        search = self.steering.search
        left = search.left() if search else []
        stand_ins = []
        for cell, points in zip(searches(self.spec), left, strict=False):
            dearest = max(cell.corners(), key=_dearness)
            for number in range(points * len(self.spec.seed_list())):
                stand_ins.append(dearest.with_seed(STAND_IN_SEEDS + number))
        return grow(self.forest, stand_ins, self.digests) if stand_ins else self.forest

    def forget_failures(self) -> int:
        """Clears the failures of its stages, so that they are trained again; returns how many there were."""
        failed = [key for key in self.store.failures() if key in self.forest.stages]
        for key in failed:
            self.store.clear_failure(key)
        return len(failed)

    def launch(
        self, resources: Resources, estimates: Estimates | None = None, wall_seconds: float = 0.0, **more: Any
    ) -> Launch:
        """The launch that trains it; `wall_seconds` are those of earlier launches, `more` goes to the `Launch`."""
        if self.spec.limits != Limits() and estimates is not None:
            began = time.monotonic()
            account = Account(
                self.spec.limits, estimates, resources.gpus_per_trial or 1.0,
                lambda: wall_seconds + time.monotonic() - began,
            )  # fmt: skip
            self.steering = Steering(self.steering.search, self.steering.rungs, account)
        return Launch(
            self.spec.name, self.forest, self.digests, self.store, resources, sources(),
            steering=self.steering, estimates=estimates, read_only=self.read_only,
            earlier_names=self.earlier_names, **more,
        )  # fmt: skip

    def seconds_since(self, started_at: str) -> float:
        """The seconds from then to the last stage that a killed launch stored."""
        started = datetime.fromisoformat(started_at)
        stages = self.forest.stages
        records = (self.store.read(key) or self.store.partial_record(key) for key in stages)
        ends = [
            datetime.fromisoformat(record.ended_at)
            for record in records
            if record is not None and record.environment.get("sweep") in (self.spec.name, *self.earlier_names)
        ]
        return max(0.0, (max(ends) - started).total_seconds()) if ends else 0.0


def reachable(spec: Spec) -> list[Recipe]:
    """The recipes that a sweep trains and, where it searches, those at the ends of its ranges."""
    return [*expand(spec), *(corner for search in searches(spec) for corner in search.corners())]


def _dearness(recipe: Recipe) -> tuple[float, bool, int]:
    flops = (training_flops(recipe) or 0) * recipe.budget_epochs
    method = build_method(recipe)
    return flops or recipe.budget_epochs, method.options_weighed > 0, recipe.method_fields().get("options") or 0


def cuts_of(spec: Spec) -> Cuts:
    """The epochs at which stages of this sweep end although no recipe does.

    At its rungs; and, where trials that a search asks for one by one may share a phase but for its length, at every
    length that the phase may have: a stage that has begun cannot be cut any more.
    """
    rungs = frozenset(spec.rungs.epochs if spec.rungs else ())
    if spec.search is None:
        return Cuts(rungs)
    phases: dict[Phase, frozenset[int]] = {phase: _lengths(spec, phase) for phase in PHASES}
    return Cuts(rungs, {phase: lengths for phase, lengths in phases.items() if lengths})


def _lengths(spec: Spec, phase: Phase) -> frozenset[int]:
    assert spec.search is not None
    later = PHASES[PHASES.index(phase) + 1 :]
    endless = [
        name
        for name, dimension in spec.search.space.items()
        if dimension.values() is None and not dimension.when and not name.startswith(tuple(f"{p}_" for p in later))
    ]
    if endless:
        return frozenset()  # no two points agree up to here
    field = f"{phase}_epochs"
    found: set[int] = set()
    for name in (field, "budget_epochs"):
        dimension = spec.search.space.get(name)
        found.update(dimension.values() or () if dimension else ())
    if phase == "slot":
        found.update(spec.slot_epochs or (), spec.axes.get(field, ()))
    return frozenset(length for length in found if isinstance(length, int) and length > 0)
