"""Tracked sweeps as tidy frames: the only reader of MLflow. Runs are read by the page, never one by one."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.error import URLError
from urllib.parse import unquote, urlsplit
from urllib.request import urlopen

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException
from mlflow.utils.rest_utils import http_request_safe

from reports.tracked.trials import COMPLETED, METRICS, RECIPE_KINDS, STOPPED_EARLY, TAGS, trials_frame
from reports.tracked.versions import ALL, OF_THE_PRESENT, Shown, belonging, shown_version, told_by_version
from trainers.costs.plugged import tell_again
from trainers.costs.registry import Cost
from trainers.errors import InvalidInput, nearest

PAGE = 1000  # runs a request
CURVE_RUNS = 100  # runs a request for curves: the most that MLflow's server takes
CURVE_VALUES = 25_000  # values a request for curves: the most that it returns, without saying that it cut
STATUS_OF_RUN = {"FINISHED": COMPLETED, "FAILED": "FAILED", "KILLED": STOPPED_EARLY, "SCHEDULED": "PENDING"}
RELATIVE = "mlflow-artifacts:/"  # of a run's artifacts: of an SQLite file without a server they lie beside it


@dataclass(frozen=True)
class Sweep:
    """What the parent run says of a sweep as a whole."""

    name: str
    experiment_id: str
    run_id: str | None  # None: no parent run was tracked
    description: str
    started: str  # UTC, ISO 8601, to the second; empty where unknown
    ended: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    costs: Mapping[str, Cost] = field(default_factory=dict)  # those of plug-ins, by their whole names
    tasks: Mapping[str, str] = field(default_factory=dict)  # of data sets that are no classification
    spec: str = ""  # the YAML that was launched; empty where it was not kept
    version: Shown = ALL

    @property
    def planned(self) -> int | None:
        """How many trials the spec asks for."""
        return int(self.metrics["trials"]) if "trials" in self.metrics else None


@dataclass(frozen=True)
class Tracked:
    """Sweeps and their trials, a row per trial; see `trials_frame` for the columns."""

    sweeps: tuple[Sweep, ...]
    trials: pd.DataFrame


def read_sweeps(names: Sequence[str], tracking_uri: str, version: int | None = None) -> Tracked:
    """Read the sweeps called `names`, the trials of their present version or of the one said.

    Raises InvalidInput for a store that is not there, or a sweep or version that it does not know.
    """
    if not names:
        raise InvalidInput("sweep: name at least one")
    with _that_answers(tracking_uri):
        return _read_sweeps(names, _client(tracking_uri), version)


def _read_sweeps(names: Sequence[str], client: MlflowClient, version: int | None) -> Tracked:
    experiments = [_experiment(client, name) for name in dict.fromkeys(names)]
    sweeps, records = [], []
    rows: dict[str, Cost] = {}
    for experiment in experiments:
        with _without_collecting():
            runs = list(_runs(client, experiment.experiment_id))
        parents = [run for run in runs if run.data.tags.get("sweeper.kind") == "sweep"]
        trials = [run for run in runs if run.data.tags.get("sweeper.kind") == "trial"]
        sweep = _sweep(client, experiment, parents)
        _take_in(rows, sweep)
        shown = shown_version(sweep.name, sweep.tags, version)
        own = belonging(trials, shown)
        shown = replace(shown, left_out=len(trials) - len(own))
        sweeps.append(_of_version(client, sweep, shown))
        records += [_record(experiment.name, run, shown, sweep.costs) for run in own]
    return Tracked(tuple(sweeps), trials_frame(records))


def _take_in(rows: dict[str, Cost], sweep: Sweep) -> None:
    """Adds the costs of a sweep's plug-ins, which of one name are one thing in all sweeps that are read together."""
    for name, row in sweep.costs.items():
        if rows.setdefault(name, row) != row:
            raise InvalidInput(
                f"cost: {name} is another in {sweep.name} (title, unit, or sense) than in a sweep before it, so that "
                "no table can hold both: report them one by one"
            )


