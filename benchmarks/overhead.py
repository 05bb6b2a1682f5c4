"""What scheduling costs a stage, and tracking a trial: python -m benchmarks.overhead [--data-dir DIR]

Real Ray with two workers that are used again and again, a real store, MLflow on SQLite, twice: many short stages on
digits, and with --data-dir a few trials of Lenet on MNIST. Between the first stage's start and the last one's end, what
of the workers' time no stage trained in is overhead: handing it out, loading, testing, storing it, and waiting. On a
machine that does other work too, look at CPU seconds: of the driver, Ray and the workers together, less what the same
epochs take in a process that does nothing else. Tracking is the CPU time of its thread, against what its trials train.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from sweeper.launch import orphans
from sweeper.launch.launch import Launch, Resources
from sweeper.launch.ray_session import quiet
from sweeper.records.store import Store
from sweeper.records.trial_result import Epoch
from sweeper.stages.faults import Failure
from sweeper.stages.forest import Stage
from sweeper.stages.planting import plant
from sweeper.tracking.projection import Projection
from sweeper.tracking.run_state import SweepFacts
from sweeper.tracking.tracker import Tracker
from trainers.data.digests import data_digest
from trainers.data.splits import load_splits
from trainers.recipe.recipe import Recipe
from trainers.training import TrainingRun

SLOTS = 2


@dataclass
class Clock:
    """When the first stage started and the last one ended, by the wall and by the CPU of all that runs here."""

    began: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)

    def stage_started(self, stage: Stage) -> None:
        self.began = self.began or self.now()

    def epochs_ended(self, stage: Stage, epochs: Sequence[Epoch]) -> None:
        pass

    def stage_done(self, stage: Stage) -> None:
        self.ended = self.now()

    def stage_failed(self, stage: Stage, failure: Failure, again: bool) -> None:
        raise RuntimeError(str(failure))

    @staticmethod
    def now() -> list[float]:
        ours = [process for process, _ in orphans.descendants(os.getpid())]
        driver = time.process_time()
        return [time.perf_counter(), driver + sum(map(cpu_seconds, ours)), driver]


def cpu_seconds(process: int) -> float:
    """CPU that a process has taken; nothing for one that is gone."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class TimedTracker(Tracker):
    """Knows how much CPU time it took."""

    cpu_seconds = 0.0

    def run(self) -> None:
        before = time.thread_time()
        super().run()
        self.cpu_seconds = time.thread_time() - before


def short_stages() -> list[Recipe]:
    """12 trials in 36 stages of 1 to 20 epochs."""
    given = {"network": "lenet", "dataset": "digits", "method": "slot_machine", "options": 8}
    return [
        Recipe.complete({**given, "seed": seed, "slot_epochs": split, "finetune_epochs": 24 - split})
        for seed in range(4)
        for split in (4, 8, 12, 16, 20)
    ]


def long_trials() -> list[Recipe]:
    """2 trials of 4 epochs of a second and more."""
    given = {"network": "lenet", "dataset": "mnist", "method": "slot_machine", "options": 8, "slot_epochs": 4}
    return [Recipe.complete({**given, "seed": seed, "finetune_epochs": 0}) for seed in range(2)]


def training_cpu_seconds(recipe: Recipe, data_dir: Path | None) -> float:
    """CPU of an epoch of this recipe, here and with nothing around it."""
    torch.set_num_threads(1)
    run = TrainingRun(recipe, load_splits(recipe, data_dir, download=False))
    run.train_epoch()
    before = time.process_time()
    run.train_epoch()
    run.train_epoch()
    return (time.process_time() - before) / 2


def run(recipes: list[Recipe], data_dir: Path | None) -> dict[str, float]:
    """Launches them, and says where the time went."""
    from sweeper.launch.ray_tune import run_on_ray

    with TemporaryDirectory() as name:
        folder = Path(name)
        digests = {recipe.dataset: data_digest(recipe.dataset, data_dir) for recipe in recipes}
        store = Store(folder)
        launch = Launch(
            "overhead", plant(recipes, digests, store), digests, store, Resources(max_parallel=SLOTS), {}, data_dir
        )
        clock = Clock()
        launch.watchers.append(clock)
        facts = SweepFacts("overhead", "", "name: overhead\n", "s" * 64, {})
        tracker = TimedTracker(Projection(f"sqlite:///{folder}/mlflow.db", str(folder), facts), launch, time.monotonic)
        tracker.projection.connect()  # MLflow sets its database up, which is no part of any trial
        tracker.start()
        run_on_ray(launch, lambda: None, lambda why: os._exit(1))
        tracker.close(300.0)
        if tracker.behind() or not launch.is_over:
            raise RuntimeError(f"not all of it ran, or is in MLflow: {tracker.problem}")
        wall, cpu, driver = (ended - began for began, ended in zip(clock.began, clock.ended, strict=True))
        results, stages, epochs = launch.results(), len(launch.records), launch.forest.epochs_shared
        alone = training_cpu_seconds(recipes[0], data_dir)
        trained = sum(record.seconds for record in launch.records.values())
        return {
            "trials": len(results),
            "stages": stages,
            "epochs": epochs,
            "wall_seconds": wall,
            "trained_seconds": trained,
            "overhead_seconds_a_stage": (SLOTS * wall - trained) / stages,
            "overhead_cpu_seconds_a_stage": (cpu - epochs * alone) / stages,
            "driver_cpu_seconds_an_epoch": driver / epochs,
            "epoch_cpu_seconds": alone,
            "tracking_cpu_seconds_a_trial": tracker.cpu_seconds / len(results),
            "tracking_share_of_a_trial": tracker.cpu_seconds / sum(alone * len(result.epochs) for result in results),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="a folder with MNIST: then tracking is held against its epochs")
    arguments = parser.parse_args()
    quiet()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    before = os.getloadavg()[0]
    print(f"load average before: {before:.1f} on {os.cpu_count()} cores (other work here makes waiting longer)")
    show("short stages, digits", run(short_stages(), None))
    if arguments.data_dir:
        show("Lenet, MNIST", run(long_trials(), arguments.data_dir))


def show(what: str, found: dict[str, float]) -> None:
    """A table, and the same as JSON."""
    print(what)
    for name, value in found.items():
        print(f"  {name.replace('_', ' '):<32}{value:>12.4g}")
    print(json.dumps({what: found}), flush=True)


if __name__ == "__main__":
    main()
