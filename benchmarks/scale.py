"""What the driver does for a sweep of thousands of trials: python -m benchmarks.scale --trials 1000 3000 10000

Only training is left out: 64 logical workers return recorded curves and write real records to a real store. Everything
else is real: planting, the launch with its schedule and progress, the projection to MLflow on SQLite, the report, and
launching again what is stored. CPU seconds, so that a busy machine does not matter; each size in a process of its own.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import json
import math
import pstats
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from heapq import heappop, heappush
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import torch

from benchmarks.report import made_up_recipes, trained
from reports import build_report
from sweeper.cli.display import shown
from sweeper.cli.progress import Progress
from sweeper.launch.launch import Launch, Resources
from sweeper.launch.orders import ANSWER_SECONDS, Order, Step
from sweeper.planning.estimates import Estimates
from sweeper.planning.forecast import forecast
from sweeper.planning.samples import machine_here, measured
from sweeper.records.bucket_store import open_store
from sweeper.records.index import FILE as INDEX
from sweeper.records.stage_record import StageRecord
from sweeper.records.store import Store
from sweeper.records.trial_result import TrialResult
from sweeper.stages.forest import Forest, Stage
from sweeper.stages.planting import plant
from sweeper.storage.folder import storage_of
from sweeper.tracking.projection import Projection
from sweeper.tracking.run_state import SweepFacts
from sweeper.tracking.tracker import Tracker

SWEEP = "many"
FACTS = SweepFacts(SWEEP, "", "name: many\n", "s" * 64, {})
STATE = {"state": torch.zeros(1)}
EPOCH_SECONDS = 1.35
TOLD_AT_ONCE = math.ceil(ANSWER_SECONDS / EPOCH_SECONDS)  # epochs of one answer


class Stopwatch:
    """CPU seconds by what they went into."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        started = time.process_time()
        try:
            yield
        finally:
            self.seconds[what] = self.seconds.get(what, 0.0) + time.process_time() - started


class Recording:
    """A trial that was really trained: its records are handed out again for every stage, its curve epoch by epoch."""

    def __init__(self, folder: Path, watch: Stopwatch) -> None:
        self.watch = watch
        self.records = {record.phase: record for record in trained(folder).records.values()}

    def of(self, stage: Stage) -> StageRecord:
        """What a worker would write of this stage."""
        recorded = self.records[stage.phase]
        before = 0 if stage.phase == "slot" else stage.recipe.slot_epochs
        epochs = [
            {**recorded.epochs[epoch - 1], "epoch": epoch, "total_epoch": before + epoch}
            for epoch in range(stage.start + 1, stage.end + 1)
        ]
        return replace(
            recorded, key=stage.key, parent=stage.parent, lineage=stage.lineage, start=stage.start, end=stage.end,
            recipe=stage.recipe.model_dump(mode="json", exclude_none=True), epochs=epochs,
        )  # fmt: skip

    def train(self, order: Order) -> Iterator[Step]:
        """A worker's answers: the first epoch, then those of some seconds each."""
        with self.watch("workers"):
            stage = order.read_stage()
            record = self.of(stage)
        told = 0
        while told < len(record.epochs):
            epochs = record.epochs[told : told + (TOLD_AT_ONCE if told else 1)]
            told += len(epochs)
            last = told == len(record.epochs)
            if last:
                with self.watch("workers"):
                    Store(Path(order.storage)).write(record, STATE)
            yield Step(list(epochs), stage.end if last else stage.start, last)


def drive(launch: Launch, recording: Recording, workers: int) -> int:
    """Runs a launch to its end as Ray's driver does; returns how many answers it took."""
    progress = Progress(launch)
    launch.watchers.append(progress)
    running: list[tuple[float, int, str, Iterator[Step]]] = []
    now, answers = 0.0, 0
    with shown(progress, io.StringIO()) as refresh:
        while not launch.is_over:
            order = launch.next_order() if len(running) < workers else None
            if order is not None:
                sent = json.dumps(order.as_dict())
                steps = recording.train(Order(**json.loads(sent)))
                heappush(running, (now + EPOCH_SECONDS, answers, order.stage["key"], steps))
                continue
            if not running:
                continue  # a search has nothing more to ask for, and that is the end
            now, _, key, steps = heappop(running)
            step = Step.from_dict(json.loads(json.dumps(next(steps).as_dict())))
            launch.take(key, step)
            refresh()
            answers += 1
            if not step.done:
                heappush(running, (now + TOLD_AT_ONCE * EPOCH_SECONDS, answers, key, steps))
    return answers


def opened(folder: Path) -> Store:
    """The store as a launch of the sweep opens it, with what is kept of it from the last one."""
    return open_store(folder, storage_of(folder) / "sweeps" / SWEEP / INDEX)


def planted(trials: int, store: Store, watch: Stopwatch, what: str) -> Forest:
    with watch(f"recipes for {what}"):
        recipes = list(islice(made_up_recipes(), trials))
    with watch(what):
        return plant(recipes, {"mnist": "d"}, store)


