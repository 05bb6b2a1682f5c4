"""Databases of MLflow to report from: an empty one, and one with a sweep of made-up results."""

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.reports.made_up import digits_sweep, track


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's schema, made once a session (it takes seconds) and copied from then on."""
    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def tracking_uri(empty_database: Path, tmp_path: Path) -> str:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture(scope="session")
def tracked_digits(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tracking URI of a database with `digits_sweep()` in it; read it, do not write."""
    path = tmp_path_factory.mktemp("digits") / "mlflow.db"
    shutil.copy(empty_database, path)
    track(f"sqlite:///{path}", "digits_sweep", digits_sweep())
    return f"sqlite:///{path}"
