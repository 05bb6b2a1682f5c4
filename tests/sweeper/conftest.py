"""Small sweeps of digits, and the commands that run them."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from search_spaces.expansion import expand
from search_spaces.loading import load_spec
from sweeper.cli.main import main
from sweeper.launch.launch import Launch, Resources
from sweeper.launch.local import run_local
from sweeper.launch.worker import DataShelf, StageWorker
from sweeper.records.store import Store
from sweeper.records.sweep_folder import SweepFile, SweepFolder
from sweeper.stages.forest import plant
from sweeper.storage.bucket import Bucket, ObjectPath
from sweeper.storage.folder import Folder
from sweeper.storage.place import storage_at
from sweeper.tracking.projection import Projection
from sweeper.tracking.run_state import SweepFacts
from sweeper.tracking.tracker import Tracker
from tests.sweeper.storage.object_server import CREDENTIALS, a_service
from tests.waiting import PATIENCE_SECONDS
from trainers.data.splits import data_digest
from trainers.numerics import unpinned_sources

ROOT = Path(__file__).resolve().parents[2]
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


@pytest.fixture
def tiny(tmp_path) -> Path:
    """A spec of 10 trials in 18 stages of 1 to 3 epochs."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory) -> Path:
    """A database that MLflow has set up, which takes it seconds; copy it."""
    from sweeper.tracking.mlflow_client import client

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    client(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def storage(tmp_path, empty_mlflow) -> Path:
    """A storage folder in which MLflow's database is set up already."""
    folder = Folder(tmp_path / "storage")
    folder.mkdir()
    shutil.copy(empty_mlflow, folder / "mlflow.db")
    return folder


@pytest.fixture(scope="session")
def object_service(tmp_path_factory):
    """A local S3 with a bucket called `bucket`."""
    pytest.importorskip("moto", reason="needs moto (make setup installs it)")
    pytest.importorskip("obstore", reason="needs obstore (make setup installs it)")
    with a_service(tmp_path_factory.mktemp("s3")) as service:
        yield service


@pytest.fixture
def bucket(object_service, monkeypatch) -> str:
    """The URL of an empty place in it; the environment says how to get there."""
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": object_service.endpoint}.items():
        monkeypatch.setenv(name, value)
    return f"s3://bucket/{uuid.uuid4().hex[:8]}"


@pytest.fixture(params=["folder", "memory", "s3"])
def place(request, tmp_path):
    return a_place(request, tmp_path)


@pytest.fixture(params=["memory", "s3"])
def in_bucket(request, tmp_path):
    return a_place(request, tmp_path)


def a_place(request, tmp_path):
    if request.param == "folder":
        return Folder(tmp_path / "storage")
    if request.param == "s3":
        return storage_at(request.getfixturevalue("bucket"))
    store = pytest.importorskip("obstore.store", reason="needs obstore")
    return ObjectPath(Bucket("memory://bucket", store.MemoryStore()))


class Terminal(io.StringIO):
    """A file that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch) -> Terminal:
    """Where a live display can be shown."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Terminal()


def a_launch(spec: Path, storage: Path, **changes: Any) -> Launch:
    """A launch of a spec on digits, without tracking."""
    loaded = load_spec(str(spec))
    recipes = expand(loaded)
    digests = {dataset: data_digest(dataset, None) for dataset in {recipe.dataset for recipe in recipes}}
    store = Store(storage)
    forest = plant(recipes, digests, store, sources=unpinned_sources())  # trainers/ may be at work
    return Launch(loaded.name, forest, digests, store, Resources(), {}, **changes)


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> tuple[Path, Path]:
    """The tiny sweep, trained locally: its spec and its storage. Copy the storage before you change it."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.yaml").write_text(TINY)
    run_local(a_launch(folder / "tiny.yaml", folder / "storage"))
    return folder / "tiny.yaml", folder / "storage"


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


FACTS = SweepFacts("tiny", "A tiny sweep.", "name: tiny\n", "s" * 64, {"git_commit": "c" * 40, "version": "0.1.0"})


def projection(address, storage):
    return Projection(address, str(storage / "artifacts" / "tiny"), FACTS)


def project(address, storage, launch):
    """As a launch does when nothing is left to train."""
    tracker = Tracker(projection(address, storage), launch, lambda: 1.5)
    tracker.start()
    tracker.close(PATIENCE_SECONDS)
    assert tracker.behind() == 0, tracker.problem
    return tracker


def command(*arguments: object) -> list[str]:
    """The command line as a user's shell would run it."""
    return [sys.executable, "-m", "sweeper", *map(str, arguments)]


def environment() -> dict[str, str]:
    """As the tests have it, with this checkout importable from anywhere."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def start_sweeper(
    *arguments: object, out: Path, program: str = "", cwd: Path | None = None, **variables: str
) -> subprocess.Popen[bytes]:
    """Starts the real command, as the leader of a process group of its own, and lets it run.

    `program`: Python that ends by calling it, after it has arranged for something to happen.
    """
    started = [sys.executable, "-c", program, *map(str, arguments)] if program else command(*arguments)
    with out.open("ab") as file:
        return subprocess.Popen(
            started, stdout=file, stderr=file, cwd=cwd, env=environment() | variables, start_new_session=True
        )


def claimed(storage: Path) -> set[str]:
    """The stages that some launch trains now."""
    return {path.name.partition(".")[0] for path in (storage / "claims").glob("*.*")}
