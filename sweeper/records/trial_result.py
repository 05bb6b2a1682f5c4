"""What trials came to, read from the records of their stages: whole curves, and what each trial would cost alone."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sweeper.records.compressed import Chain
from sweeper.records.stage_record import Snapshot, StageRecord, epochs_evaluated_as, evaluated_as
from sweeper.stages.faults import Failure, Fault
from sweeper.stages.forest import Forest, Trial
from sweeper.stages.status import Status
from trainers.costs import totals
from trainers.costs.plugged import costs_of
from trainers.costs.registry import EPOCHS

CURVES = (
    "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "learning_rate", "changed_fraction",
    "extreme_fraction", "selected_magnitude",
)  # fmt: skip
BOTH_WAYS = ("argmax_validation_accuracy", "sampled_validation_accuracy")  # of an epoch of probabilistic selection
Epoch = Mapping[str, Any]  # an EpochRecord as a dict


@dataclass(frozen=True)
class TrialResult:
    """A trial as far as it is stored. Costs are standalone: what this trial costs if it runs by itself."""

    trial: Trial
    label: str  # of its arm
    status: Status
    failure: Failure | None = None
    epochs: Sequence[Epoch] = ()
    finals: dict[str, float] = field(default_factory=dict)  # accuracies and costs if COMPLETED, costs if STOPPED_EARLY
    environment: Mapping[str, Any] = field(default_factory=dict)  # of its last stage
    snapshots: Sequence[Snapshot] = ()  # what gets selected, once it is COMPLETED
    ended_at: str = ""  # UTC, ISO 8601: when its last stage ended, once all are finished
    search_trial: int | None = None  # Optuna's number of the point that it is of; None: no search asked for it

    @property
    def name(self) -> str:
        return f"{self.label} seed {self.trial.recipe.seed}"

    @property
    def validation_accuracy(self) -> float | None:
        """At its end, or as far as it is stored."""
        if "validation_accuracy" in self.finals:
            return self.finals["validation_accuracy"]
        return float(self.epochs[-1]["validation_accuracy"]) if self.epochs else None

    @property
    def is_final(self) -> bool:
        """Whether its results stand: a trial that was stopped early may yet go on under another spec."""
        return self.status is Status.COMPLETED and bool(self.finals)

    @property
    def diverged(self) -> bool:
        """Whether it failed because its loss was not a number."""
        return self.failure is not None and self.failure.fault is Fault.NOT_A_NUMBER

    @property
    def test_accuracy(self) -> float | None:
        return self.finals.get("test_accuracy")

    def objective(self, name: str) -> float | None:
        """The value of a search's objective: the validation accuracy or a cost; None where it is not known."""
        return self.validation_accuracy if name == "validation_accuracy" else self.finals.get(name)

    def at_rest(self) -> TrialResult:
        """The result as it is while no driver runs: what was begun and has not ended is INTERRUPTED."""
        if self.status not in (Status.PENDING, Status.RUNNING):
            return self
        return replace(self, status=Status.INTERRUPTED if self.epochs else Status.PENDING)

    @property
    def seconds(self) -> float:
        """Seconds of training and evaluation, all its epochs."""
        return seconds_of(self.epochs)


def seconds_of(epochs: Sequence[Epoch]) -> float:
    """Seconds of training and evaluation."""
    return math.fsum(epoch["train_seconds"] + epoch["evaluation_seconds"] for epoch in epochs)


def trial_epochs(
    trial: Trial, records: Mapping[str, StageRecord], saved: Mapping[str, Sequence[Epoch]] | None = None
) -> Chain[Epoch]:
    """The curve so far, first epoch first: finished stages, then what is `saved` of the one after them."""
    parts: list[Sequence[Epoch]] = []
    for key in trial.stages:
        if key in records:
            if records[key].epochs:
                parts.append(evaluated_as(records[key], trial.recipe.evaluated_by).epochs)
        else:
            parts.append(epochs_evaluated_as((saved or {}).get(key, ()), trial.recipe.evaluated_by))
            break
    return Chain(parts)


