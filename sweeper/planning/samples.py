"""Timed epochs that estimates are made from: what was timed, on which machine, and those that a storage holds."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from operator import itemgetter
from statistics import fmean
from typing import Any

from sweeper.planning.pace import Timed
from sweeper.records.stage_record import StageRecord
from sweeper.records.store import Store
from sweeper.stages.forest import Forest
from sweeper.storage.place import Place
from trainers.data.registry import IMAGE_FOLDER, data_set_named
from trainers.errors import InvalidInput
from trainers.plugins.known import is_of_plugin, is_told
from trainers.recipe.choices import Phase
from trainers.recipe.recipe import Recipe

# What of a recipe decides how long an epoch takes, in any phase, and in the slot phase beside that.
EVERY_PHASE = (
    "width", "padding", "dropout", "dataset", "image_size", "augmentation", "validation_examples", "batch_size",
    "precision",
)  # fmt: skip
DETAILS = (*EVERY_PHASE, "options", "selection", "sharing", "evaluation", "evaluation_samples")  # of a slot phase
WEIGHTS = "weights"  # the kind of work of a phase that learns weights, whatever came before it
READ_A_WORK = 3  # stored stages of the sweep itself that are read for each work
READ_NEWEST = 200  # other stored stages
CALIBRATIONS = "calibrations.json"  # in the storage


@dataclass(frozen=True)
class Work:
    """The facts of a recipe and phase that decide how long an epoch takes."""

    network: str
    kind: str  # the method of a slot phase, or WEIGHTS
    details: tuple[Any, ...]

    @classmethod
    def of(cls, recipe: Recipe | Mapping[str, Any], phase: Phase) -> Work:
        """The work of an epoch of this phase. `recipe` may be a record's."""
        names = DETAILS if phase == "slot" else EVERY_PHASE
        if isinstance(recipe, Recipe):
            fields: Mapping[str, Any] = vars(recipe)
            details = tuple(itemgetter(*names)(fields))
        else:
            fields, details = recipe, tuple(map(recipe.get, names))  # an old record lacks some
        if plugins := fields.get("plugins"):
            details += (fields.get("method_options") if phase == "slot" else None, plugins)
        return cls(fields["network"], fields["method"] if phase == "slot" else WEIGHTS, details)

    @property
    def steps(self) -> int:
        """Of an epoch; 0 where only looking at the images would tell."""
        of = dict(zip(EVERY_PHASE, self.details, strict=False))
        if of["dataset"] == IMAGE_FOLDER:
            return 0
        try:
            data = data_set_named(of["dataset"], self.details[-1] if is_of_plugin(of["dataset"]) else None)
        except InvalidInput:  # of another version, or a plug-in that this process was not told of
            return 0
        held_out, batch = int(of["validation_examples"]), int(of["batch_size"])
        return ceil((data.train_examples - held_out) / batch)

    def likeness(self, other: Work) -> int:
        """The number of details that two works of one network have in common."""
        return sum(mine == theirs for mine, theirs in zip(self.details, other.details, strict=False))


@dataclass(frozen=True)
class Sample:
    """Timed epochs of one work on one machine."""

    work: Work
    device: str  # as a record's environment has it: "cpu: Xeon…", "cuda: NVIDIA…"
    threads: int
    flops: int  # of an epoch
    seconds: float  # of an epoch, training and evaluation
    peak_memory_bytes: int
    calibrated: bool = False
    effort: float = 0.0  # of an epoch, in FLOPs: see `trainers.costs.effort`; 0: that of training alone

    @property
    def size(self) -> tuple[int, float]:
        """The steps and the effort of an epoch."""
        return self.work.steps, self.effort or float(self.flops)

    @property
    def timed(self) -> Timed:
        """The epoch as a pace is fitted to it."""
        return Timed(*self.size, self.seconds)

    @classmethod
    def of(cls, record: StageRecord) -> Sample:
        """The sample of the epochs in a stage's record."""
        seconds = [epoch["train_seconds"] + epoch["evaluation_seconds"] for epoch in record.epochs]
        where = record.environment
        return cls(
            Work.of(record.recipe, record.phase),
            str(where.get("device", "")),
            int(where.get("threads", 1)),
            int(record.costs["flops"] // len(record.epochs)),
            fmean(seconds),  # the slow ones take their time, too
            int(record.costs["peak_memory_bytes"]),
            effort=effort_of(Recipe.model_construct(**record.recipe), record.phase) or 0.0,
        )


@dataclass(frozen=True)
class Machine:
    """The machine that trials run on: the kind of device, its name (if this machine has one), threads of a trial."""

    kind: str  # cpu, cuda
    device: str | None  # "cpu: Xeon…"; None: not on this machine, so any of the kind will do
    threads: int

    def is_that_of(self, sample: Sample) -> bool:
        """Whether a sample was timed on such a device, with as many threads (which do not count on a GPU)."""
        if self.device is not None and sample.device != self.device:
            return False
        kind = sample.device.partition(":")[0]
        return kind == self.kind and (kind != "cpu" or sample.threads == self.threads)


def measured(store: Store, forest: Forest) -> Iterator[Sample]:
    """The samples that the store has: some stages of this sweep for each work, and the stages written last.

    As many as are read at most, whatever the store holds: a plan of a large sweep beside many others stays quick.
    """
    wanted: dict[Work, int] = defaultdict(int)
    seen = set()
    for key in forest.stages.keys() & forest.stored:
        stage = forest.stages[key]
        work = Work.of(stage.recipe, stage.phase)
        if wanted[work] < READ_A_WORK and (record := store.read(key)) is not None:
            wanted[work] += 1
            seen.add(key)
            if record.epochs:
                yield Sample.of(record)
    for record in store.newest(READ_NEWEST):
        if record.key not in seen and record.epochs and _is_measurable(record.recipe):
            yield Sample.of(record)


def _is_measurable(recipe: Mapping[str, Any]) -> bool:
    """Whether the sizes of a record's data are known: not of a plug-in's that this process was not told of."""
    dataset = recipe["dataset"]
    return not is_of_plugin(dataset) or is_told("DATA_SETS", dataset, recipe.get("plugins"))


def read_calibrations(root: Place) -> list[Sample]:
    """The calibrations of all machines that used this storage. A file that cannot be read is passed over."""
    try:
        return [_sample(fields) for fields in json.loads((root / CALIBRATIONS).read_text())]
    except (OSError, ValueError, TypeError, KeyError):
        return []


def _sample(fields: dict[str, Any]) -> Sample:
    work = fields["work"]
    fields.pop("weighed", None)  # of earlier versions, which had no effort
    return Sample(**{**fields, "work": Work(work["network"], work["kind"], tuple(work["details"]))})


def effort_of(recipe: Recipe, phase: Phase) -> float | None:
    """The effort of an epoch; None for a folder of images, and for what this version does not know."""
    from trainers.costs.effort import effort_per_epoch

    try:
        return effort_per_epoch(recipe, phase)
    except (InvalidInput, KeyError):
        return None


def machine_here(kind: str, threads: int) -> Machine:
    """This machine, as far as it has a device of that kind."""
    from sweeper.records.environment import device_name

    return Machine(kind, device_name(kind), threads)
