"""Times a few batches of every kind of work in a sweep on this machine, and keeps what it found in the storage.

The real step on real data, where they are there: how often a slot machine re-selects depends on what it learns.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from functools import partial
from math import ceil
from pathlib import Path

import torch

from sweeper.planning.estimates import Estimates, Source
from sweeper.planning.samples import CALIBRATIONS, Sample, Work, effort_of, read_calibrations
from sweeper.stages.forest import Forest
from sweeper.storage.base import Place
from trainers.costs.memory_estimate import data_bytes
from trainers.data.files import DataError
from trainers.data.image_folder import StreamedSplit
from trainers.data.registry import IMAGE_FOLDER, data_set_named
from trainers.data.splits import DataSplits, Split, load_splits
from trainers.kernels.allocator import keep_freed_memory
from trainers.plugins.known import is_of_plugin
from trainers.recipe.choices import Phase
from trainers.recipe.recipe import Recipe
from trainers.step import REPLAYED
from trainers.tasks import ASKED
from trainers.training import EpochRecord, TrainingRun

CALIBRATION_SECONDS = 60.0  # for all of a sweep
LONGEST_SECONDS = 1.0  # for the timed batches of one work
FIRST_BATCHES = 2  # to warm up, and to see how many more there is time for
EVALUATED_IMAGES = 1000  # at most
MADE_UP_IMAGES = 4096


def calibrate(
    forest: Forest,
    estimates: Estimates,
    data_dir: Path | None,
    seconds: float = CALIBRATION_SECONDS,
    tell: Callable[[str], None] = lambda line: None,
    clock: Callable[[], float] = time.monotonic,
) -> list[Sample]:
    """Times every work of the sweep that no stored epoch was measured for.

    Each has its share of the seconds. What its first batches take beyond that is missing to the others: once begun they
    are not broken off, and nothing is begun after the last second.
    """
    works: dict[Work, tuple[Recipe, Phase]] = {}
    for stage in forest.stages.values():
        if not stage.epochs:
            continue
        epoch = estimates.epoch(stage.recipe, stage.phase)
        if epoch is None or epoch.source is not Source.MEASURED:
            works.setdefault(Work.of(stage.recipe, stage.phase), (stage.recipe, stage.phase))
    order = sorted(works.items(), key=lambda item: _data_key(item[1][0]))  # so that data are loaded once
    end = clock() + seconds
    data: dict[str, DataSplits | None] = {}  # those used last
    samples: list[Sample] = []
    torch.set_num_threads(estimates.machine.threads)
    keep_freed_memory()  # as workers do
    for number, (work, (recipe, phase)) in enumerate(order):
        began = clock()
        left = end - began
        if left <= 0:
            tell(f"{len(order) - number} of {len(order)} kinds of epochs are left out: {seconds:g} s are over")
            break
        key = _data_key(recipe)
        if key not in data:
            data = {key: _data(recipe, data_dir, estimates.machine.kind)}
        if (splits := data[key]) is not None:
            run = TrainingRun(recipe, splits, estimates.machine.kind)
            share = left / (len(order) - number)
            samples.append(_timed(run, phase, work, estimates, partial(_until, began + share, clock)))
            if (took := clock() - began) > share:
                what = f"{recipe.network} on {recipe.dataset}, {recipe.method}"
                tell(f"{what}: took {took:.1f} s of its share of {share:.1f} s, loading and evaluation included")
    return samples


def _until(moment: float, clock: Callable[[], float]) -> float:
    return moment - clock()


def _timed(run: TrainingRun, phase: Phase, work: Work, estimates: Estimates, left: Callable[[], float]) -> Sample:
    """An epoch of a few batches and some evaluation, made into a whole one. `left`: the seconds that it still has."""
    recipe, whole, batch = run.recipe, run.data, run.recipe.batch_size
    examples = _train_examples(recipe, whole)
    if run.phase != phase:
        run.turn_to(phase)
    record = _warm_epoch(run, _excerpt(whole, FIRST_BATCHES * batch, batch))
    costs = run.costs()
    splits = (run.data.train, run.data.validation, run.data.test)
    excerpt_bytes = sum(split.images.nbytes + split.labels.nbytes for split in splits if isinstance(split, Split))
    rounds = 2 if run.device.type in REPLAYED else 1
    each = min(LONGEST_SECONDS, left() / (2 * rounds))  # for training, and for evaluation
    batches = int(each * FIRST_BATCHES / record.train_seconds)
    images = int(each * len(run.data.validation) / record.evaluation_seconds)
    if batches > 0 and images > 0:  # or the first batches must do
        record = _warm_epoch(run, _excerpt(whole, min(batches * batch, examples), min(images, EVALUATED_IMAGES)))
    training = record.train_seconds / ceil(len(run.data.train) / batch) * ceil(examples / batch)
    evaluation = record.evaluation_seconds / len(run.data.validation) * recipe.validation_examples
    machine = estimates.machine
    return Sample(
        work=work,
        device=machine.device or machine.kind,
        threads=machine.threads,
        flops=int(costs["flops_per_epoch"]),
        seconds=training + evaluation,
        peak_memory_bytes=int(costs["peak_memory_bytes"]) - excerpt_bytes + data_bytes(recipe),
        calibrated=True,
        effort=effort_of(recipe, phase) or 0.0,
    )


def _warm_epoch(run: TrainingRun, excerpt: DataSplits) -> EpochRecord:
    """An epoch on a few batches; on a GPU the second: in the first one kernels are loaded, and a graph is made."""
    run.data = excerpt
    if run.device.type in REPLAYED:
        run.train_epoch()
    return run.train_epoch()


def _data(recipe: Recipe, data_dir: Path | None, device: str) -> DataSplits | None:
    """The recipe's data; random images of their shape where they are not there; None where that is not known either."""
    try:
        return load_splits(recipe, data_dir, device, download=False)
    except DataError:
        if recipe.dataset == IMAGE_FOLDER:
            return None
    facts = data_set_named(recipe.dataset, recipe.plugins)
    chance = torch.Generator().manual_seed(0)
    images = torch.randn(MADE_UP_IMAGES, *facts.input_shape, generator=chance).to(device)
    made_up = Split(images, ASKED[facts.task].made_up(MADE_UP_IMAGES, facts.classes, chance).to(device))
    return DataSplits(made_up, made_up, made_up, facts.classes, "", facts.input_shape, facts.task)


