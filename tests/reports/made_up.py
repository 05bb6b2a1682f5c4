"""Sweeps to report on: made-up results of real recipes, as frames and as MLflow runs of the project's schema."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from reports.tracked.trials import METRICS, TAGS, trials_frame
from search_spaces.labels import arm_labels
from trainers.recipe.recipe import Recipe

START = 1_790_000_000_000  # ms: 2026-09-21
DIGITS = {"network": "lenet", "dataset": "digits", "preset": "authors_code"}
EPOCHS = 40
RUN_STATUS = {"COMPLETED": "FINISHED", "FAILED": "FAILED", "STOPPED_EARLY": "KILLED"}


def made_up_accuracy(recipe: Recipe) -> float:
    """Rises with K, greedy above probabilistic, finetuning on top; noise of the seed."""
    options = recipe.options or 1
    base = {"learned": 0.972, "edge_popup": 0.955, "supermask": 0.935}.get(recipe.method)
    if base is None:
        base = 0.975 - 0.04 / options - (0.012 if recipe.selection == "probabilistic" else 0.0)
        base -= {"none": 0.0, "layer": 0.004, "network": 0.009}[recipe.sharing or "none"]
        base = 0.11 if options == 1 else base
        base += 0.008 * min(1.0, recipe.slot_epochs / 30) if recipe.finetune_epochs else 0.0
    noise = np.random.default_rng(crc32(recipe.content_hash().encode())).normal(0, 0.0025)
    return float(round(base + noise, 5))


def trial(
    given: Mapping[str, Any], *, sweep: str = "digits_sweep", status: str = "COMPLETED", **stated: Any
) -> dict[str, Any]:
    """One record as `reports.tracked.runs` reads it; `stated` overrides what is made up."""
    recipe = Recipe.complete({**DIGITS, **given})
    accuracy, (name,) = made_up_accuracy(recipe), arm_labels([recipe])
    options = (recipe.options or 1) if recipe.selection == "probabilistic" else 1
    record = {
        **recipe.model_dump(mode="json", exclude={"filled"}, exclude_none=True),
        "sweep": sweep, "name": f"{name} seed {recipe.seed}", "status": status, "arm": name,
        "arm_hash": recipe.arm_hash(), "recipe_hash": recipe.content_hash(), "failure": "", "device": "cpu",
        "host": "node-1", "git_commit": "0123abc" * 5, "version": "0.1.0",
        "started": "2026-09-21T14:13:20Z", "ended": "2026-09-21T14:18:20Z",
        "run_id": recipe.content_hash()[:32], "experiment_id": "1",
    }  # fmt: skip
    if status in ("COMPLETED", "STOPPED_EARLY"):
        record |= {
            "test_accuracy": accuracy, "test_loss": 1 - accuracy, "validation_accuracy": round(accuracy - 0.003, 5),
            "validation_loss": 1.01 - accuracy, "train_accuracy": min(1.0, accuracy + 0.01),
            "epochs": recipe.budget_epochs, "flops": 1.9e9 * recipe.budget_epochs,
            "train_seconds": 0.05 * recipe.budget_epochs * (1 + 0.2 * options) + 0.001 * recipe.seed,
            "peak_memory_bytes": 180e6 + 3e6 * options, "state_bytes": 2.1e6,
            "stored_bits_per_weight": 32.0 if recipe.method == "learned" else float(np.log2(recipe.options or 2) or 1),
        }  # fmt: skip
        if recipe.slot_epochs and recipe.finetune_epochs:
            record["slot_test_accuracy"] = round(accuracy - 0.006, 5)
    return {**record, **stated}


def digits_sweep(**stated: Any) -> list[dict[str, Any]]:
    """A small sweep of everything: K, selection, sharing, splits of one budget, learned weights; three seeds each."""
    slot = {"method": "slot_machine", "options": 8, "slot_epochs": EPOCHS}
    selections = ("greedy", "probabilistic")
    arms = [{**slot, "options": options, "selection": selection} for options in (2, 4, 8) for selection in selections]
    arms += [{**slot, "sharing": sharing} for sharing in ("layer", "network")]
    arms += [{**slot, "slot_epochs": at, "finetune_epochs": EPOCHS - at} for at in (10, 20)]
    arms += [{"method": "learned", "finetune_epochs": EPOCHS}]
    given = [{**DIGITS, **arm, "seed": seed} for arm in arms for seed in range(3)]
    names = arm_labels([Recipe.complete(each) for each in given])
    return [
        trial(each, arm=name, name=f"{name} seed {each['seed']}", **stated)
        for each, name in zip(given, names, strict=True)
    ]


def frame(records: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    return trials_frame(records)


def track(
    uri: str,
    sweep: str,
    records: Iterable[Mapping[str, Any]],
    *,
    planned: int | None = None,
    curve: Callable[[Mapping[str, Any]], Mapping[str, list[float]]] = lambda record: {},
    tags: Mapping[str, str] | None = None,
    spec: str = "",
) -> dict[str, str]:
    """Write a sweep by the schema that sweeper.tracking.projection follows. Returns the run of each recipe hash."""
    client, records = MlflowClient(tracking_uri=uri), list(records)
    experiment = client.create_experiment(sweep, artifact_location=str(Path(uri.removeprefix("sqlite:///")).parent))
    completed = sum(record["status"] == "COMPLETED" for record in records)
    parent = client.create_run(experiment, start_time=START, run_name=sweep, tags={
        "sweeper.kind": "sweep", "sweeper.sweep": sweep, "sweeper.git_commit": "0123abc" * 5,
        "sweeper.status": "COMPLETED" if completed == len(records) else "FAILED", "sweeper.spec_hash": "beef" * 16,
        "mlflow.note.content": "Does accuracy rise with K on handwritten digits?", **(tags or {}),
    })  # fmt: skip
    if spec:
        client.log_text(parent.info.run_id, spec, "spec.yaml")
    trials = len(records) if planned is None else planned
    totals = {"trials": trials, "trials_completed": completed, "epochs_alone": 1440.0,
              "epochs_shared": 1280.0, "epochs_spent": 1280.0, "spent_seconds": 77.5, "wall_seconds": 41.0}  # fmt: skip
    _log(client, parent.info.run_id, totals, 0)
    client.set_terminated(parent.info.run_id, "FINISHED", end_time=START + 300_000)
    runs = {}
    for record in records:
        run = client.create_run(experiment, start_time=START, run_name=record["name"], tags={
            "mlflow.parentRunId": parent.info.run_id, "sweeper.kind": "trial", "sweeper.sweep": sweep,
            "sweeper.status": record["status"], "sweeper.seed": str(record["seed"]),
            **{f"sweeper.{tag}": record[tag] for tag in TAGS if tag in record},
        })  # fmt: skip
        runs[record["recipe_hash"]] = run.info.run_id
        fields = [Param(name, str(record[name])) for name in Recipe.model_fields if name in record]
        client.log_batch(run.info.run_id, params=fields)
        for name, values in curve(record).items():
            client.log_batch(run.info.run_id, [Metric(name, v, START, step) for step, v in enumerate(values, start=1)])
        _log(
            client,
            run.info.run_id,
            {name: record[name] for name in METRICS if name in record},
            int(record.get("epochs", 0)),
        )
        if record["status"] in RUN_STATUS:
            client.set_terminated(run.info.run_id, RUN_STATUS[record["status"]], end_time=START + 300_000)
    return runs


def set_tag(uri: str, run_id: str, name: str, value: str) -> None:
    MlflowClient(tracking_uri=uri).log_batch(run_id, tags=[RunTag(name, value)])


def _log(client: MlflowClient, run_id: str, values: Mapping[str, float], step: int) -> None:
    client.log_batch(run_id, [Metric(name, float(value), START, step) for name, value in values.items()])