def run(trials: int, workers: int, tracked: bool, profile: bool) -> dict[str, Any]:
    """One size, from the first plan to the report."""
    watch = Stopwatch()
    profiler = cProfile.Profile() if profile else None
    # What a disk takes for a flush is the workers' time, and they are many.
    with TemporaryDirectory() as name, mock.patch("os.fsync"):
        folder = Path(name)
        recording = Recording(folder / "recorded", watch)
        store = opened(folder)
        forest = planted(trials, store, watch, "plant")
        with watch("estimate"):
            estimates = Estimates(measured(store, forest), machine_here("cpu", 1))
            forecast(forest, estimates, workers)
        with watch("start"):
            launch = Launch(SWEEP, forest, {"mnist": "d"}, store, Resources(), {}, estimates=estimates)
        if profiler:
            profiler.enable()
        with watch("driver"):
            answers = drive(launch, recording, workers)
        watch.seconds["driver"] -= watch.seconds["workers"]
        if profiler:
            profiler.disable()
            pstats.Stats(profiler, stream=sys.stderr).sort_stats("cumulative").print_stats(25)
        found: dict[str, Any] = {"trials": trials, "stages": len(forest.stages), "answers": answers}
        found["driver_megabytes"] = megabytes()
        launch.let_go()
        with watch("read the index"):
            store = opened(folder)
        again = planted(trials, store, watch, "plant again")
        with watch("start again"):
            relaunch = Launch(SWEEP, again, {"mnist": "d"}, store, Resources(), {}, read_only=True)
            assert relaunch.is_over
        with watch("summary"):
            launch.results()
        cycles(planted(trials, Store(folder / "empty"), Stopwatch(), ""), folder / "empty", workers, watch)
        if tracked:
            found |= track(relaunch, folder, watch)
        return {**found, "cpu_seconds": {what: round(seconds, 2) for what, seconds in watch.seconds.items()}}


class Unheard(Projection):
    """Looks at trials as a projection does, and tells nobody."""

    def connect(self) -> None:
        pass

    def project_sweep(self, *arguments: Any) -> None:
        pass

    def forget_strangers(self, known: Iterable[str]) -> None:
        set(known)

    def _project_trial(self, result: TrialResult) -> None:
        pass


def cycles(forest: Forest, folder: Path, workers: int, watch: Stopwatch) -> None:
    """The tracker's passes beside a launch: over all trials, and over those that something was heard of."""
    launch = Launch(SWEEP, forest, {"mnist": "d"}, Store(folder), Resources(), {})
    tracker = Tracker(Unheard("", None, FACTS), launch, lambda: 1.0)
    with watch("tracking, a look at all"):
        tracker.catch_up(last=False)
    for _ in range(workers):
        launch.next_order()
    tracker._whole_at = math.inf
    with watch("tracking, what changed"):
        tracker.catch_up(last=False)


def track(launch: Launch, folder: Path, watch: Stopwatch) -> dict[str, Any]:
    """MLflow brought up to date once, looked through once more with nothing to do, and reported."""
    address = f"sqlite:///{folder}/mlflow.db"
    projection = Projection(address, str(folder / "artifacts"), FACTS)
    tracker = Tracker(projection, launch, lambda: 1.0)
    started = time.perf_counter()
    with watch("MLflow"):
        tracker.start()
        tracker.close(3600.0)
    wall = time.perf_counter() - started
    assert tracker.behind() == 0, tracker.problem
    with watch("MLflow, nothing new"):
        idle = Tracker(projection, launch, lambda: 1.0)
        idle.start()
        idle.close(3600.0)
    with watch("report"):
        build_report([SWEEP], address, folder / "report")
    size = (folder / "mlflow.db").stat().st_size
    return {"mlflow_wall_seconds": round(wall, 1), "mlflow_megabytes": size // 2**20, "megabytes": megabytes()}


def megabytes() -> int:
    """The most memory this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[1000, 3000, 10_000])
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--no-tracking", action="store_true", help="without MLflow and the report")
    parser.add_argument("--profile", action="store_true", help="where the driver's time goes, on stderr")
    parser.add_argument("--here", action="store_true", help="in this process")
    arguments = parser.parse_args()
    if arguments.here:
        for trials in arguments.trials:
            print(json.dumps(run(trials, arguments.workers, not arguments.no_tracking, arguments.profile)))
        return
    rows = []
    flags = [flag for flag in ("--no-tracking", "--profile") if getattr(arguments, flag[2:].replace("-", "_"))]
    for trials in arguments.trials:
        command = [sys.executable, "-m", "benchmarks.scale", "--here", "--trials", str(trials), *flags]
        done = subprocess.run(
            [*command, "--workers", str(arguments.workers)], stdout=subprocess.PIPE, text=True, check=True
        )
        rows.append(json.loads(done.stdout))
        print(json.dumps(rows[-1]), flush=True)
    names = list(rows[0]["cpu_seconds"])
    print("\n" + "CPU seconds".ljust(28) + "".join(f"{row['trials']:>12,}" for row in rows) + "   growth")
    for name in names:
        seconds = [row["cpu_seconds"][name] for row in rows]
        print(name.ljust(28) + "".join(f"{value:>12.2f}" for value in seconds) + f"   {growth(rows, seconds)}")


def growth(rows: list[dict[str, Any]], seconds: list[float]) -> str:
    """The power of the number of trials that it grows with, from the first size to the last."""
    if len(rows) < 2 or min(seconds) < 0.01:
        return ""
    power = math.log(seconds[-1] / seconds[0]) / math.log(rows[-1]["trials"] / rows[0]["trials"])
    return f"n^{power:.2f}"


if __name__ == "__main__":
    main()
