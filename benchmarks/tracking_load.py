"""The metrics of 32 trials at once, ten times as fast as recorded, into MLflow on PostgreSQL, by our own projection:

    python -m benchmarks.tracking_load --data-dir DIR [--seconds 300]

A curve of Lenet on MNIST is recorded by training it. Then 32 logical workers hand its epochs out again, ten for every
one that was trained in the same time, trial after trial, for five minutes. Everything behind that is real: the launch,
the store, the tracker in its thread, MLflow's server with log-in, and PostgreSQL as Debian packs it. At the end every
value that was handed out is looked for in MLflow. Needs root (PostgreSQL runs as its own user) and Debian's postgresql.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from unittest import mock
from urllib.error import URLError
from urllib.request import urlopen

import torch

from benchmarks.scale import Recording, Stopwatch
from sweeper.launch.launch import Launch, Resources
from sweeper.launch.local import run_local
from sweeper.launch.orders import Step
from sweeper.records.stage_record import StageRecord
from sweeper.records.store import Store
from sweeper.records.trial_result import CURVES, TrialResult
from sweeper.stages.forest import Stage
from sweeper.stages.planting import plant
from sweeper.tracking.projection import Projection
from sweeper.tracking.run_state import SweepFacts
from sweeper.tracking.tracker import Tracker
from trainers.data.digests import data_digest
from trainers.recipe.recipe import Recipe

if TYPE_CHECKING:
    from tests.cluster.postgres import Postgres

WORKERS = 32
FASTER = 10
SWEEP = "load"
RECORDED = 4  # epochs of each phase that are trained, and handed out over and over
EPOCHS = 40  # of a trial


def recipes(trials: int) -> list[Recipe]:
    """Of trials that share nothing, so that each epoch is one trial's."""
    given = {"network": "lenet", "dataset": "mnist", "method": "slot_machine", "options": 8}
    recipe = Recipe.complete({**given, "slot_epochs": EPOCHS // 2, "finetune_epochs": EPOCHS // 2})
    return [recipe.model_copy(update={"seed": seed}) for seed in range(trials)]


class RealRecording(Recording):
    """A trial of Lenet on MNIST that was trained here, and how long an epoch of it took."""

    def __init__(self, data_dir: Path, folder: Path) -> None:
        self.watch = Stopwatch()
        given = {"network": "lenet", "dataset": "mnist", "method": "slot_machine", "options": 8}
        recipe = Recipe.complete({**given, "slot_epochs": RECORDED, "finetune_epochs": RECORDED})
        digests, store = {"mnist": data_digest("mnist", data_dir)}, Store(folder)
        launch = Launch(SWEEP, plant([recipe], digests), digests, store, Resources(), {}, data_dir)
        run_local(launch)
        self.records = {record.phase: record for record in launch.records.values()}
        epochs = [epoch for record in launch.records.values() for epoch in record.epochs]
        self.epoch_seconds = statistics.mean(epoch["train_seconds"] + epoch["evaluation_seconds"] for epoch in epochs)

    def of(self, stage: Stage) -> StageRecord:
        """What a worker would write of this stage; its epochs are those recorded, in turn."""
        recorded = self.records[stage.phase]
        before = 0 if stage.phase == "slot" else stage.recipe.slot_epochs
        epochs = [
            {**recorded.epochs[(epoch - 1) % RECORDED], "epoch": epoch, "total_epoch": before + epoch}
            for epoch in range(stage.start + 1, stage.end + 1)
        ]
        return replace(
            recorded, key=stage.key, parent=stage.parent, lineage=stage.lineage, start=stage.start, end=stage.end,
            recipe=stage.recipe.model_dump(mode="json", exclude_none=True), epochs=epochs,
        )  # fmt: skip


class TimedTracker(Tracker):
    """Keeps how long each of its passes took."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.cycles: list[float] = []

    def catch_up(self, last: bool) -> None:
        began = time.monotonic()
        super().catch_up(last)
        if not last:
            self.cycles.append(time.monotonic() - began)


def load(launch: Launch, recording: RealRecording, seconds: float) -> tuple[int, float]:
    """Hands out epochs at their pace until the time is over; returns how many, and how late the last one was."""
    pace = recording.epoch_seconds / FASTER
    began = time.monotonic()
    answers, late = 0, 0.0
    working: list[tuple[float, str, Iterator[Step]]] = []
    while True:
        now = time.monotonic()
        if now - began >= seconds:
            return answers, late
        while len(working) < WORKERS and (order := launch.next_order()) is not None:
            # Workers do not all begin at once.
            due = now + pace * (1 + len(working) / WORKERS)
            working.append((due, str(order.stage["key"]), recording.train(order)))
        if not working:
            raise RuntimeError("there are too few trials for so long a load")
        working.sort(key=lambda entry: entry[0])
        due, key, steps = working.pop(0)
        if due > now:
            time.sleep(due - now)
        step = next(steps)
        launch.take(key, step)
        answers += 1
        late = max(0.0, time.monotonic() - due)
        if not step.done:
            working.append((due + pace, key, steps))


def lost(postgres: Postgres, results: list[TrialResult]) -> tuple[int, int]:
    """How many values were handed out, and how many of them MLflow's tables do not have as they were."""
    hashes = dict(
        line.split("|") for line in postgres.query(
            "select run_uuid, value from tags where key = 'sweeper.recipe_hash'"
        ).splitlines()
    )  # fmt: skip
    kept: dict[str, set[tuple[str, int, float]]] = defaultdict(set)
    for line in postgres.query("select run_uuid, key, step, value from metrics").splitlines():
        run, name, step, value = line.split("|")
        if run in hashes:
            kept[hashes[run]].add((name, int(step), float(value)))
    values = missing = 0
    for result in results:
        there = kept[result.trial.recipe.content_hash()]
        wanted = [
            (name, int(epoch["total_epoch"]), float(epoch[name]))
            for epoch in result.epochs for name in CURVES if epoch.get(name) is not None
        ]  # fmt: skip
        last = int(result.epochs[-1]["total_epoch"])
        wanted += [(name, last, value) for name, value in result.finals.items()]
        values += len(wanted)
        missing += len(set(wanted) - there)
    return values, missing


@contextmanager
def mlflow_server(database: str, folder: Path, password: str, port: int) -> Iterator[str]:
    """MLflow's server with log-in, as docker-compose.yml starts it, but for where users are kept."""
    ini = Path(__file__).resolve().parents[1].joinpath("docker", "basic_auth.ini").read_text()
    (folder / "auth.ini").write_text(ini.replace("postgresql://mlflow@postgres/mlflow", database))
    settings = {
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
        "MLFLOW_AUTH_ADMIN_PASSWORD": password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_BACKEND_STORE_URI": database,
        "MLFLOW_ARTIFACTS_DESTINATION": str(folder / "files"),
    }
    os.environ.update(MLFLOW_TRACKING_USERNAME="admin", MLFLOW_TRACKING_PASSWORD=password)
    command = [sys.executable, "-m", "mlflow", "server", "--app-name=basic-auth", f"--port={port}", "--workers=2"]
    with (folder / "mlflow.log").open("wb") as log:
        server = subprocess.Popen(
            command, env={**os.environ, **settings}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(600):
            try:
                urlopen(f"{address}/health", timeout=5).close()
                break
            except (URLError, OSError):
                time.sleep(0.5)
        yield address
    finally:
        server.terminate()
        server.wait(60)


def measure(data_dir: Path, seconds: float) -> dict[str, Any]:
    """The whole of it: the load, the catching up, the comparison, the size."""
    from tests.cluster.docker_engine import free_port
    from tests.cluster.postgres import postgres_server

    with TemporaryDirectory() as name, postgres_server("127.0.0.1", free_port(), secrets.token_hex(8)) as postgres:
        folder = Path(name)
        recording = RealRecording(data_dir, folder / "recorded")
        trials = int(3 * WORKERS * FASTER * seconds / recording.epoch_seconds / EPOCHS) + WORKERS
        store = Store(folder / "store")
        digests = {"mnist": "d" * 64}
        launch = Launch(SWEEP, plant(recipes(trials), digests, store), digests, store,
                        Resources(), {})  # fmt: skip
        database = f"postgresql://mlflow:{postgres.password}@{postgres.address}:{postgres.port}/mlflow"
        with mlflow_server(database, folder, secrets.token_hex(16), free_port()) as address, mock.patch("os.fsync"):
            size = "select pg_database_size('mlflow')"
            tracker = TimedTracker(
                Projection(address, None, SweepFacts(SWEEP, "", f"name: {SWEEP}\n", "s" * 64, {})), launch,
                time.monotonic,
            )  # fmt: skip
            tracker.projection.connect()
            empty = int(postgres.query(size))
            tracker.start()
            answers, late = load(launch, recording, seconds)
            behind = tracker.behind()
            ended = time.monotonic()
            tracker.close(600.0)
            caught_up = time.monotonic() - ended
            still = tracker.behind()
            results = [result for result in launch.results() if result.epochs]
            values, missing = lost(postgres, results)
            postgres.query("vacuum full")
            grown = int(postgres.query(size)) - empty
        cycles = sorted(tracker.cycles)
        return {
            "seconds": seconds,
            "recorded_epoch_seconds": round(recording.epoch_seconds, 3),
            "epochs_a_second": round(answers / seconds, 1),
            "epochs_a_second_wanted": round(WORKERS * FASTER / recording.epoch_seconds, 1),
            "last_epoch_late_seconds": round(late, 2),
            "trials_begun": len(results),
            "values": values,
            "values_lost": missing,
            "cycles": len(cycles),
            "cycle_seconds_median": round(statistics.median(cycles), 2),
            "cycle_seconds_p95": round(cycles[min(len(cycles) - 1, int(0.95 * len(cycles)))], 2),
            "trials_behind_at_the_end": behind,
            "trials_behind_after_that": still,
            "caught_up_after_seconds": round(caught_up, 1),
            "tracker_said": tracker.problem,
            "database_megabytes_per_1000_trials": round(grown / len(results) * 1000 / 2**20, 1),
            "database_bytes_a_value": round(grown / values, 1),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="a folder with MNIST in torchvision's layout")
    parser.add_argument("--seconds", type=float, default=300.0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    print(json.dumps(measure(arguments.data_dir, arguments.seconds), indent=1))


if __name__ == "__main__":
    main()
