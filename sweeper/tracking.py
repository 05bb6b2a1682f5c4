"""Projects trials to MLflow: the only writer of it. Projecting again changes nothing that is already right.

A run's metrics carry times counted from its start in standalone seconds, so the same record always gives the same rows.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sweeper.results import CURVES, Epoch, TrialResult
from sweeper.scheduling import Status

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

RUN_STATUS = {
    Status.PENDING: "SCHEDULED",
    Status.RUNNING: "RUNNING",
    Status.COMPLETED: "FINISHED",
    Status.STOPPED_EARLY: "KILLED",
    Status.FAILED: "FAILED",
}
ENDED = (Status.COMPLETED, Status.STOPPED_EARLY, Status.FAILED)
METRICS_A_CALL = 900  # MLflow takes 1000 entries in one call, tags included
PARAMETER_LENGTH = 6000
PAGE = 1000


class TrackingDown(RuntimeError):
    """MLflow did not take what it was given; try again later."""


@dataclass(frozen=True)
class SweepFacts:
    """What the runs of a sweep have in common."""

    name: str
    description: str
    spec_text: str
    spec_hash: str
    tags: Mapping[str, str]  # git_commit, version


@dataclass
class _Tracked:
    """A trial's run as MLflow has it."""

    run_id: str
    start_time: int
    run_status: str
    status: str
    projected: str  # "<epochs>:<their digest>", and ":final" once the final metrics are there
    failure: str = ""
    name: str = ""
    verified: bool = False  # what is projected is known to be what the store says

    @property
    def epochs(self) -> int:
        return int(self.projected.partition(":")[0] or 0)

    @property
    def has_finals(self) -> bool:
        return self.projected.endswith(":final")


