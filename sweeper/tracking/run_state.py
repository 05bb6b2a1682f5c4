"""What a trial's run in MLflow shows, against what the store has of the trial. Knows no MLflow.

Every run says which epochs it shows, with a digest of them, so nothing must be read back to know what is missing.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sweeper.records.compressed import Chain
from sweeper.records.stage_record import FORMAT
from sweeper.records.trial_result import CURVES, Epoch, TrialResult
from sweeper.stages.status import Status
from sweeper.tracking.versions import version_tags

RUN_STATUS = {
    Status.PENDING: "SCHEDULED",
    Status.RUNNING: "RUNNING",
    Status.INTERRUPTED: "SCHEDULED",
    Status.COMPLETED: "FINISHED",
    Status.STOPPED_EARLY: "KILLED",
    Status.FAILED: "FAILED",
}
NAME_LENGTH = 44  # letters of a run's name that MLflow's table of runs shows; what varies has columns of its own there
PARAMETER_LENGTH = 6000  # MLflow takes no more
# Of where a trial was trained, by what, and from what data.
SHOWN = (
    "device", "host", "torch", "python", "git_commit", "version", "data_digest", "numerics_version", "imported",
    "trainers_digest",
)  # fmt: skip
# Ends what is projected of a trial whose final metrics are there, with the format of records that they are of: those of
# FLOPs were counted otherwise before, under the first of these alone; .1: with accuracies in percent, too.
FINAL_ONCE, FINAL = ":final", f":final:{FORMAT}.1"


@dataclass(frozen=True)
class SweepFacts:
    """What the runs of a sweep have in common."""

    name: str
    description: str
    spec_text: str
    spec_hash: str
    tags: Mapping[str, str]  # git_commit, version
    varied: tuple[str, ...] = ()  # fields of recipes in which trials may differ
    # Of plug-ins, by whole names, what reports must know of them without their code.
    costs: Mapping[str, Any] = field(default_factory=dict)
    tasks: Mapping[str, str] = field(default_factory=dict)
    # UTC, ISO 8601: when its first launch began, and its last one ended. Empty: as MLflow hears of it.
    began: str = ""
    ended: str = ""


@dataclass
class TrackedRun:
    """A trial's run as MLflow has it."""

    run_id: str
    start_time: int
    run_status: str
    status: str
    projected: str  # "<epochs>:<their digest>", and FINAL once the final metrics are there
    failure: str = ""
    artifacts: str = ""  # where MLflow says that they are
    name: str = ""
    arm: str = ""
    verified: bool = False  # what is projected is known to be what the store says
    versions: dict[str, str] = field(default_factory=dict)  # its tags that say to which versions it belongs

    @classmethod
    def of(cls, run: Any) -> TrackedRun:
        """The state of one of MLflow's runs, read from its tags and metrics."""
        info, tags = run.info, run.data.tags
        status, projected, failure = (tags.get(f"sweeper.{name}", "") for name in ("status", "projected", "failure"))
        named, versions = (info.run_name or "", tags.get("sweeper.arm", "")), version_tags(tags)
        where = info.artifact_uri or ""
        return cls(
            info.run_id, info.start_time, info.status, status, projected, failure, where, *named, versions=versions
        )

    @property
    def epochs(self) -> int:
        return int(self.projected.partition(":")[0] or 0)

    @property
    def has_finals(self) -> bool:
        return self.projected.endswith(FINAL)

    @property
    def had_finals(self) -> bool:
        """Whether it shows final metrics, be they of an earlier format."""
        return FINAL_ONCE in self.projected

    def shows(self, result: TrialResult) -> bool:
        """Whether the run shows all of this result."""
        if self.is_ahead(result) and self.status == Status.COMPLETED:
            # Trained again because its record was lost: what is shown stays until the new result is there.
            return self.run_status == RUN_STATUS[Status.COMPLETED] and self.is_named(result)
        return (
            self.run_status == RUN_STATUS[result.status]
            and self.status == result.status
            and self.failure == str(result.failure or "")
            and self.is_named(result)
            and (self.is_ahead(result) or self._is_level(result))
        )

    def is_named(self, result: TrialResult) -> bool:
        """Whether it has the name that the trial has in the sweep as it is now."""
        return (self.name, self.arm) == (run_name(result), result.label)

    def is_ahead(self, result: TrialResult) -> bool:
        """Whether the run shows more than the store has: epochs of an attempt that was lost and is trained again."""
        return self.epochs > len(result.epochs) or (self.had_finals and not result.is_final)

    def continues(self, result: TrialResult) -> bool:
        """Whether the run shows the beginning of what the store has; otherwise another training made it."""
        if not self.projected or self.verified:
            return True
        was, now = (text.partition(FINAL_ONCE)[0] for text in (self.projected, mark(result, self.epochs)))
        self.verified = was == now
        return self.verified

    def _is_level(self, result: TrialResult) -> bool:
        if self.verified:
            return self.epochs == len(result.epochs) and self.has_finals == result.is_final
        self.verified = self.projected == mark(result, len(result.epochs))
        return self.verified

    def new_tags(self, result: TrialResult) -> dict[str, str]:
        """The tags that this result changes; they hold what differs between attempts, as parameters cannot change."""
        failure = str(result.failure or "")
        if (self.status, self.failure) == (result.status, failure):
            return {}
        where = {f"sweeper.{name}": str(result.environment[name]) for name in SHOWN if name in result.environment}
        why = {"sweeper.failure": failure} if failure != self.failure else {}
        return {"sweeper.status": result.status, **where, **why}

    def new_values(self, result: TrialResult) -> Iterator[tuple[str, float, int, int]]:
        """Yields the metrics that the run does not show yet: name, value, time (ms), step.

        Times count from the run's start in standalone seconds, so that the same record always gives the same values.
        """
        seconds, step = 0.0, 0
        for number, epoch in enumerate(result.epochs, 1):
            seconds += epoch["train_seconds"] + epoch["evaluation_seconds"]
            step = int(epoch["total_epoch"])
            if number > self.epochs:
                for name in CURVES:
                    if (value := epoch.get(name)) is not None and math.isfinite(value):
                        yield name, float(value), self.start_time + round(1000 * seconds), step
        if not self.has_finals:
            # Of two values for one step MLflow shows the later one; a conversion has no step of its own.
            later = int(self.had_finals) + int("validation_accuracy" in result.finals)
            for name, value in {**result.finals, **percents(result)}.items():
                yield name, float(value), self.start_time + round(1000 * seconds) + later, step


