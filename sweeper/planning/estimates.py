"""How long a stage will take and how much memory a trial: measured, else calibrated, else by FLOPs. Says which.

An epoch is looked up by its `Work`: what decides how long it takes. Epochs of the same work, measured on the same kind
of device with as many threads, are the best that can be known; then a calibration on this machine; then epochs of the
same network under the same method, scaled by steps and effort (see `pace`), or under other methods; then epochs of
other networks; at last a rate that is assumed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import Any

from sweeper.planning.pace import Pace
from sweeper.planning.samples import Machine, Sample, Work, effort_of
from sweeper.stages.forest import Forest, Stage
from trainers.errors import InvalidInput
from trainers.recipe.choices import Phase
from trainers.recipe.recipe import Recipe

# FLOPs a second, beside what steps take, where nothing is known; a CPU's are of one thread: one had 90 to 160 GFLOP/s.
ASSUMED_FLOPS_PER_SECOND = {"cpu": 1e11, "cuda": 2e12}
# A step takes no less, however small its network: to replay a graph of some hundred kernels. Not measured on a GPU.
LAUNCH_SECONDS = {"cpu": 0.0, "cuda": 3e-4}
LAUNCH_BOUND = 1.5  # launches: a step that takes no longer does not tell how fast its GPU computes
GPU_FLOPS_PER_SECOND = 4e13  # that it reaches on large products, other than over a whole step. Not measured


class Source(StrEnum):
    """The sources of an estimate, the best first."""

    MEASURED = "measured"
    CALIBRATED = "calibrated"
    SCALED = "scaled by FLOPs"
    ASSUMED = "assumed rate"


@dataclass(frozen=True)
class EpochEstimate:
    """The seconds of an epoch, as far as they are known, and their source."""

    seconds: float
    source: Source
    why: str  # in words


@dataclass(frozen=True)
class MemoryEstimate:
    """The most bytes of tensors that a trial keeps alive at once."""

    bytes: int
    why: str


FlopsPerEpoch = Callable[[Recipe], int | None]
PeakBytes = Callable[[Recipe], int | None]
Effort = Callable[[Recipe, Phase], float | None]


class Estimates:
    """The estimates of a sweep's epochs before they are trained."""

    def __init__(
        self,
        samples: Iterable[Sample],
        machine: Machine,
        flops_per_epoch: FlopsPerEpoch | None = None,
        peak_bytes: PeakBytes | None = None,
        effort: Effort | None = None,
    ) -> None:
        self.machine = machine
        self.flops_per_epoch = counted_once(flops_per_epoch or training_flops)
        self._effort = effort or effort_of
        self._peak_bytes = peak_bytes or training_memory
        self._samples: dict[tuple[str, str], list[Sample]] = defaultdict(list)  # by network and kind
        for sample in samples:
            if machine.is_that_of(sample):
                self._samples[sample.work.network, sample.work.kind].append(sample)
        self._known: dict[Work, EpochEstimate | None] = {}
        self._memory: dict[tuple[Work, ...], MemoryEstimate | None] = {}

    def seconds(self, stage: Stage) -> float | None:
        """The seconds of training and evaluating the whole stage; None where not even its FLOPs are known."""
        if not stage.epochs:
            return 0.0
        epoch = self.epoch(stage.recipe, stage.phase)
        return epoch.seconds * stage.epochs if epoch else None

    def flops(self, stage: Stage) -> int | None:
        """The FLOPs of training the whole stage (1 multiply-add = 2); None where the data set's size is not known."""
        flops = self.flops_per_epoch(stage.recipe)
        return None if flops is None else flops * stage.epochs

    def epoch(self, recipe: Recipe, phase: Phase) -> EpochEstimate | None:
        """The estimate for one epoch of this phase of a recipe."""
        work = Work.of(recipe, phase)
        if work not in self._known:
            self._known[work] = self._look_up(work, recipe, phase)
        return self._known[work]

    def trial_seconds(self, recipe: Recipe) -> float | None:
        """The seconds of all phases of a trial that runs alone."""
        total = 0.0
        for phase, epochs in recipe.phases():
            epoch = self.epoch(recipe, phase)
            if epoch is None:
                return None
            total += epoch.seconds * epochs
        return total

    def memory(self, recipe: Recipe) -> MemoryEstimate | None:
        """The memory of a trial of this recipe; None for a folder of images of which nothing was measured."""
        works = tuple(Work.of(recipe, phase) for phase, _ in recipe.phases())
        if works not in self._memory:
            self._memory[works] = self._look_up_memory(works, recipe)
        return self._memory[works]

    def trials_that_fill_a_gpu(self, forest: Forest) -> int | None:
        """How many trials keep one GPU busy: launch time / GPU time of the longest step; None where that is unknown."""
        longest = 0.0
        for trial in forest.trials:
            flops, steps = self.flops_per_epoch(trial.recipe), Work.of(trial.recipe, "finetune").steps
            if flops is None or not steps:
                return None
            longest = max(longest, flops / steps / GPU_FLOPS_PER_SECOND)
        return 1 + int(LAUNCH_SECONDS["cuda"] / longest) if longest else None

    def cost(self, forest: Forest) -> Callable[[Stage], float]:
        """The cost by which the schedule orders stages: seconds, or epochs where some stage's seconds are not known."""
        if any(self.seconds(stage) is None for stage in forest.stages.values()):
            return lambda stage: float(stage.epochs)
        return lambda stage: self.seconds(stage) or 0.0

    def _look_up_memory(self, works: Iterable[Work], recipe: Recipe) -> MemoryEstimate | None:
        peaks = [max((sample.peak_memory_bytes for sample in self._samples_of(work)), default=0) for work in works]
        if all(peaks):
            return MemoryEstimate(max(peaks), Source.MEASURED)
        peak = self._peak_bytes(recipe)
        return None if peak is None else MemoryEstimate(peak, "estimated from the network's shape")

    def _samples_of(self, work: Work) -> list[Sample]:
        return [sample for sample in self._samples.get((work.network, work.kind), ()) if sample.work == work]

    def _look_up(self, work: Work, recipe: Recipe, phase: Phase) -> EpochEstimate | None:
        alike = self._samples.get((work.network, work.kind), [])
        same = [sample for sample in alike if sample.work == work]
        for source, calibrated in ((Source.MEASURED, False), (Source.CALIBRATED, True)):
            found = [sample for sample in same if sample.calibrated is calibrated]
            if found:
                return EpochEstimate(median(sample.seconds for sample in found), source, source)
        flops = self.flops_per_epoch(recipe)
        if flops is None:
            return None
        due = self._effort(recipe, phase) or float(flops)
        for samples, whose in self._by_likeness(work):
            if scaled := self._scaled(samples, work, due):
                why = f"{Source.SCALED} from {whose}"
                return EpochEstimate(max(scaled, self._launches(work)), Source.SCALED, why)
        rate = ASSUMED_FLOPS_PER_SECOND[self.machine.kind] * (self.machine.threads if self.machine.kind == "cpu" else 1)
        seconds = Pace.unknown(self.machine.kind).seconds(work.steps, due) / rate
        if (launches := self._launches(work)) > seconds:
            return EpochEstimate(launches, Source.ASSUMED, f"steps of an assumed {launches / work.steps * 1e3:g} ms")
        return EpochEstimate(seconds, Source.ASSUMED, f"FLOPs at an assumed {rate / 1e9:g} GFLOP/s")

    def _by_likeness(self, work: Work) -> Iterator[tuple[list[Sample], str]]:
        """Samples to scale from and what they are of: of the same network and kind, else of the network, else all."""
        yield self._samples.get((work.network, work.kind), []), f"other epochs of {work.network}"
        everything = [one for samples in self._samples.values() for one in samples]
        own = [one for one in everything if one.work.network == work.network]
        yield own, f"epochs of {work.network} by other methods"
        yield everything, "epochs of other networks"

    def _scaled(self, samples: Sequence[Sample], work: Work, due: float) -> float | None:
        """The seconds of an epoch of so much effort, by the likest of these samples; None where they tell nothing."""
        free = [one for one in samples if one.flops and one.seconds > LAUNCH_BOUND * self._launches(one.work)]
        if not free:
            return None
        own = [one for one in free if one.work.network == work.network]
        pace = Pace.of((one.timed for one in own), self.machine.kind) if own else Pace.unknown(self.machine.kind)
        likeness = max(work.likeness(one.work) for one in samples)
        likest = [one for one in free if work.likeness(one.work) == likeness] if own else free
        ratios: dict[Work, list[float]] = defaultdict(list)  # each work tells as much as any other, however often timed
        for one in likest:
            if expected := pace.seconds(*one.size):
                ratios[one.work].append(one.seconds / expected)
        return median(map(median, ratios.values())) * pace.seconds(work.steps, due) if ratios else None

    def _launches(self, work: Work) -> float:
        """The least seconds that an epoch's steps take."""
        return work.steps * LAUNCH_SECONDS[self.machine.kind]


def training_flops(recipe: Recipe) -> int | None:
    """The FLOPs of an epoch; None for a folder of images, whose number is not known."""
    from trainers.costs.flops import training_flops_per_epoch

    try:
        return training_flops_per_epoch(recipe)
    except InvalidInput:
        return None


def training_memory(recipe: Recipe) -> int | None:
    """The estimated peak in bytes; None for a folder of images, whose number of classes is not known."""
    from trainers.costs.memory_estimate import estimated_peak_bytes

    try:
        return estimated_peak_bytes(recipe)
    except InvalidInput:
        return None


def counted_once(flops_per_epoch: FlopsPerEpoch) -> FlopsPerEpoch:
    """A version of this function that is called once for all recipes with the same result."""
    known: dict[tuple[Any, ...], int | None] = {}

    def counted(recipe: Recipe) -> int | None:
        key = (recipe.network, recipe.padding, recipe.width, recipe.dropout, recipe.dataset, recipe.image_size,
               recipe.validation_examples)  # fmt: skip
        if key not in known:
            known[key] = flops_per_epoch(recipe)
        return known[key]

    return counted