@dataclass
class Projection:
    """One sweep in one MLflow. Every method raises TrackingDown where MLflow does not answer."""

    address: str
    artifacts: str | None  # where a new experiment keeps its files; None: the server decides
    sweep: SweepFacts
    experiment_id: str = ""
    _client: MlflowClient | None = None
    _parent: _Tracked | None = None
    _runs: dict[str, _Tracked] = field(default_factory=dict)  # by recipe hash
    _totals: dict[str, float] = field(default_factory=dict)
    _artifact_problem: str = ""

    def connect(self) -> None:
        """Finds or makes the experiment and the parent run, and learns what is already there."""
        if self._parent is not None:
            return
        with _outages():
            self._client = client(self.address)
            self.experiment_id = _experiment(self._client, self.sweep.name, self.artifacts)
            self._runs, parents = _existing(self._client, self.experiment_id)
            parent = parents[0] if parents else self._create_parent()
            self._describe(parent)
            self._parent = parent

    def project(self, results: Iterable[TrialResult], enough: Callable[[], bool] = lambda: False) -> int:
        """Brings the runs of these trials up to date, until it is `enough`. Returns how many it changed."""
        self.connect()
        changed = 0
        for result in results:
            if enough():
                break
            with _outages():
                changed += self._project_trial(result)
        return changed

    def behind(self, results: Iterable[TrialResult]) -> int:
        """How many of these trials MLflow does not show as they are; asks nobody."""
        return sum(not self._is_current(result) for result in results)

    def project_sweep(self, status: Status, totals: Mapping[str, float]) -> None:
        """The parent run: its status, and what the sweep has spent so far."""
        self.connect()
        parent = self._parent
        assert parent is not None and self._client is not None
        with _outages():
            moved = {name: value for name, value in totals.items() if name != "wall_seconds"}
            if moved != self._totals or parent.status != status:
                now = _milliseconds()
                metrics = [_metric(name, value, now, 0) for name, value in totals.items()]
                self._log(parent.run_id, metrics, {"sweeper.status": status})
                self._totals = moved
                parent.status = status
            self._set_run_status(parent, status, _milliseconds())

    def forget_strangers(self, known: Iterable[str]) -> None:
        """Runs of trials that the spec no longer has are never left RUNNING."""
        self.connect()
        with _outages():
            for recipe_hash in self._runs.keys() - set(known):
                tracked = self._runs[recipe_hash]
                if tracked.run_status == "RUNNING":
                    self._log(tracked.run_id, [], {"sweeper.status": Status.PENDING})
                    self._set_run_status(tracked, Status.PENDING, tracked.start_time)

    # The parent

    def _create_parent(self) -> _Tracked:
        assert self._client is not None
        now = _milliseconds()
        run = self._client.create_run(
            self.experiment_id, start_time=now, run_name=self.sweep.name, tags={"sweeper.kind": "sweep"}
        )
        return _Tracked(run.info.run_id, now, run.info.status, "", "")

    def _describe(self, parent: _Tracked) -> None:
        assert self._client is not None
        tags = {
            **self._common_tags(),
            "sweeper.kind": "sweep",
            "sweeper.spec_hash": self.sweep.spec_hash,
            "mlflow.note.content": self.sweep.description,
        }
        self._log(parent.run_id, [], tags)
        try:
            self._client.log_text(parent.run_id, self.sweep.spec_text, "spec.yaml")
        except Exception as error:  # an artifact store that fails must not keep the numbers away
            self._artifact_problem = str(error)

    def _common_tags(self) -> dict[str, str]:
        return {"sweeper.sweep": self.sweep.name, **{f"sweeper.{name}": text for name, text in self.sweep.tags.items()}}

    # A trial

    def _is_current(self, result: TrialResult) -> bool:
        tracked = self._runs.get(result.trial.recipe.content_hash())
        if tracked is None:
            return result.status is Status.PENDING
        if _is_ahead(tracked, result) and tracked.status == Status.COMPLETED:
            return tracked.run_status == RUN_STATUS[Status.COMPLETED] and tracked.name == result.name
        return (
            tracked.run_status == RUN_STATUS[result.status]
            and tracked.status == result.status
            and tracked.failure == str(result.failure or "")
            and tracked.name == result.name
            and (_is_ahead(tracked, result) or _is_level(tracked, result))
        )

    def _project_trial(self, result: TrialResult) -> bool:
        if self._is_current(result):
            return False
        assert self._client is not None
        recipe_hash = result.trial.recipe.content_hash()
        tracked = self._runs.get(recipe_hash)
        if tracked is not None and not _is_ahead(tracked, result) and not _continues(tracked, result):
            # What MLflow has is not what the store says: another training of the same recipe. The store is the truth.
            self._client.delete_run(tracked.run_id)
            tracked = None
        if tracked is None:
            tracked = self._runs[recipe_hash] = self._create_run(result)
        status = result.status
        if not _is_ahead(tracked, result):
            self._log_epochs(tracked, result)
        elif tracked.status == Status.COMPLETED:
            status = Status.COMPLETED  # trained again because its record was lost; what is shown stays until then
        elif tags := _status_tags(tracked, result):
            self._log(tracked.run_id, [], tags)
            tracked.status, tracked.failure = result.status, str(result.failure or "")
        if tracked.name != result.name:  # the sweep has grown, and its arms need other names to be told apart
            self._client.update_run(tracked.run_id, name=result.name)
            self._log(tracked.run_id, [], {"sweeper.arm": result.label})
            tracked.name = result.name
        self._set_run_status(tracked, status, tracked.start_time + round(1000 * result.seconds))
        return True

    def _create_run(self, result: TrialResult) -> _Tracked:
        assert self._client is not None and self._parent is not None
        recipe = result.trial.recipe
        now = _milliseconds()
        tags = {
            **self._common_tags(),
            "mlflow.parentRunId": self._parent.run_id,
            "sweeper.kind": "trial",
            "sweeper.arm": result.label,
            "sweeper.arm_hash": recipe.arm_hash(),
            "sweeper.recipe_hash": recipe.content_hash(),
            "sweeper.seed": str(recipe.seed),
            "sweeper.preset": recipe.preset,
        }
        run = self._client.create_run(self.experiment_id, start_time=now, run_name=result.name, tags=tags)
        return _Tracked(run.info.run_id, now, run.info.status, "", "", name=result.name)

    def _log_epochs(self, tracked: _Tracked, result: TrialResult) -> None:
        metrics = _curve(tracked, result.epochs)
        if result.finals and not tracked.has_finals:
            end = tracked.start_time + round(1000 * result.seconds)
            step = int(result.epochs[-1]["total_epoch"]) if result.epochs else 0
            metrics += [_metric(name, value, end, step) for name, value in result.finals.items()]
        parameters = {} if tracked.projected else _parameters(result)
        while len(metrics) > METRICS_A_CALL:
            self._log(tracked.run_id, metrics[:METRICS_A_CALL], {})
            metrics = metrics[METRICS_A_CALL:]
        mark = _mark(result, len(result.epochs))
        self._log(tracked.run_id, metrics, {"sweeper.projected": mark, **_status_tags(tracked, result)}, parameters)
        tracked.projected, tracked.verified = mark, True
        tracked.status, tracked.failure = result.status, str(result.failure or "")

    def _log(
        self,
        run_id: str,
        metrics: Sequence[Metric],
        tags: Mapping[str, str],
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        from mlflow.entities import Param, RunTag

        assert self._client is not None
        self._client.log_batch(
            run_id,
            metrics=list(metrics),
            params=[Param(name, value) for name, value in (parameters or {}).items()],
            tags=[RunTag(name, value) for name, value in tags.items()],
            synchronous=True,
        )

    def _set_run_status(self, tracked: _Tracked, status: Status, end_time: int) -> None:
        assert self._client is not None
        wanted = RUN_STATUS[status]
        if tracked.run_status == wanted:
            return
        if status in ENDED:
            self._client.set_terminated(tracked.run_id, wanted, end_time=end_time)
        else:
            self._client.update_run(tracked.run_id, status=wanted)
        tracked.run_status = wanted


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


def experiment_id(address: str, sweep: str) -> str | None:
    """MLflow's number of a sweep's experiment; None where it has none."""
    with _outages():
        experiment = client(address).get_experiment_by_name(sweep)
    return experiment.experiment_id if experiment and experiment.lifecycle_stage == "active" else None


class _outages:
    """Turns whatever MLflow and its database raise into TrackingDown: the caller's answer is the same, try again."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, TrackingDown):
            first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise TrackingDown(first_line[:300]) from error


def _experiment(client: MlflowClient, name: str, artifacts: str | None) -> str:
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return client.create_experiment(name, artifact_location=artifacts)
    if experiment.lifecycle_stage != "active":
        client.restore_experiment(experiment.experiment_id)
    return str(experiment.experiment_id)


def _existing(client: MlflowClient, experiment_id: str) -> tuple[dict[str, _Tracked], list[_Tracked]]:
    """The runs of trials by recipe hash, and the parent runs, the oldest first."""
    trials: dict[str, _Tracked] = {}
    parents: list[_Tracked] = []
    token: str | None = None
    while True:
        page = client.search_runs([experiment_id], max_results=PAGE, page_token=token, order_by=["start_time ASC"])
        for run in page:
            kind = run.data.tags.get("sweeper.kind")
            if kind == "sweep":
                parents.append(_tracked(run))
            elif kind == "trial":
                trials[run.data.tags.get("sweeper.recipe_hash", "")] = _tracked(run)
        token = page.token
        if not token:
            return trials, parents


def _tracked(run: Run) -> _Tracked:
    tags = run.data.tags
    return _Tracked(
        run.info.run_id,
        run.info.start_time,
        run.info.status,
        tags.get("sweeper.status", ""),
        tags.get("sweeper.projected", ""),
        tags.get("sweeper.failure", ""),
        run.info.run_name or "",
    )


def _status_tags(tracked: _Tracked, result: TrialResult) -> dict[str, str]:
    """What changes about a trial from one attempt to the next: tags, as parameters of a run never can."""
    failure = str(result.failure or "")
    if (tracked.status, tracked.failure) == (result.status, failure):
        return {}
    where = {f"sweeper.{name}": str(result.environment[name]) for name in ("device", "host") if result.environment}
    why = {"sweeper.failure": failure} if failure != tracked.failure else {}
    return {"sweeper.status": result.status, **where, **why}


def _is_ahead(tracked: _Tracked, result: TrialResult) -> bool:
    """MLflow shows more than the store has now: epochs of an attempt whose end was lost, and is trained again."""
    return tracked.epochs > len(result.epochs) or (tracked.has_finals and not result.finals)


def _is_level(tracked: _Tracked, result: TrialResult) -> bool:
    """MLflow shows just what the store has."""
    if tracked.verified:
        return tracked.epochs == len(result.epochs) and tracked.has_finals == bool(result.finals)
    tracked.verified = tracked.projected == _mark(result, len(result.epochs))
    return tracked.verified


def _continues(tracked: _Tracked, result: TrialResult) -> bool:
    """Whether what MLflow has of a trial is the beginning of what the store has."""
    if not tracked.projected or tracked.verified:
        return True
    was, now = tracked.projected.removesuffix(":final"), _mark(result, tracked.epochs).removesuffix(":final")
    tracked.verified = was == now
    return tracked.verified


def _mark(result: TrialResult, epochs: int) -> str:
    """Which epochs are projected, and a digest of them."""
    digest = hashlib.sha256()
    for epoch in result.epochs[:epochs]:
        digest.update(json.dumps([epoch[name] for name in (*CURVES, "train_seconds", "evaluation_seconds")]).encode())
    final = ":final" if result.finals and epochs == len(result.epochs) else ""
    return f"{epochs}:{digest.hexdigest()[:16]}{final}"


def _curve(tracked: _Tracked, epochs: Sequence[Epoch]) -> list[Metric]:
    seconds = 0.0
    metrics = []
    for number, epoch in enumerate(epochs, 1):
        seconds += epoch["train_seconds"] + epoch["evaluation_seconds"]
        if number > tracked.epochs:
            at = tracked.start_time + round(1000 * seconds)
            metrics += [_metric(name, epoch[name], at, epoch["total_epoch"]) for name in CURVES if _finite(epoch[name])]
    return metrics


def _parameters(result: TrialResult) -> dict[str, str]:
    fields: dict[str, Any] = result.trial.recipe.model_dump(mode="json", exclude_none=True, exclude={"filled"})
    return {name: str(value)[:PARAMETER_LENGTH] for name, value in fields.items()}


def _metric(name: str, value: float, milliseconds: int, step: int) -> Metric:
    from mlflow.entities import Metric

    return Metric(name, float(value), milliseconds, int(step))


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000