def percents(result: TrialResult) -> dict[str, float]:
    """What the table of runs shows of a completed trial: its accuracies in percent."""
    shown = {"validation_accuracy": result.validation_accuracy, "test_accuracy": result.test_accuracy}
    return {f"{name}_percent": 100 * value for name, value in shown.items() if value is not None and result.is_final}


def run_name(result: TrialResult) -> str:
    """What its run is called: its own name, or what fits of it and the seed: 'K=8 PS, normalisation unit, … seed 4'."""
    if len(result.name) <= NAME_LENGTH:
        return result.name
    seed = f" … seed {result.trial.recipe.seed}"
    room = NAME_LENGTH - len(seed)
    whole = result.label[: room + 1].rfind(", ") + 1  # where a field ends
    return result.label[: whole or room].rstrip() + seed


def parameters(result: TrialResult) -> dict[str, str]:
    """The recipe's fields as MLflow's parameters: texts by name."""
    fields: dict[str, Any] = result.trial.recipe.model_dump(mode="json", exclude_none=True, exclude={"filled"})
    return {name: str(value)[:PARAMETER_LENGTH] for name, value in fields.items()}


def mark(result: TrialResult, epochs: int) -> str:
    """The number of epochs that are shown, with a digest of them."""
    is_whole = epochs == len(result.epochs)
    remembered = result.epochs.remembered if is_whole and isinstance(result.epochs, Chain) else None
    curve, digests = remembered or ("", {})
    if curve not in digests:
        digests[curve] = _digest(result.epochs[:epochs])
    return f"{epochs}:{digests[curve]}{FINAL if result.is_final and is_whole else ''}"


def _digest(epochs: Iterable[Epoch]) -> str:
    digest = hashlib.sha256()
    for epoch in epochs:
        shown = [epoch.get(name) for name in (*CURVES, "train_seconds", "evaluation_seconds")]
        digest.update(json.dumps(shown).encode())
    return digest.hexdigest()[:16]
