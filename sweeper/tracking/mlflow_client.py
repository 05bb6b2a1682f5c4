"""The client of MLflow, what it raises, and what is written at once."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sweeper.storage.tracking_address import without_password
from sweeper.storage.tracking_file import address_for_mlflow, artifacts_folder, file_of, is_file, one_at_a_time
from sweeper.tracking import new_database
from sweeper.tracking.ui_view import cut
from trainers.errors import InvalidInput

if TYPE_CHECKING:
    from mlflow import MlflowClient as MlflowClient

REFUSALS = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "INVALID_STATE", "BAD_REQUEST")
Value = tuple[str, float, int, int]  # of a metric: name, value, time (ms), step


class TrackingDown(RuntimeError):
    """MLflow did not take what it was given; try again later."""


class Refused(TrackingDown):
    """MLflow answers, and refuses what it was given."""


def client(address: str) -> MlflowClient:
    """A client that gives up after seconds, not minutes, and logs nothing."""
    os.environ.update(
        MLFLOW_HTTP_REQUEST_MAX_RETRIES="2",
        MLFLOW_HTTP_REQUEST_TIMEOUT="5",
        MLFLOW_DISABLE_TELEMETRY="true",
        MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT="true",
    )
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # its errors, with tracebacks, are told by whoever gets them
    with one_at_a_time(address):
        if is_file(address):
            new_database.set_up(file_of(address))
        return MlflowClient(tracking_uri=address_for_mlflow(address))  # makes the tables where that did not


@contextmanager
def that_answers(address: str) -> Iterator[None]:
    """Turns errors of MLflow, its database or the network into InvalidInput that names the address."""
    try:
        with outages():
            yield
    except TrackingDown as down:
        raise InvalidInput(f"tracking: {without_password(address)}: {down}") from None


def log_batch(
    mlflow: MlflowClient,
    run_id: str,
    values: Sequence[Value],
    tags: Mapping[str, str],
    parameters: Mapping[str, str],
) -> None:
    """Writes metrics, tags and parameters to a run in one request; waits until they are there."""
    from mlflow.entities import Metric, Param, RunTag

    mlflow.log_batch(
        run_id,
        metrics=[Metric(name, float(value), milliseconds, step) for name, value, milliseconds, step in values],
        params=[Param(name, value) for name, value in parameters.items()],
        tags=[RunTag(name, cut(value)) for name, value in tags.items()],
        synchronous=True,
    )


def log_artifact(mlflow: MlflowClient, run_id: str, artifacts: str, file: Path, inside: str | None = None) -> None:
    """Puts a copy of the file among a run's artifacts, which MLflow alone would not find beside an SQLite file.

    artifacts: where MLflow says that they are. inside: the folder among them that it goes into.
    """
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    folder = artifacts_folder(mlflow.tracking_uri, artifacts)
    if folder is None:
        mlflow.log_artifact(run_id, str(file), inside)
    else:
        LocalArtifactRepository(folder.as_uri()).log_artifact(str(file), inside)  # type: ignore[no-untyped-call]


def log_text(mlflow: MlflowClient, run_id: str, artifacts: str, text: str, name: str) -> None:
    """Puts a text among a run's artifacts; its name may have folders before it: 'versions/v1.yaml'."""
    inside, _, own = name.rpartition("/")
    with TemporaryDirectory() as scratch:
        file = Path(scratch) / own
        file.write_text(text, encoding="utf-8")
        log_artifact(mlflow, run_id, artifacts, file, inside or None)


@contextmanager
def outages() -> Iterator[None]:
    """Turns errors of MLflow, its database or the network into TrackingDown; Refused where retrying is no use."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except Exception as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        if isinstance(error, MlflowException) and error.error_code in REFUSALS:
            raise Refused(first_line) from error
        if isinstance(error, MlflowException | OSError) or type(error).__module__.startswith("sqlalchemy"):
            raise TrackingDown(first_line) from error
        raise
