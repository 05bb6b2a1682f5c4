"""What goes out to a worker and what comes back: plain values, so that both travel as JSON. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from sweeper.stages.faults import Failure
from sweeper.stages.forest import Stage
from trainers.recipe.recipe import Recipe

ANSWER_SECONDS = 2.0  # a worker tells its driver of the epochs of so long at once, or of one that takes longer


@dataclass(frozen=True)
class Order:
    """An order to train a stage: all that a worker is told."""

    stage: dict[str, Any]
    digest: str
    storage: str
    data_dir: str | None
    device: str
    threads: int
    sweep: str
    sources: dict[str, str]
    plugins: dict[str, str] = field(default_factory=dict)  # those that it needs: by key, the digest of their files
    save_seconds: float = 30.0  # a killed worker loses no more than this, or one epoch

    @classmethod
    def of(cls, stage: Stage, **how: Any) -> Order:
        told = {one.name: getattr(stage, one.name) for one in fields(stage)}
        return cls(stage={**told, "recipe": stage.recipe.model_dump(mode="json", exclude_none=True)}, **how)

    def as_dict(self) -> dict[str, Any]:
        return vars(self).copy()

    def read_stage(self) -> Stage:
        return Stage(**{**self.stage, "recipe": Recipe.model_validate(self.stage["recipe"])})


@dataclass(frozen=True)
class Step:
    """A worker's report after epochs, or at the end. The first may hold epochs that an earlier attempt saved."""

    epochs: list[dict[str, Any]]  # since the last step
    saved: int  # epochs of the phase that are in the store
    done: bool = False
    failure: Failure | None = None

    def __add__(self, later: Step) -> Step:
        """Both as one report."""
        return Step([*self.epochs, *later.epochs], later.saved, later.done, later.failure)

    def as_dict(self) -> dict[str, Any]:
        failure = self.failure.as_dict() if self.failure else None
        return {"epochs": self.epochs, "saved": self.saved, "done": self.done, "failure": failure}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Step:
        failure = Failure.from_dict(fields["failure"]) if fields["failure"] else None
        return cls(fields["epochs"], fields["saved"], fields["done"], failure)
