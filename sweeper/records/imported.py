"""Trials trained elsewhere: JSON records as `benchmarks.gpu train` writes them, checked and made results of a sweep.

A record has no stages and no state in the store: it is kept as it came, under `imported/SWEEP/`, and MLflow shows it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from search_spaces.labels import arm_labels
from sweeper.records.stage_record import Snapshot, with_epoch
from sweeper.records.trial_result import TrialResult
from sweeper.stages.faults import Failure, Fault
from sweeper.stages.forest import Trial
from sweeper.stages.status import Status
from sweeper.storage.base import Place
from trainers.costs import totals
from trainers.costs.registry import COSTS, EPOCHS, Cost
from trainers.errors import InvalidInput, explain
from trainers.recipe.recipe import Recipe

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Epoch(_Part):
    """trainers' EpochRecord; `layers` may be left out, or be there for some epochs only."""

    phase: Literal["slot", "finetune"]
    epoch: Annotated[int, Field(ge=1)]
    total_epoch: Annotated[int, Field(ge=1)]
    train_loss: float
    train_accuracy: Share
    validation_loss: float
    validation_accuracy: Share
    learning_rate: Amount
    changed_fraction: Share
    extreme_fraction: Share | None = None
    selected_magnitude: Amount | None = None
    argmax_validation_accuracy: Share | None = None
    sampled_validation_accuracy: Share | None = None
    argmax_validation_loss: float | None = None
    sampled_validation_loss: float | None = None
    evaluation_seconds: Amount
    layers: list[dict[str, Any]] = []


def _with_costs(name: str, base: type[_Part], measured: Callable[[Cost], str]) -> type[_Part]:
    """A part that has a field, besides those of `base`, for every cost that is `measured` there.

    Fields of costs that older records lack may be left out.
    """
    fields: dict[str, Any] = {
        measured(cost): (Count | Amount, ...) if cost.in_every_record else (Count | Amount | None, None)
        for cost in COSTS.values()
        if measured(cost)
    }
    return create_model(name, __base__=base, **fields)


if TYPE_CHECKING:  # which fields there are, only the registry of costs knows
    ImportedEpoch = _Epoch
    ImportedCosts = _Part
else:
    ImportedEpoch = _with_costs("ImportedEpoch", _Epoch, lambda cost: cost.metered)
    ImportedCosts = _with_costs("ImportedCosts", _Part, lambda cost: cost.of_run)  # trainers' TrainingRun.costs


class ImportedTrial(_Part):
    """One trial: its recipe, where it was trained, its epochs, its results."""

    recipe: dict[str, Any]
    data_digest: Name
    numerics_version: Annotated[int, Field(ge=1)]
    device: Name = Field(description="the hardware, such as 'NVIDIA H200'")
    torch: Name
    python: Name
    host: str = ""
    git_commit: str = "unknown"
    version: str = ""
    epochs: Annotated[list[ImportedEpoch], Field(min_length=1)]
    test_accuracy: Share
    test_loss: float | None = None
    slot_test_accuracy: Share | None = None
    argmax_test_accuracy: Share | None = None
    sampled_test_accuracy: Share | None = None
    costs: ImportedCosts
    failure: str = ""
    examples: Count | None = Field(None, description="where only the first examples of each split were used")


