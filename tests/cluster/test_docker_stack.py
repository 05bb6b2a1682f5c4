"""docker-compose.yml brought up for real: `make test-docker`.

One stack for all of these tests, which come in order: what it is, what it withstands while a sweep runs, and what is
left of it when it is backed up, taken away and restored.
"""

import contextlib
import json
import re
import socket
from pathlib import Path

import pytest

from sweeper.storage.place import storage_at
from tests.cluster.docker_engine import Stack, docker_engine, ensure_base_images, holders, run
from tests.sweeper.storage.object_server import CREDENTIALS, a_service
from tests.waiting import ending_of, wait_until

SERVICES = ("postgres", "mlflow", "ray-head", "ray-worker")
IMAGE = "slot-sweeper:under-test"
SWEEP = "digits_quickstart"
# 22 trials, long enough to be disturbed in their midst.
SMALLER = ("--set", "seeds=2", "--set", "budget_epochs=100", "--set", "batch_size=32")
pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with docker_engine():
        stack = Stack(tmp_path_factory.mktemp("stack"))
        ensure_base_images()
        stack.make("secrets")
        try:
            stack.make("up")
            wait_until(lambda: all(stack.health(service) == "healthy" for service in SERVICES))
            yield stack
        finally:
            print(stack.call("logs", "--tail", "50").stdout)
            stack.end()


def test_every_service_gets_healthy(stack):
    assert {service: stack.health(service) for service in SERVICES} == dict.fromkeys(SERVICES, "healthy")


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_is_nobody_of_importance_and_writes_to_nothing_but_its_volumes(stack, service):
    told = stack.inside(service, "id -u; id -g; grep -E '^(Cap|NoNewPrivs)' /proc/1/status; touch /etc/x /usr/bin/x")
    user, group = map(int, told.split()[:2])
    assert user > 0 and group > 0
    assert set(re.findall(r"Cap\w+:\s*(\w+)", told)) == {"0" * 16}  # inherited, permitted, effective, bounding, ambient
    assert re.search(r"NoNewPrivs:\s*1", told)
    assert told.count("Read-only file system") == 2
    found = stack.inspect(service)["HostConfig"]
    assert found["ReadonlyRootfs"] and not found["Privileged"]
    assert 0 < found["Memory"] <= 8 << 30 and 0 < found["PidsLimit"] <= 4096
    limit = stack.inside(
        service, "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null"
    )
    assert int(limit.split()[0]) == found["Memory"]  # the kernel's own word


def test_what_is_published_is_for_this_machine_alone(stack):
    published = {
        (service, port["HostIp"], int(port["HostPort"]))
        for service in SERVICES
        for ports in stack.inspect(service)["NetworkSettings"]["Ports"].values()
        for port in ports or ()
    }
    assert published == {("mlflow", "127.0.0.1", stack.mlflow_port), ("ray-head", "127.0.0.1", stack.ray_port)}
    elsewhere = next(iter(stack.inspect("mlflow")["NetworkSettings"]["Networks"].values()))["Gateway"]
    for port in (stack.mlflow_port, stack.ray_port):
        socket.create_connection(("127.0.0.1", port), 10).close()
        with pytest.raises(ConnectionRefusedError):  # another address of this same machine
            socket.create_connection((elsewhere, port), 10)


def test_nobody_gets_in_without_a_password_a_token_or_under_another_name(stack):
    mlflow, ray = f"http://127.0.0.1:{stack.mlflow_port}", f"http://127.0.0.1:{stack.ray_port}"
    for path in ("/", "/api/2.0/mlflow/experiments/search?max_results=1", "/ajax-api/2.0/mlflow/users/current"):
        assert stack.answer(mlflow + path)[0] == 401
    assert stack.answer(f"{mlflow}/", Host="evil.example")[0] == 403
    job = {"entrypoint": "id"}
    for path, data in (("/api/jobs/", None), ("/api/jobs/", job), ("/api/v0/nodes", None), ("/nodes", None)):
        assert stack.answer(ray + path, data)[0] == 401
        assert stack.answer(ray + path, data, Authorization="Bearer guessed")[0] == 403


