"""How long a report over many runs takes: python -m benchmarks.report [RUNS] [--alike] [--profile], printing JSON.

The runs are made up and written straight into MLflow's tables (through its client they would take half an hour). Each
says what gets selected in a file of its own, as a small network that is really trained says it. With --alike all runs
end with one accuracy and one cost, as those of `benchmarks.scale` do.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from itertools import count, islice, product
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any
from uuid import uuid4

import numpy as np
from mlflow import MlflowClient

from reports import build_report
from search_spaces.labels import arm_labels
from sweeper.launch.launch import Launch, Resources
from sweeper.launch.local import run_local
from sweeper.records.stage_record import ARTIFACT, selection_text
from sweeper.records.store import Store
from sweeper.stages.planting import plant
from trainers.data.digests import data_digest
from trainers.recipe.recipe import Recipe

SWEEP, EPOCHS, SEEDS, CURVE = "many", 40, 4, 5
START = 1_790_000_000_000


def main() -> None:
    """Makes up a sweep of so many trials, reports it, says what that took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=int, nargs="?", default=10_000)
    parser.add_argument("--alike", action="store_true", help="all runs end alike")
    parser.add_argument("--profile", action="store_true", help="where the time goes, on stderr")
    arguments = parser.parse_args()
    runs, profiler = arguments.runs, cProfile.Profile() if arguments.profile else None
    with TemporaryDirectory() as name:
        folder = Path(name)
        database = folder / "mlflow.db"
        started = perf_counter()
        client = MlflowClient(tracking_uri=f"sqlite:///{database}")
        experiment = client.create_experiment(SWEEP, artifact_location=str(folder / "artifacts"))
        recipes = list(islice(made_up_recipes(), runs))
        selection = selection_text(trained(folder / "trained").result(0).snapshots)
        insert(database, int(experiment), recipes, folder / "artifacts", selection, arguments.alike)
        made, cpu_made = perf_counter(), process_time()
        if profiler:
            profiler.enable()
        page = build_report([SWEEP], f"sqlite:///{database}", folder / "report")
        if profiler:
            profiler.disable()
            pstats.Stats(profiler, stream=sys.stderr).sort_stats("cumulative").print_stats(80)
        ended, cpu_ended = perf_counter(), process_time()
        size = sum(path.stat().st_size for path in page.parent.rglob("*") if path.is_file())
        found = {
            "runs": runs,
            "arms": len({recipe.arm_hash() for recipe in recipes}),
            "report_seconds": round(ended - made, 1),
            "report_cpu_seconds": round(cpu_ended - cpu_made, 1),
            "html_bytes": page.stat().st_size,
            "all_bytes": size,
            "making_up_seconds": round(made - started, 1),
        }
        print(json.dumps(found))
        shutil.rmtree(page.parent)


def made_up_recipes() -> Iterator[Recipe]:
    """As many different recipes as one likes: options, selection, sharing, splits, learning rates, seeds."""
    for decay in count():
        grid = product(
            (2, 4, 8, 16, 32, 64), ("greedy", "probabilistic"), ("none", "layer", "network"), (20, 30, EPOCHS)
        )
        for options, selection, sharing, slot_epochs in grid:
            given = {
                "network": "lenet", "dataset": "mnist", "preset": "icml", "method": "slot_machine", "options": options,
                "selection": selection, "sharing": sharing, "slot_epochs": slot_epochs,
                "finetune_epochs": EPOCHS - slot_epochs, "slot_weight_decay": decay * 1e-5,
            }  # fmt: skip
            arm = Recipe.complete(given)
            yield from map(arm.with_seed, range(SEEDS))  # as specs give seeds to their arms