def trial_finals(trial: Trial, records: Mapping[str, StageRecord]) -> dict[str, float]:
    """Accuracies on the test split and standalone costs. Every stage of the trial must be in `records`."""
    stages = [evaluated_as(records[key], trial.recipe.evaluated_by) for key in trial.stages]
    last = stages[-1]
    slot = [stage for stage in stages if stage.phase == "slot"]
    turned = {"slot_test_accuracy": slot[-1].test_accuracy} if slot and last.phase != "slot" else {}
    accuracies = {"test_accuracy": last.test_accuracy, "test_loss": last.test_loss, **turned}
    return {**accuracies, **_of_a_conversion(last), **_both_ways(last), **_costs(stages)}


def _of_a_conversion(last: StageRecord) -> dict[str, float]:
    """What no epoch says of a stage that has none."""
    known = {"validation_accuracy": last.validation_accuracy, "validation_loss": last.validation_loss}
    return {name: value for name, value in known.items() if value is not None}


def _both_ways(last: StageRecord) -> dict[str, float]:
    """The accuracies of probabilistic selection by arg-max and sampled; of nothing else, and not in older records."""
    known = {
        "argmax_test_accuracy": last.argmax_test_accuracy,
        "sampled_test_accuracy": last.sampled_test_accuracy,
        **{name: last.epochs[-1].get(name) for name in BOTH_WAYS if last.epochs},
    }
    return {name: value for name, value in known.items() if value is not None}


def _costs(stages: Sequence[StageRecord]) -> dict[str, float]:
    amounts = totals.of_stages([stage.costs for stage in stages], costs_of(stages[-1].recipe))
    epochs = sum(len(stage.epochs) for stage in stages)
    return {EPOCHS: float(epochs), **{name: float(amount) for name, amount in amounts.items()}}


def _environment(record: StageRecord) -> dict[str, Any]:
    """Where a stage was trained, by what and from what."""
    return {**record.environment, "data_digest": record.data_digest, "numerics_version": record.numerics_version}


def trial_result(
    trial: Trial,
    label: str,
    status: Status,
    failure: Failure | None,
    records: Mapping[str, StageRecord],
    saved: Mapping[str, Sequence[Epoch]] | None = None,
) -> TrialResult:
    """The result of a trial, as far as it is stored."""
    known = {key: record for key in trial.stages if (record := records.get(key)) is not None}  # each looked up once
    finished = list(known.values())
    finals: dict[str, float] = {}
    if status is Status.COMPLETED:
        finals = trial_finals(trial, known)
    elif status is Status.STOPPED_EARLY and finished:  # what it cost so far; how well it might have done nobody knows
        finals = _costs(finished)
    return TrialResult(
        trial,
        label,
        status,
        failure,
        trial_epochs(trial, known, saved),
        finals,
        _environment(finished[-1]) if finished else {},
        Chain([record.selection for record in finished]) if status is Status.COMPLETED else (),
        finished[-1].ended_at if status is Status.COMPLETED else "",
    )


@dataclass(frozen=True)
class ArmResult:
    """The COMPLETED trials of one arm."""

    label: str
    trials: int
    validation_accuracies: tuple[float, ...]  # of the completed trials, in the order of their seeds
    test_accuracies: tuple[float, ...]
    diverged: int = 0  # trials whose loss was not a number

    @property
    def completed(self) -> int:
        return len(self.test_accuracies)


def arm_results(results: Sequence[TrialResult]) -> list[ArmResult]:
    """The results of each arm, in the order of the sweep."""
    arms: dict[str, list[TrialResult]] = defaultdict(list)
    for result in results:
        arms[result.label].append(result)
    return [_arm(label, members) for label, members in arms.items()]


def _arm(label: str, members: Sequence[TrialResult]) -> ArmResult:
    completed = [member for member in members if member.status is Status.COMPLETED]
    return ArmResult(
        label,
        len(members),
        tuple(accuracy for member in completed if (accuracy := member.validation_accuracy) is not None),
        tuple(member.finals["test_accuracy"] for member in completed),
        sum(member.diverged for member in members),
    )


def spent(
    forest: Forest, records: Mapping[str, StageRecord], is_own: Callable[[StageRecord], bool]
) -> tuple[int, float]:
    """Epochs and seconds that this sweep itself used: stages that another sweep had trained before cost it nothing."""
    own = [records[key] for key in forest.stages if key in records and is_own(records[key])]
    return sum(len(record.epochs) for record in own), math.fsum(record.seconds for record in own)