def test_only_mlflow_reaches_the_database(stack):
    networks = stack.inspect("postgres")["NetworkSettings"]["Networks"].values()
    (address,) = [network["IPAddress"] for network in networks]
    knock = "python -c 'import socket, sys; socket.create_connection((sys.argv[1], 5432), 5)' "
    assert stack.inside("mlflow", knock + address) == ""
    for service in ("ray-head", "ray-worker"):
        for name in ("postgres", address):
            assert "Traceback" in stack.inside(service, knock + name)


def test_a_password_of_the_database_is_needed_even_where_it_is_reached(stack):
    login = "import psycopg; psycopg.connect('host=postgres user=mlflow dbname=mlflow connect_timeout=5')"
    assert stack.inside("mlflow", f'python -c "{login}"') == ""
    for password in ("", "mlflow", "guessed"):
        assert "OperationalError" in stack.inside("mlflow", f'PGPASSWORD={password} python -c "{login}"')


def test_no_secret_is_in_the_image_its_layers_or_its_history(stack):
    secrets = [value.encode() for value in stack.secrets.values()]
    assert len(secrets) == 4
    shown = run(["docker", "history", "--no-trunc", IMAGE]).stdout + run(["docker", "inspect", IMAGE]).stdout
    assert "useradd --uid 10001" in shown  # the history is that of our Dockerfile
    assert not [secret for secret in secrets if secret.decode() in shown]
    known = b"Without it every request costs a slow password hash"  # of docker/basic_auth.ini: the search does search
    found = holders(IMAGE, [known, *secrets])
    assert found.pop(known)
    assert not any(found.values())


def test_a_sweep_completes_although_servers_restart_and_a_worker_dies(stack):
    out = stack.folder / "launch.log"
    launch = stack.start("run", "--rm", "-T", "sweeper", "launch", SWEEP, *SMALLER, "--save-seconds", "1", out=out)
    try:
        wait_until(lambda: stored(stack) >= 3 or launch.poll() is not None)
        stack.call("restart", "postgres", "mlflow")
        die(stack, "ray-worker")
        wait_until(lambda: stack.health("ray-worker") == "healthy")
        before = stored(stack)
        wait_until(lambda: stored(stack) > before or launch.poll() is not None)
        assert launch.poll() is None, f"it was over before all was tried: make it longer\n{out.read_text()}"
        for service in ("mlflow", "postgres"):
            die(stack, service)
        ending_of(launch)
    finally:
        with contextlib.suppress(ProcessLookupError):
            launch.terminate()
    said = out.read_text()
    assert launch.returncode == 0, said
    assert "22 of 22 trials completed" in said and "its worker process died" in said
    assert "MLflow does not show" not in said
    wait_until(lambda: all(stack.health(service) == "healthy" for service in SERVICES))
    runs = stack.tracked(SWEEP)
    assert [run["info"]["status"] for run in runs] == ["FINISHED"] * 23


def stored(stack: Stack) -> int:
    return len(stack.inside("ray-head", "find /storage/stages -name record.json").splitlines())


def die(stack: Stack, service: str) -> None:
    """All its processes are killed from inside, as by a crash; Docker must start it again, without being told."""
    restarts = stack.inspect(service)["RestartCount"]
    stack.inside(service, "kill -9 -1")
    wait_until(lambda: stack.inspect(service)["RestartCount"] > restarts)


def test_the_report_comes_to_the_one_who_asked_and_to_mlflow(stack):
    done = stack.sweeper("report", SWEEP, "-o", "report")
    assert done.returncode == 0, done.stdout + done.stderr
    page = (stack.folder / "report" / "report.html").read_bytes()
    assert b"digits_quickstart" in page and {"report.md", "table.csv"} <= names(stack.folder / "report")
    (parent,) = [run for run in stack.tracked(SWEEP) if tags(run).get("sweeper.kind") == "sweep"]
    assert stack.artifact(parent["info"]["run_id"], "report.html") == page
    assert f"{SWEEP}" in (said := stack.sweeper("status").stdout), said


