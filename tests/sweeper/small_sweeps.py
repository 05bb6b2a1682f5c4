"""A tiny sweep of digits: its spec, its launch, its training, and what came of it."""

import contextlib
import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search_spaces.expansion import expand
from search_spaces.loading import load_spec
from sweeper.cli.main import main
from sweeper.launch.launch import Launch, Resources
from sweeper.launch.worker import DataShelf, StageWorker
from sweeper.records.store import Store
from sweeper.records.sweep_folder import SweepFile, SweepFolder
from sweeper.stages.planting import plant
from trainers.data.digests import data_digest
from trainers.numerics import unpinned_sources

# What a stage measures of the clock, the machine and the process it happens to run on.
CIRCUMSTANCES = {
    "train_seconds", "train_cpu_seconds", "train_joules", "energy_joules", "evaluation_seconds",
    "started_at", "ended_at", "environment",
}  # fmt: skip


TINY = """\
name: tiny
description: A tiny sweep.
recipe: {network: lenet, dataset: digits, preset: icml, method: slot_machine, options: 2, width: 0.2}
budget_epochs: 3
slot_epochs: [1, 2]
axes: {selection: [greedy, probabilistic]}
arms: [{method: learned}]
seeds: 2
"""


def a_launch(spec: Path, storage: Path, **changes: Any) -> Launch:
    """A launch of a spec on digits, without tracking."""
    loaded = load_spec(str(spec))
    recipes = expand(loaded)
    digests = {dataset: data_digest(dataset, None) for dataset in {recipe.dataset for recipe in recipes}}
    store = Store(storage)
    forest = plant(recipes, digests, store, sources=unpinned_sources())  # trainers/ may be at work
    return Launch(loaded.name, forest, digests, store, Resources(), {}, **changes)


def train(launch: Launch, key: str) -> None:
    """Trains one stage of a launch in this process."""
    worker = StageWorker(launch.order(launch.forest.stages[key]), DataShelf())
    while not worker.step().done:
        pass


def facts(record: Any) -> dict[str, Any]:
    """A record without its circumstances: what must be equal wherever and however it was trained."""
    fields = {name: value for name, value in record.as_dict().items() if name not in CIRCUMSTANCES}
    fields["epochs"] = [
        {name: value for name, value in epoch.items() if name not in CIRCUMSTANCES} for epoch in record.epochs
    ]
    return fields


def table_of(storage: Path, sweep: str = "tiny") -> list[Mapping[str, Any]]:
    """The trials of a sweep as `sweeper runs --json` has them, without seconds."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(["runs", sweep, "--storage", str(storage), "--json"]) == 0
    return [
        {name: value for name, value in row.items() if name not in CIRCUMSTANCES} for row in json.loads(out.getvalue())
    ]


def trained_storage(trained: tuple[Path, Path], folder: Path) -> Path:
    """A copy of the trained sweep's storage that knows of the sweep by name."""
    spec, storage = trained
    copy = folder / "trained"
    shutil.copytree(storage, copy)
    launch = a_launch(spec, copy, read_only=True)
    file = SweepFile("tiny", "", f"sqlite:///{copy}/mlflow.db", dict(launch.digests))
    SweepFolder(copy, "tiny").write(file, spec.read_text())
    return copy
