"""A storage with three sweeps, launched once."""

import shutil
from pathlib import Path

import pytest

from sweeper.cli.main import main
from tests.sweeper.sweeps.launched import FIRST, OTHER, SEARCH, SECOND


@pytest.fixture(scope="session")
def launched(tmp_path_factory, empty_mlflow) -> Path:
    """tiny in two versions; other and searched, which share three stages with it. Copy it."""
    folder = tmp_path_factory.mktemp("launched")
    storage = folder / "storage"
    storage.mkdir()
    shutil.copy(empty_mlflow, storage / "mlflow.db")
    for text in (FIRST, SECOND, OTHER, SEARCH):
        (folder / "spec.yaml").write_text(text)
        assert main(["launch", str(folder / "spec.yaml"), "--storage", str(storage), "--local", "--yes"]) == 0
    return storage


@pytest.fixture
def own(launched, tmp_path) -> Path:
    """A copy, to be changed."""
    return Path(shutil.copytree(launched, tmp_path / "own"))