def test_no_secret_is_in_logs_process_lists_or_what_is_tracked(stack):
    texts = {"runs": json.dumps(stack.tracked(SWEEP))}
    for service in SERVICES:
        texts[f"{service}: logs"] = stack.call("logs", "--no-color", service).stdout
        texts[f"{service}: processes"] = stack.inside(service, "cat /proc/[0-9]*/cmdline").replace("\0", " ")
    for service in ("ray-head", "ray-worker"):
        texts[f"{service}: Ray's logs"] = stack.inside(service, "cat /tmp/ray/session_latest/logs/*.*")
    token = stack.secrets["RAY_AUTH_TOKEN"]
    for path in ("/api/jobs/", "/api/v0/jobs", "/api/v0/runtime_envs", "/api/v0/workers", "/api/v0/actors"):
        url = f"http://127.0.0.1:{stack.ray_port}{path}"
        status, body = stack.answer(url, Authorization=f"Bearer {token}")
        assert status == 200
        texts[path] = body.decode()
    assert "ray" in texts["ray-head: processes"] and "digits_quickstart" in texts["/api/jobs/"]
    assert [where for where, text in texts.items() if any(value in text for value in stack.secrets.values())] == []


def test_a_stack_that_is_taken_away_is_restored_with_all_its_runs(stack):
    runs = {run["info"]["run_id"]: run["data"] for run in stack.tracked(SWEEP)}
    (parent,) = [run for run in stack.tracked(SWEEP) if tags(run).get("sweeper.kind") == "sweep"]
    report = stack.artifact(parent["info"]["run_id"], "report.html")
    records = stored(stack)
    stack.make("backup", "BACKUP=saved")
    stack.make("down")
    stack.end()  # and its volumes
    assert not run(["docker", "volume", "ls", "-q", "-f", f"name={stack.variables['COMPOSE_PROJECT_NAME']}"]).stdout

    stack.make("restore", "BACKUP=saved")
    wait_until(lambda: all(stack.health(service) == "healthy" for service in SERVICES))
    assert {run["info"]["run_id"]: run["data"] for run in stack.tracked(SWEEP)} == runs
    assert stack.artifact(parent["info"]["run_id"], "report.html") == report
    assert stored(stack) == records
    again = stack.call("run", "--rm", "-T", "sweeper", "launch", SWEEP, *SMALLER)
    assert again.returncode == 0 and "0 epochs are left" in again.stdout, again.stdout + again.stderr


def test_results_go_to_a_bucket_where_the_example_says_so(stack, tmp_path, monkeypatch):
    pytest.importorskip("moto", reason="needs moto (make setup installs it)")
    gateway = next(iter(stack.inspect("ray-head")["NetworkSettings"]["Networks"].values()))["Gateway"]
    in_the_volume = stored(stack)
    with a_service(tmp_path, host="0.0.0.0") as service:
        with (stack.folder / ".env").open("a") as file:
            file.write(
                "COMPOSE_FILE=docker-compose.yml:docs/examples/bucket.yml\n"
                "STORAGE_URL=s3://bucket/lab\n"
                f"STORAGE_ACCESS_KEY_ID={CREDENTIALS['AWS_ACCESS_KEY_ID']}\n"
                f"STORAGE_SECRET_ACCESS_KEY={CREDENTIALS['AWS_SECRET_ACCESS_KEY']}\n"
                f"AWS_REGION={CREDENTIALS['AWS_REGION']}\n"
                f"AWS_ENDPOINT_URL=http://{gateway}:{service.port}\n"
            )
        stack.make("up")
        wait_until(lambda: all(stack.health(name) == "healthy" for name in SERVICES))
        fewer = ("--set", "seeds=1", "--set", "budget_epochs=4")
        done = stack.call("run", "--rm", "-T", "sweeper", "launch", SWEEP, *fewer)
        assert done.returncode == 0 and "11 of 11 trials completed" in done.stdout, done.stdout + done.stderr
        assert "Results:  s3://bucket/lab " in done.stdout
        again = stack.call("run", "--rm", "-T", "sweeper", "launch", SWEEP, *fewer)
        assert again.returncode == 0 and "0 epochs are left" in again.stdout, again.stdout + again.stderr
        for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": service.endpoint}.items():
            monkeypatch.setenv(name, value)
        written = [entry.path for entry in storage_at("s3://bucket/lab").entries()]
    assert sum(path.name == "record.json" for path in written) >= 11
    assert stored(stack) == in_the_volume
    secret = CREDENTIALS["AWS_SECRET_ACCESS_KEY"]
    knows = {name for name in SERVICES if any(secret in line for line in stack.inspect(name)["Config"]["Env"])}
    assert knows == {"ray-head", "ray-worker"}, "MLflow has no use for the key"


def tags(run: dict) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in run["data"].get("tags", ())}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}
