"""One stage, trained epoch by epoch in this process: from its parent's state to a record in the store.

Knows no Ray and no MLflow. A stage in a process that has run others equals the stage in a fresh process.
"""

from __future__ import annotations

import gc
import math
import os
import random
import time
import uuid
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from sweeper.launch.orders import Order, Step
from sweeper.plugins.stored import plugin_versions, use_kept
from sweeper.records.bucket_store import open_store
from sweeper.records.environment import describe, utc_now
from sweeper.records.stage_record import Snapshot, StageRecord, epochs_evaluated_as, with_epoch
from sweeper.stages.faults import Failure, StorageFault, failure_of
from sweeper.storage.base import StoreError
from sweeper.storage.place import storage_at
from trainers.costs import totals
from trainers.costs.plugged import costs_of
from trainers.data.digests import check_data
from trainers.data.splits import DataSplits, load_splits
from trainers.errors import InvalidInput
from trainers.kernels.allocator import keep_freed_memory, return_freed_memory
from trainers.numerics import NUMERICS_VERSION
from trainers.plugins.known import is_of_plugin, listed
from trainers.recipe.recipe import Recipe
from trainers.training import TrainingRun

SAVING_SHARE = 0.05  # of the time at most goes into saving stages on their way
# What of a recipe decides its data.
DATA_FIELDS = ("dataset", "image_size", "normalisation", "validation_examples", "split_seed")


class DataShelf:
    """A cache of the data set used last, kept between the stages of a process."""

    def __init__(self) -> None:
        self._key: tuple[Any, ...] = ()
        self._splits: DataSplits | None = None

    def get(self, recipe: Recipe, data_dir: str | None, device: str) -> DataSplits:
        own = recipe.plugins if is_of_plugin(recipe.dataset) else None
        key = (*(getattr(recipe, name) for name in DATA_FIELDS), own, data_dir, device)
        if self._splits is None or key != self._key:
            self._splits = None  # make room first
            self._splits = load_splits(recipe, Path(data_dir) if data_dir else None, device, download=False)
            self._key = key
        return self._splits