def read_curves(run_ids: Sequence[str], metric: str, tracking_uri: str) -> pd.DataFrame:
    """The whole curve of one metric for many runs, in few requests: columns run_id, epoch, value."""
    chunks = [list(run_ids[start : start + CURVE_RUNS]) for start in range(0, len(run_ids), CURVE_RUNS)]
    with _that_answers(tracking_uri):
        client = _client(tracking_uri)
        rows = [row for chunk in chunks for row in _curves(client, chunk, metric)]
    frame = pd.DataFrame(rows, columns=["run_id", "epoch", "value"])
    # An epoch projected twice counts once: the last one written.
    return frame.drop_duplicates(["run_id", "epoch"], keep="last").sort_values(["run_id", "epoch"], ignore_index=True)


def read_texts(run_ids: Sequence[str], path: str, tracking_uri: str) -> dict[str, str]:
    """The text of one artifact of each of a few runs, a request each; runs that lack it are left out."""
    with _that_answers(tracking_uri):
        client = _client(tracking_uri)
        texts = {run_id: _artifact(client, run_id, path) for run_id in run_ids}
    return {run_id: text for run_id, text in texts.items() if text}


def _curves(client: MlflowClient, run_ids: list[str], metric: str) -> list[tuple[str, int, float]]:
    store = client._tracking_client.store  # the public client reads curves one run at a time, 49 ms each
    if hasattr(store, "get_metric_history_bulk"):
        found = [entry.to_dict() for entry in store.get_metric_history_bulk(run_ids, metric, CURVE_VALUES)]
    else:
        answer = http_request_safe(  # type: ignore[no-untyped-call]
            store.get_host_creds(),
            "/ajax-api/2.0/mlflow/metrics/get-history-bulk",
            "GET",
            params=[*(("run_id", run_id) for run_id in run_ids), ("metric_key", metric), ("max_results", CURVE_VALUES)],
        )
        found = answer.json()["metrics"]
    if len(found) >= CURVE_VALUES and len(run_ids) > 1:  # perhaps cut: ask for fewer runs at once
        half = len(run_ids) // 2
        return [*_curves(client, run_ids[:half], metric), *_curves(client, run_ids[half:], metric)]
    return [(entry["run_id"], int(entry["step"]), float(entry["value"])) for entry in found]


def _client(tracking_uri: str) -> MlflowClient:
    """A client of a store that is there: MLflow would make a missing database, and wait four minutes for a server."""
    address = urlsplit(tracking_uri)
    if path := _database(tracking_uri):
        if not path.is_file():
            raise InvalidInput(f"tracking: there is no database at {path} (has a sweep been launched there?)")
    elif address.scheme in ("http", "https"):
        where = address._replace(netloc=address.netloc.rpartition("@")[2]).geturl().rstrip("/")
        try:
            with urlopen(f"{where}/health", timeout=5):
                pass
        except (URLError, OSError) as error:
            raise InvalidInput(f"tracking: no MLflow server answers at {where} ({error})") from None
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    return MlflowClient(tracking_uri=tracking_uri)


@contextmanager
def _that_answers(tracking_uri: str) -> Iterator[None]:
    """Turns errors of MLflow, its database or its server into InvalidInput that names the address."""
    try:
        yield
    except Exception as error:
        if isinstance(error, MlflowException) or type(error).__module__.startswith("sqlalchemy"):
            address = urlsplit(tracking_uri)
            shown = address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()
            first_line = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
            raise InvalidInput(f"tracking: {_database(tracking_uri) or shown}: {first_line}") from error
        raise


def _database(tracking_uri: str) -> Path | None:
    """The file of a store that is one."""
    scheme, _, path = tracking_uri.partition(":///")
    return Path(unquote(path)) if scheme.partition("+")[0] == "sqlite" else None