def trained(folder: Path) -> Launch:
    """A small trial that was really trained, each phase as long as any of those made up."""
    recipe = Recipe.complete(
        {"network": "lenet", "dataset": "digits", "method": "slot_machine", "options": 8, "width": 0.2,
         "slot_epochs": EPOCHS, "finetune_epochs": EPOCHS // 2}
    )  # fmt: skip
    digests = {"digits": data_digest("digits", None)}
    launch = Launch(SWEEP, plant([recipe], digests), digests, Store(folder), Resources(), {})
    run_local(launch)
    return launch


def insert(
    database: Path, experiment: int, recipes: list[Recipe], artifacts: Path, selection: str, alike: bool
) -> None:
    """A parent run and a run per recipe, by the project's schema, each with a short validation curve and a file."""
    random, spread = np.random.default_rng(0), 0.0 if alike else 1.0
    rows: dict[str, list[tuple[Any, ...]]] = {"runs": [], "tags": [], "params": [], "metrics": [], "latest_metrics": []}
    parent = uuid4().hex
    add_run(rows, experiment, parent, SWEEP, "", {"sweeper.kind": "sweep"}, {}, {"trials": len(recipes)}, 0)
    for recipe, label in zip(recipes, arm_labels(recipes), strict=True):
        accuracy = 0.98 - 0.04 * spread / (recipe.options or 1) + float(random.normal(0, 0.002 * spread))
        tags = {
            "mlflow.parentRunId": parent, "sweeper.kind": "trial", "sweeper.sweep": SWEEP, "sweeper.arm": label,
            "sweeper.status": "COMPLETED", "sweeper.arm_hash": recipe.arm_hash(), "sweeper.host": "node",
            "sweeper.recipe_hash": recipe.content_hash(), "sweeper.seed": str(recipe.seed), "sweeper.device": "cpu",
        }  # fmt: skip
        metrics = {
            "test_accuracy": accuracy, "test_loss": 0.1, "validation_accuracy": accuracy, "train_loss": 0.1,
            "train_accuracy": accuracy, "validation_loss": 0.1, "learning_rate": 0.1, "changed_fraction": 0.01,
            "epochs": EPOCHS, "flops": 1e12, "train_seconds": 40 + spread * float(random.normal()),
            "state_bytes": 2.1e6, "peak_memory_bytes": 2e8,
            "stored_bits_per_weight": 1.0 if alike else float(np.log2(recipe.options or 1)),
        }  # fmt: skip
        fields = recipe.model_dump(mode="json", exclude_none=True, exclude={"filled"})
        run = uuid4().hex
        kept = artifacts / run / "artifacts"
        kept.mkdir(parents=True)
        (kept / ARTIFACT).write_text(selection)
        add_run(rows, experiment, run, f"{label} seed {recipe.seed}", str(kept), tags, fields, metrics, CURVE)
    with sqlite3.connect(database) as connection:
        for table, values in rows.items():
            columns = COLUMNS[table]
            marks = ", ".join("?" * len(columns))
            connection.executemany(f"insert into {table} ({', '.join(columns)}) values ({marks})", values)


COLUMNS = {
    "runs": ("run_uuid", "name", "source_type", "user_id", "status", "start_time", "end_time", "lifecycle_stage",
             "artifact_uri", "experiment_id"),
    "tags": ("key", "value", "run_uuid"),
    "params": ("key", "value", "run_uuid"),
    "metrics": ("key", "value", "timestamp", "run_uuid", "step", "is_nan"),
    "latest_metrics": ("key", "value", "timestamp", "step", "is_nan", "run_uuid"),
}  # fmt: skip


def add_run(
    rows: dict[str, list[tuple[Any, ...]]], experiment: int, run: str, name: str, artifacts: str,
    tags: dict[str, str], params: dict[str, Any], metrics: dict[str, float], curve: int,
) -> None:  # fmt: skip
    """The rows of one run."""
    rows["runs"].append((run, name, "UNKNOWN", "", "FINISHED", START, START + 60_000, "active", artifacts, experiment))
    rows["tags"] += [(key, value, run) for key, value in {**tags, "mlflow.runName": name}.items()]
    rows["params"] += [(key, str(value), run) for key, value in params.items()]
    rows["metrics"] += [(key, float(value), START, run, EPOCHS, False) for key, value in metrics.items()]
    rows["metrics"] += [("validation_accuracy", 0.9, START, run, step, False) for step in range(1, curve)]
    rows["latest_metrics"] += [(key, float(value), START, EPOCHS, False, run) for key, value in metrics.items()]


if __name__ == "__main__":
    main()