def read_records(path: Place | Path) -> list[tuple[ImportedTrial, Recipe]]:
    """The trials in one file: one record, or a list of them. Raises InvalidInput, a line per fault."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InvalidInput(f"{path}: not JSON: {error}") from None
    records = content if isinstance(content, list) else [content]
    several = len(records) > 1
    return [_checked(record, f"{path.name}[{place}]: " if several else f"{path.name}: ")
            for place, record in enumerate(records)]  # fmt: skip


def _checked(content: Any, where: str) -> tuple[ImportedTrial, Recipe]:
    if not isinstance(content, dict):
        raise InvalidInput(
            f"{where}a record is a mapping with recipe, epochs, test_accuracy …; this is {content!r:.60}"
        )
    try:
        record = ImportedTrial.model_validate(content)
    except ValidationError as error:
        raise InvalidInput(explain(error, ImportedTrial.model_fields, where)) from None
    try:
        recipe = Recipe.model_validate(record.recipe)
    except ValidationError as error:
        raise InvalidInput(explain(error, Recipe.model_fields, f"{where}recipe.")) from None
    faults = [where + fault for fault in _faults(record, recipe)]
    if faults:
        raise InvalidInput("\n".join(faults))
    return record, recipe


def _faults(record: ImportedTrial, recipe: Recipe) -> list[str]:
    """What the record says that its own recipe contradicts."""
    if record.examples is not None:
        return [f"examples: it was trained on the first {record.examples} examples only, which no recipe says"]
    stages = [(phase, epoch) for phase, epochs in recipe.phases() for epoch in range(1, epochs + 1)]
    wanted = [(phase, epoch, total) for total, (phase, epoch) in enumerate(stages, 1)]
    found = [(epoch.phase, epoch.epoch, epoch.total_epoch) for epoch in record.epochs]
    odd = [place for place, epoch in enumerate(found) if place >= len(wanted) or epoch != wanted[place]]
    faults: list[str] = []
    if odd:
        phase, epoch, total = found[odd[0]]
        faults.append(f"epochs[{odd[0]}]: {phase} {epoch}, {total} in all, is not the epoch that the recipe has there")
    elif len(found) < len(wanted) and not record.failure:
        faults.append(
            f"epochs: the recipe has {len(wanted)}, and here are {len(found)} without a failure that says why"
        )
    turns = bool(recipe.slot_epochs and recipe.finetune_epochs)
    if record.slot_test_accuracy is not None and not turns:
        faults.append("slot_test_accuracy: only a trial that is finetuned after its slot phase has one")
    return faults


class ImportedSweep:
    """The records of a sweep that was not trained here: <storage>/imported/<name>/<recipe hash>.json."""

    def __init__(self, storage: Place, name: str) -> None:
        self.name = name
        self.folder: Place = storage / "imported" / name

    def add(self, paths: Sequence[Path]) -> int:
        """Adds the records of these files, all of them or none; returns how many are new. Raises InvalidInput."""
        new: dict[str, tuple[ImportedTrial, Path]] = {}
        for path in paths:
            for record, recipe in read_records(path):
                key = recipe.content_hash()
                known = self._read(key) or (new[key][0] if key in new else None)
                if known is not None and known != record:
                    where = new[key][1] if key in new else self._path(key)
                    raise InvalidInput(
                        f"{path.name}: recipe: the same one, {recipe.method} seed {recipe.seed}, has other numbers in "
                        f"{where}; import one of them, or under another sweep's name"
                    )
                if known is None:
                    new[key] = record, path
        for key, (record, _) in new.items():
            text = json.dumps(record.model_dump(mode="json"), sort_keys=True).encode()
            self._path(key).put(text)
        return len(new)

    def results(self) -> list[TrialResult]:
        """All its trials, in the order of their recipes' hashes."""
        files = [self.folder / name for name in self.folder.names() if name.endswith(".json")]
        found = [pair for path in files for pair in read_records(path)]
        labels = arm_labels([recipe for _, recipe in found])
        return [_result(record, recipe, label) for (record, recipe), label in zip(found, labels, strict=True)]

    def _path(self, key: str) -> Place:
        return self.folder / f"{key}.json"

    def _read(self, key: str) -> ImportedTrial | None:
        return read_records(self._path(key))[0][0] if self._path(key).is_file() else None


def _result(record: ImportedTrial, recipe: Recipe, label: str) -> TrialResult:
    snapshots: list[Snapshot] = []
    for epoch in record.epochs:
        snapshots = with_epoch(snapshots, epoch.epoch, epoch.layers)
    failure = Failure(Fault.BUG, record.failure) if record.failure else None
    return TrialResult(
        Trial(recipe, ()),
        label,
        Status.FAILED if failure else Status.COMPLETED,
        failure,
        [epoch.model_dump(exclude={"layers"}) for epoch in record.epochs],
        {} if failure else _finals(record),
        _environment(record),
        [] if failure else snapshots,
    )


def _finals(record: ImportedTrial) -> dict[str, float]:
    costs = totals.of_epochs([epoch.model_dump() for epoch in record.epochs], record.costs.model_dump())
    measured = {
        "test_loss": record.test_loss,
        "slot_test_accuracy": record.slot_test_accuracy,
        "argmax_test_accuracy": record.argmax_test_accuracy,
        "sampled_test_accuracy": record.sampled_test_accuracy,
        "argmax_validation_accuracy": record.epochs[-1].argmax_validation_accuracy,
        "sampled_validation_accuracy": record.epochs[-1].sampled_validation_accuracy,
    }
    return {
        "test_accuracy": record.test_accuracy,
        **{name: value for name, value in measured.items() if value is not None and math.isfinite(value)},
        EPOCHS: float(len(record.epochs)),
        **{name: float(amount) for name, amount in costs.items()},
    }


def _environment(record: ImportedTrial) -> Mapping[str, Any]:
    names = ("device", "host", "torch", "python", "git_commit", "version", "data_digest", "numerics_version")
    return {"imported": "yes", **{name: str(getattr(record, name)) for name in names}}