def _data_key(recipe: Recipe) -> str:
    own = f" {recipe.plugins}" if is_of_plugin(recipe.dataset) else ""
    return f"{recipe.dataset} {recipe.image_size}{own}"


def _train_examples(recipe: Recipe, data: DataSplits) -> int:
    """Those that are not held out for validation."""
    if recipe.dataset == IMAGE_FOLDER:
        return len(data.train) + len(data.validation) - recipe.validation_examples
    examples = data_set_named(recipe.dataset, recipe.plugins).train_examples
    return examples - recipe.validation_examples


def _excerpt(data: DataSplits, examples: int, evaluated: int) -> DataSplits:
    """The first training images, and the first of those that an epoch is evaluated on."""
    return replace(data, train=_first(data.train, examples), validation=_first(data.validation, evaluated))


def _first(split: Split | StreamedSplit, examples: int) -> Split | StreamedSplit:
    if isinstance(split, Split):
        return Split(split.images[:examples].clone(), split.labels[:examples].clone())
    return replace(split, paths=split.paths[:examples], labels=split.labels[:examples])


def keep_calibrations(root: Place, samples: Iterable[Sample]) -> None:
    """Stores calibrations beside earlier ones, in place of those of the same work on the same device."""
    known = {(sample.work, sample.device, sample.threads): sample for sample in (*read_calibrations(root), *samples)}
    text = json.dumps([asdict(sample) for sample in known.values()], indent=1)
    (root / CALIBRATIONS).put(text.encode())
