"""A tiny sweep, trained or not, and the places and displays that it may have."""

import fcntl
import os
import shutil
import uuid
from pathlib import Path

import pytest

from sweeper.launch.local import run_local
from sweeper.storage.bucket import Bucket, ObjectPath
from sweeper.storage.folder import Folder
from sweeper.storage.place import storage_at
from tests.sweeper.small_sweeps import TINY, a_launch
from tests.sweeper.storage.object_server import CREDENTIALS, a_service
from tests.sweeper.terminal import Terminal


@pytest.fixture
def tiny(tmp_path) -> Path:
    """A spec of 10 trials in 18 stages of 1 to 3 epochs."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory) -> Path:
    """A database that MLflow has set up, which takes it seconds: once for all tests that run side by side; copy it."""
    from sweeper.tracking.mlflow_client import client

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    path = folder / "empty_mlflow.db"
    with (folder / "empty_mlflow.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            client(f"sqlite:///{folder}/setting_up.db").search_experiments()
            (folder / "setting_up.db").rename(path)
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


# A test that asks for a local S3 is marked so: by what it takes, or by this parameter of it.
S3 = pytest.param("s3", marks=pytest.mark.bucket)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that take the service itself, before any is selected by its marks."""
    for item in items:
        if "object_service" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.bucket)


@pytest.fixture(params=["folder", "memory", S3])
def place(request, tmp_path):
    return a_place(request, tmp_path)


@pytest.fixture(params=["memory", S3])
def in_bucket(request, tmp_path):
    return a_place(request, tmp_path)


def a_place(request, tmp_path):
    if request.param == "folder":
        return Folder(tmp_path / "storage")
    if request.param == "s3":
        return storage_at(request.getfixturevalue("bucket"))
    store = pytest.importorskip("obstore.store", reason="needs obstore")
    return ObjectPath(Bucket("memory://bucket", store.MemoryStore()))


@pytest.fixture
def terminal(monkeypatch) -> Terminal:
    """Where a live display can be shown."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Terminal()


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> tuple[Path, Path]:
    """The tiny sweep, trained locally: its spec and its storage. Copy the storage before you change it."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.yaml").write_text(TINY)
    run_local(a_launch(folder / "tiny.yaml", folder / "storage"))
    return folder / "tiny.yaml", folder / "storage"
