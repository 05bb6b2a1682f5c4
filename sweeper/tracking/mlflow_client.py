"""The client of MLflow, what it raises, and what is written at once."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient as MlflowClient

REFUSALS = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "INVALID_STATE", "BAD_REQUEST")
Value = tuple[str, float, int, int]  # of a metric: name, value, time (ms), step


class TrackingDown(RuntimeError):
    """MLflow did not take what it was given; try again later."""


class Refused(TrackingDown):
    """MLflow answers, and will not have this."""


def client(address: str) -> MlflowClient:
    """A client that gives up after seconds, not minutes, and keeps quiet."""
    os.environ.update(
        MLFLOW_HTTP_REQUEST_MAX_RETRIES="2",
        MLFLOW_HTTP_REQUEST_TIMEOUT="5",
        MLFLOW_DISABLE_TELEMETRY="true",
        MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT="true",
    )
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return MlflowClient(tracking_uri=address)


def log_batch(
    mlflow: MlflowClient,
    run_id: str,
    values: Sequence[Value],
    tags: Mapping[str, str],
    parameters: Mapping[str, str],
) -> None:
    """Writes to a run what goes into one request; waits until it is there."""
    from mlflow.entities import Metric, Param, RunTag

    mlflow.log_batch(
        run_id,
        metrics=[Metric(name, float(value), milliseconds, step) for name, value, milliseconds, step in values],
        params=[Param(name, value) for name, value in parameters.items()],
        tags=[RunTag(name, value) for name, value in tags.items()],
        synchronous=True,
    )


@contextmanager
def outages() -> Iterator[None]:
    """What MLflow, its database or the way there raise becomes TrackingDown; Refused where trying again is no use."""
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