def _experiment(client: MlflowClient, name: str) -> Experiment:
    experiment = client.get_experiment_by_name(name)
    if experiment is None or experiment.lifecycle_stage != "active":
        known = sorted(found.name for found in client.search_experiments() if found.name != "Default")
        choices = f"; tracked here: {', '.join(known)}" if known else "; no sweep is tracked here"
        raise InvalidInput(f"sweep: {name!r} is not tracked{nearest(name, known) or choices}")
    return experiment


@contextmanager
def _without_collecting() -> Iterator[None]:
    """No garbage collection, which would look through the 60 objects of every run again and again: half of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _runs(client: MlflowClient, experiment_id: str) -> Iterator[Run]:
    token: str | None = None
    while True:
        page = client.search_runs([experiment_id], max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _sweep(client: MlflowClient, experiment: Experiment, parents: list[Run]) -> Sweep:
    parent = min(parents, key=lambda run: (run.info.start_time, run.info.run_id), default=None)
    if parent is None:
        return Sweep(experiment.name, experiment.experiment_id, None, "", "", "", {}, {})
    return Sweep(
        experiment.name,
        experiment.experiment_id,
        parent.info.run_id,
        parent.data.tags.get("mlflow.note.content", ""),
        _utc(parent.info.start_time),
        _utc(parent.info.end_time),
        dict(parent.data.tags),
        dict(parent.data.metrics),
        tell_again(json.loads(parent.data.tags.get("sweeper.costs", "{}"))),
        json.loads(parent.data.tags.get("sweeper.tasks", "{}")),
        _artifact(client, parent.info.run_id, "spec.yaml"),
    )


def _of_version(client: MlflowClient, sweep: Sweep, shown: Shown) -> Sweep:
    """What the parent run says of this version; of one that is not present, its size and its spec."""
    if shown.is_present or sweep.run_id is None or shown.number is None:
        return replace(sweep, version=shown)
    tags = {name: text for name, text in sweep.tags.items() if name not in OF_THE_PRESENT}
    metrics = {"trials": float((shown.sizes or {})[shown.number])}
    spec = _artifact(client, sweep.run_id, f"versions/v{shown.number}.yaml")
    return replace(sweep, version=shown, tags=tags, metrics=metrics, spec=spec)


def _artifact(client: MlflowClient, run_id: str, path: str) -> str:
    """The text of an artifact, or nothing: artifacts may lie where this machine cannot reach."""
    with TemporaryDirectory() as folder:
        try:
            if database := _database(client.tracking_uri):
                where = str(client.get_run(run_id).info.artifact_uri)
                if where.startswith(RELATIVE) and ".." not in where.split("/"):
                    beside = database.parent / "artifacts" / where.removeprefix(RELATIVE).lstrip("/")
                    return (beside / path).read_text(encoding="utf-8")
            return Path(client.download_artifacts(run_id, path, folder)).read_text(encoding="utf-8")
        except (MlflowException, OSError, UnicodeDecodeError):
            return ""


def _record(sweep: str, run: Run, shown: Shown, costs: Iterable[str] = ()) -> dict[str, Any]:
    """One trial, flat. What the tags say wins over the parameters (both hold the seed and the preset)."""
    info, tags, params, metrics = run.info, run.data.tags, run.data.params, run.data.metrics
    arm = tags.get("sweeper.arm")
    return {
        **{field: params[field] for field in RECIPE_KINDS if field in params},
        **{metric: metrics[metric] for metric in (*METRICS, *costs) if metric in metrics},
        **{tag: tags.get(f"sweeper.{tag}", "") for tag in TAGS},
        "sweep": sweep,
        "run_id": info.run_id,
        "experiment_id": info.experiment_id,
        "name": f"{arm} seed {tags.get('sweeper.seed', '')}" if arm else info.run_name,  # MLflow's may be cut
        **told_by_version(tags, shown),
        "status": tags.get("sweeper.status") or STATUS_OF_RUN.get(info.status, info.status),
        "started": _utc(info.start_time),
        "ended": _utc(info.end_time),
    }


def _utc(milliseconds: int | None) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if milliseconds else ""