@dataclass
class StageWorker:
    """Trains one stage; call `step` until it says done."""

    order: Order
    shelf: DataShelf
    _run: TrainingRun | None = None
    _epochs: list[dict[str, Any]] = field(default_factory=list)
    _selection: list[Snapshot] = field(default_factory=list)
    _told: int = 0  # epochs that the caller knows
    _saved: int = 0
    _ended: bool = False
    _started_at: str = ""
    _saved_at: float = 0.0
    _saving_seconds: float = 0.0

    def __post_init__(self) -> None:
        self._stage = self.order.read_stage()
        self._store = open_store(storage_at(self.order.storage))
        self._saved = self._stage.start

    def step(self) -> Step:
        """Trains one epoch, and ends the stage after its last. Whatever goes wrong comes back as a failure."""
        try:
            return self._step()
        except Exception as error:  # the boundary of a trial: nothing gets past it but its failure
            self._ended = True
            self._run = None
            return self._news(failure_of(error))

    def answer(self, seconds: float) -> Step:
        """The first epoch of the stage, or all those that begin within so many seconds, as one report."""
        is_first, until = self._run is None, time.perf_counter() + seconds
        step = self.step()
        while not (is_first or step.done or time.perf_counter() >= until):
            step += self.step()
        return step

    def save(self) -> None:
        """Saves the epochs so far to the store, to go on from later."""
        if self._run is None or self._ended or not self._epochs or self._saved == self._last_epoch:
            return
        started = time.perf_counter()
        self._store.write_partial(self._stage.key, self._record(), self._run.state_dict())
        self._saved = self._last_epoch
        self._saved_at = time.perf_counter()
        self._saving_seconds = self._saved_at - started

    @property
    def _last_epoch(self) -> int:
        return self._stage.start + len(self._epochs)

    def _step(self) -> Step:
        if self._run is None:
            self._run = self._begin()
        if self._last_epoch < self._stage.end:
            epoch = self._run.train_epoch().as_dict()
            self._selection = with_epoch(self._selection, epoch["epoch"], epoch.pop("layers"))
            self._epochs.append(epoch)
        if self._last_epoch >= self._stage.end:
            self._finish()
        elif time.perf_counter() - self._saved_at >= self._pause_between_saves():
            self.save()
        return self._news()

    def _news(self, failure: Failure | None = None) -> Step:
        told, self._told = self._told, len(self._epochs)
        return Step(self._epochs[told:], self._saved, self._ended, failure)

    def _pause_between_saves(self) -> float:
        return max(self.order.save_seconds, self._saving_seconds / SAVING_SHARE)

    def _begin(self) -> TrainingRun:
        stage, order = self._stage, self.order
        _as_in_a_fresh_process(order.device, order.threads)
        self._started_at = utc_now()
        self._saved_at = time.perf_counter()
        use_kept(storage_at(order.storage), order.plugins)
        data = self.shelf.get(stage.recipe, order.data_dir, order.device)
        if data.digest != order.digest:
            raise StorageFault(
                f"the {stage.recipe.dataset} data of this machine are not those the sweep was planned with"
            )
        run = TrainingRun(stage.recipe, data, order.device)
        partial = self._store.read_partial(stage.key, stage.start)
        if partial:
            record, state = partial
            run.load_state_dict(state)
            # Another recipe that shares the stage may have begun it.
            self._epochs = epochs_evaluated_as(record.epochs, stage.recipe.evaluated_by)
            self._saved, self._started_at = record.end, record.started_at
            self._selection = list(record.selection)
        elif stage.parent is not None:
            run.load_state_dict(self._store.read_state(stage.parent))
            if stage.turns:
                run.turn_to(stage.phase)
        if (run.phase, run.epoch) != (stage.phase, self._last_epoch):
            raise StorageFault(
                f"its parent's state is at {run.phase} {run.epoch}, not {stage.phase} {self._last_epoch}"
            )
        return run

    def _finish(self) -> None:
        assert self._run is not None
        test = self._run.test()
        record = replace(
            self._record(test.accuracy, test.loss),
            argmax_test_accuracy=test.argmax_accuracy,
            sampled_test_accuracy=test.sampled_accuracy,
            argmax_test_loss=test.argmax_loss,
            sampled_test_loss=test.sampled_loss,
        )
        if not self._epochs:  # whose last would say
            started = time.perf_counter()
            validation = self._run.evaluate(self._run.data.validation, "validation")
            record = replace(
                record,
                validation_accuracy=validation.accuracy,
                validation_loss=validation.loss,
                evaluation_seconds=time.perf_counter() - started,
            )
        self._store.write(record, self._run.state_dict())
        self._saved, self._ended = self._last_epoch, True
        self._run = None

    def _record(self, test_accuracy: float = math.nan, test_loss: float = math.nan) -> StageRecord:
        assert self._run is not None
        stage, order = self._stage, self.order
        epochs, recipe = list(self._epochs), stage.recipe.model_dump(mode="json", exclude_none=True)
        return StageRecord(
            key=stage.key,
            parent=stage.parent,
            lineage=stage.lineage,
            phase=stage.phase,
            start=stage.start,
            end=self._last_epoch,
            recipe=recipe,
            data_digest=order.digest,
            numerics_version=NUMERICS_VERSION,
            epochs=epochs,
            test_accuracy=test_accuracy,
            test_loss=test_loss,
            costs=totals.of_epochs(epochs, self._run.costs(), costs_of(recipe)),
            evaluation_seconds=math.fsum(epoch["evaluation_seconds"] for epoch in epochs),
            environment=self._environment(),
            started_at=self._started_at,
            ended_at=utc_now(),
            selection=list(self._selection),
        )

    def _environment(self) -> dict[str, Any]:
        order = self.order
        plugins = {"plugins": plugin_versions(order.plugins)} if order.plugins else {}
        return {**describe(order.device, order.threads), **order.sources, "sweep": order.sweep, **plugins}


def _as_in_a_fresh_process(device: str, threads: int) -> None:
    """Clears what an earlier stage of this process may have left behind."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    return_freed_memory()  # of a trial that took more
    random.seed(0)
    torch.manual_seed(0)
    if device.startswith("cuda"):
        gc.collect()  # 0.2 s and more, so only where memory is dear
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS repeats its sums only with this
        torch.cuda.empty_cache()


def lacks(
    place: str, marker: str, data_dir: str | None, datasets: list[str], torch: str, plugins: dict[str, str]
) -> list[str]:
    """The faults of the machine that this runs on."""
    faults = []
    try:
        storage = storage_at(place)
        scratch = storage / "incoming"
        if not (scratch / marker).is_file():
            shared = "the storage must be a folder that all share, or a bucket that all reach"
            faults.append(f"it does not see what others write to {storage}; {shared}")
        else:
            mine = scratch / f"{marker}-{uuid.uuid4().hex}"
            mine.put(b"here\n")
            mine.remove()
    except StoreError as error:
        faults.append(f"it cannot write to {place} ({error.strerror})")
    except InvalidInput as error:
        faults.append(str(error))
    if version("torch") != torch:
        faults.append(f"its torch is {version('torch')}, and the driver's is {torch}; numbers might differ")
    for dataset in datasets:
        try:
            if is_of_plugin(dataset):
                use_kept(storage_at(place), plugins)
            check_data(dataset, Path(data_dir) if data_dir else None, download=False, plugins=listed(plugins))
        except InvalidInput as error:
            faults.append(str(error))
    return faults
