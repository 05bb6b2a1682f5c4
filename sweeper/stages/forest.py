"""A sweep as a forest of stages: what trials have in common is trained once.

A point is a state reached; a stage leads from one point (or from nothing) to the next.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace

from trainers.recipe.choices import Phase
from trainers.recipe.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of one phase between two points: the unit that is scheduled, stored under its end point, and reused."""

    key: str  # of the point where it ends
    parent: str | None  # the key of the point where it starts; None: from scratch
    lineage: str  # of the point where it ends
    recipe: Recipe  # one of those that go through it; they all train it alike
    phase: Phase
    start: int  # epochs of the phase done before it
    end: int
    turns: bool  # it starts a later phase: by baking in what the parent's slot phase selected, or by a conversion

    @property
    def epochs(self) -> int:
        """How many epochs it trains; none is a conversion."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Trial:
    """One recipe, and the keys of the stages that make it, from the root to the leaf."""

    recipe: Recipe
    stages: tuple[str, ...]


@dataclass(frozen=True)
class Cuts:
    """Where stages end although no recipe does: at rungs, and where a search may yet ask trials to part."""

    total: frozenset[int] = frozenset()  # epochs, counted over the whole trial
    phases: Mapping[Phase, frozenset[int]] = field(default_factory=dict)  # epochs of one phase

    def within(self, phase: Phase, before: int, epochs: int) -> list[int]:
        """The cuts within a phase of so many epochs that has so many before it, as epochs of the phase."""
        found = {total - before for total in self.total} | self.phases.get(phase, frozenset())
        return sorted(epoch for epoch in found if 0 < epoch < epochs)


@dataclass(slots=True)
class Line:
    """One lineage in a sweep: where its recipes part or end."""

    phase: Phase
    begin: int  # the epoch of its phase after which it begins
    parent: str | None  # where the lineage before it ended
    recipe: Recipe  # the one that goes furthest
    ends: list[int] = field(default_factory=list)  # sorted, each once
    starts: dict[int, int] = field(default_factory=dict)  # of the stage that ends at an epoch
    stored: dict[int, int] = field(default_factory=dict)  # the same of stages in the store
    trials: list[int] = field(default_factory=list)  # that go through it

    def copy(self) -> Line:
        """One that may change while others look at this one."""
        return replace(self, ends=[*self.ends], starts={**self.starts}, stored={**self.stored}, trials=[*self.trials])


@dataclass(frozen=True)
class Forest:
    """The stages of a sweep, parents first, and its trials. It never changes; `grow` gives a larger one."""

    stages: dict[str, Stage]
    trials: list[Trial]
    epochs_alone: int  # if every trial ran by itself
    epochs_shared: int  # if nothing is trained twice
    stored: frozenset[str] = frozenset()  # the stages that need no training
    cuts: Cuts = field(default_factory=Cuts)
    sources: str = ""  # the digest of trainers' sources, where it is not the pinned one
    lines: Mapping[str, Line] = field(default_factory=dict, repr=False)  # by lineage

    @property
    def epochs_left(self) -> int:
        """Epochs that are still to train."""
        return sum(stage.epochs for key, stage in self.stages.items() if key not in self.stored)

    def left(self, failed: Container[str]) -> list[Stage]:
        """The stages that are not stored, less those that failed and all that would go on from them."""
        lost: set[str | None] = set()
        found = []
        for key, stage in self.stages.items():
            if key not in self.stored:
                if key in failed or stage.parent in lost:
                    lost.add(key)
                else:
                    found.append(stage)
        return found

    @property
    def sharing(self) -> float:
        """How many times the epochs if every trial ran alone are those of the forest."""
        return self.epochs_alone / self.epochs_shared if self.epochs_shared else 1.0
