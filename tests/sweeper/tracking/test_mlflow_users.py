"""Several people on one MLflow server with log-in: who may write which sweep, and what nobody may read."""

import json
import urllib.error
import urllib.request
from base64 import b64encode
from dataclasses import replace
from urllib.parse import quote

import pytest

from sweeper.tracking.mlflow_client import TrackingDown, client
from sweeper.tracking.projection import Projection
from sweeper.tracking.tracker import Tracker
from tests.sweeper.small_sweeps import a_launch
from tests.sweeper.tracking.projected import FACTS
from tests.waiting import PATIENCE_SECONDS

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("login_server")]
PASSWORD = "a-long-enough-password"


@pytest.fixture(scope="module", autouse=True)
def _ada_and_bob(server):
    for name in ("ada", "bob"):
        user = {"username": name, "password": PASSWORD}
        assert call(server, "users/create", user, "admin", server.password)[0] == 200


def call(server, path, data=None, user="", password=PASSWORD, base="/api/2.0/mlflow/", method=None):
    """The status and the body of what MLflow answers to this user."""
    login = b64encode(f"{user}:{password}".encode()).decode()
    headers = {"Content-Type": "application/json", **({"Authorization": f"Basic {login}"} if user else {})}
    body = None if data is None else json.dumps(data).encode()
    request = urllib.request.Request(f"{server.address}{base}{path}", body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def project_as(server, monkeypatch, user, sweep, launch):
    """As a launch of this user's does; returns what went wrong, or nothing."""
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", user)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    tracker = Tracker(Projection(server.address, None, replace(FACTS, name=sweep)), launch, lambda: 1.5)
    tracker.start()
    tracker.close(PATIENCE_SECONDS)
    return tracker.problem


def test_a_user_reads_the_sweep_of_another_and_writes_nothing_of_it_until_allowed(server, trained, monkeypatch):
    launch = a_launch(*trained, read_only=True)
    assert project_as(server, monkeypatch, "ada", "adas", launch) == ""
    mlflow = client(server.address)
    experiment = mlflow.get_experiment_by_name("adas")
    runs = mlflow.search_runs([experiment.experiment_id])
    number, run = experiment.experiment_id, runs[0].info.run_id

    found = call(server, "runs/search", {"experiment_ids": [number], "max_results": 100}, "bob")
    assert found[0] == 200 and len(json.loads(found[1])["runs"]) == len(runs) == 11
    writes = {
        "runs/create": {"experiment_id": number, "run_name": "mine", "start_time": 1},
        "runs/log-metric": {"run_id": run, "key": "test_accuracy", "value": 1.0, "timestamp": 1, "step": 1},
        "runs/log-batch": {"run_id": run, "metrics": [], "params": [], "tags": [{"key": "a", "value": "b"}]},
        "runs/set-tag": {"run_id": run, "key": "sweeper.status", "value": "FAILED"},
        "runs/update": {"run_id": run, "status": "FAILED"},
        "runs/delete": {"run_id": run},
        "experiments/set-experiment-tag": {"experiment_id": number, "key": "a", "value": "b"},
        "experiments/update": {"experiment_id": number, "new_name": "bobs"},
        "experiments/delete": {"experiment_id": number},
    }
    assert {path: call(server, path, data, "bob")[0] for path, data in writes.items()} == dict.fromkeys(writes, 403)
    grant = {"username": "bob", "resource_type": "experiment", "resource_id": number, "permission": "EDIT"}
    more = {**grant, "permission": "MANAGE"}
    assert call(server, "users/permissions/grant", more, "bob", base="/api/3.0/mlflow/")[0] == 403
    rights = {"username": "bob", "is_admin": True}
    assert call(server, "users/update-admin", rights, "bob", method="PATCH")[0] == 403
    assert call(server, "users/create", {"username": "eve", "password": PASSWORD}, "bob")[0] == 403
    assert {path: call(server, path, data)[0] for path, data in writes.items()} == dict.fromkeys(writes, 401)

    with pytest.raises(TrackingDown, match=r"(?i)permission denied"):
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "bob")
        Projection(server.address, None, replace(FACTS, name="adas", description="Bob's.")).connect()
    after = mlflow.search_runs([number])
    assert {run.info.run_id: run.data for run in after}.keys() == {run.info.run_id: run.data for run in runs}.keys()
    assert all(run.info.status == "FINISHED" for run in after)

    assert call(server, "users/permissions/grant", grant, "ada", base="/api/3.0/mlflow/")[0] == 200
    assert call(server, "runs/set-tag", {"run_id": run, "key": "note", "value": "seen"}, "bob")[0] == 200


def test_no_artifact_is_read_or_written_outside_of_its_run(server, trained, monkeypatch, tmp_path):
    launch = a_launch(*trained, read_only=True)
    assert project_as(server, monkeypatch, "ada", "artifacts", launch) == ""
    mlflow = client(server.address)
    (parent,) = mlflow.search_runs(
        [mlflow.get_experiment_by_name("artifacts").experiment_id], "tags.`sweeper.kind` = 'sweep'"
    )
    run = parent.info.run_id
    status, body = call(server, f"get-artifact?run_uuid={run}&path=spec.yaml", user="ada", base="/")
    assert (status, body) == (200, b"name: tiny\n")
    users = server.files.parent / "users.db"
    assert users.is_file()
    names = ("../../../../users.db", "..%2f..%2f..%2f..%2fusers.db", str(users), f"file://{users}", "....//users.db",
             "%2e%2e/%2e%2e/%2e%2e/%2e%2e/users.db", "..\\..\\users.db")  # fmt: skip
    for name in names:
        for path in (f"get-artifact?run_uuid={run}&path=", "api/2.0/mlflow-artifacts/artifacts/",
                     "ajax-api/2.0/mlflow-artifacts/artifacts/"):  # fmt: skip
            for written in (name, quote(name, safe="")):
                status, body = call(server, path + written, user="ada", base="/")
                assert status in (400, 403, 404, 500) and b"SQLite" not in body, (path, written, status)
        put = call(server, quote(name, safe="%"), {"a": 1}, "ada", base="/api/2.0/mlflow-artifacts/artifacts/",
                   method="PUT")  # fmt: skip
        assert put[0] != 200 or users.read_bytes()[:6] == b"SQLite"
    assert users.read_bytes()[:6] == b"SQLite"
    assert not [path for path in server.files.parent.rglob("*.db") if path.parent != server.files.parent]
