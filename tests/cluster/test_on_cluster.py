"""What is told before anything starts on a cluster, and what travels there. Real clusters: test_real_cluster.py."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path

import pytest

from sweeper.cli.main import main
from sweeper.launch.ray_jobs import OWNER, PACKAGES, SWEEP, Cluster, write_submission
from tests.sweeper.processes import command, environment

ROOT = Path(__file__).resolve().parents[2]
SPEC = "name: tiny\nrecipe: {network: lenet, dataset: digits, preset: icml, method: learned}\nbudget_epochs: 2\n"


class Head(ThreadingHTTPServer):
    """Answers as the head of a Ray cluster does, from a table; it runs nothing."""

    def __init__(self, answers):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.seen = answers, []
        self.address = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.seen.append((self.path, self.headers.get("Authorization")))
        status, answer = self.server.answers.get(self.path.partition("?")[0], (404, "not found"))
        body = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def node(**resources):
    return {"state": "ALIVE", "resources_total": resources}


def job(sweep, number, status, exit_code=None):
    return {
        "type": "SUBMISSION", "submission_id": f"{sweep}-{number}", "status": status, "entrypoint": "",
        "start_time": 1_700_000_000_000 + number, "metadata": {SWEEP: sweep, OWNER: "ada"},
        "driver_exit_code": exit_code,
    }  # fmt: skip


@pytest.fixture
def head(monkeypatch):
    """A cluster of two nodes, on which one sweep runs and two have ended. This machine has a token for it."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "")  # so that it is as before, afterwards
    answers = {
        "/api/version": (200, {"version": "4", "ray_version": version("ray"), "ray_commit": "", "session_name": ""}),
        "/api/v0/nodes": (200, {"data": {"result": {"result": [node(memory=1.0), node(CPU=4.0), node(CPU=2.0, GPU=1.0),
                                                              {**node(GPU=8.0), "state": "DEAD"}]}}}),
        "/api/jobs/": (200, [job("busy", 1, "FAILED", 1), job("busy", 2, "RUNNING"), job("done", 3, "SUCCEEDED", 0),
                             {**job("strange", 4, "RUNNING"), "metadata": {}}, job("wrong", 5, "FAILED", 2)]),
        "/api/jobs/done-3": (200, job("done", 3, "SUCCEEDED", 0)),
        "/api/jobs/done-3/logs": (200, {"logs": "set up\nRunning entrypoint for job done-3: python\n6 of 6 trials\n"}),
    }  # fmt: skip
    server = Head(answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def spec(tmp_path):
    (tmp_path / "tiny.yaml").write_text(SPEC)
    return str(tmp_path / "tiny.yaml")


def refused(capsys, *arguments):
    """The error of a command that must not begin."""
    assert main(list(arguments)) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    "address", ["host:8265", "http://host", "ray://host:10001", "http://me@host:8265", "http://h:x"]
)
def test_an_address_that_is_no_dashboard_is_refused(address, spec, capsys):
    assert "is not the address of a Ray dashboard such as http://HOST:8265" in refused(
        capsys, "launch", spec, "--cluster", address
    )


def test_a_head_that_cannot_be_reached_is_told_at_once(spec, capsys):
    error = refused(capsys, "launch", spec, "--cluster", "http://127.0.0.1:9")
    assert "cluster: nothing answers at http://127.0.0.1:9 (Connection refused)" in error


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "this machine has no token for http"), (403, "does not take this machine's token")],
)
def test_a_token_that_is_missing_or_wrong_is_told(head, status, said, spec, capsys):
    head.answers["/api/version"] = (status, "no")
    error = refused(capsys, "launch", spec, "--cluster", head.address)
    assert said in error and "set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to a file that holds it" in error


def test_a_machine_without_a_token_sends_nothing(head, spec, tmp_path):
    variables = {name: value for name, value in environment().items() if not name.startswith("RAY_")}
    launch = command("launch", spec, "--cluster", head.address)
    done = subprocess.run(launch, env=variables | {"HOME": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 2 and f"this machine has no token for {head.address}" in done.stderr
    assert head.seen == []


def test_a_server_that_is_no_ray_is_told(head, spec, capsys):
    head.answers["/api/version"] = (200, "<html>hello</html>")
    assert "answers, but not as Ray's Jobs API does" in refused(capsys, "launch", spec, "--cluster", head.address)


def test_another_version_of_ray_is_told(head, spec, capsys):
    head.answers["/api/version"][1]["ray_version"] = "2.9.1"
    error = refused(capsys, "launch", spec, "--cluster", head.address)
    assert f"runs Ray 2.9.1, and this machine has {version('ray')}; both must agree" in error


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--gpus-per-trial=2"], "--gpus-per-trial: 2 is more than the 1 GPUs of http://127"),
        (["--cpus-per-trial=8"], "--cpus-per-trial: 8 is more than the 6 CPUs of http://127"),
        (["--gpus-per-trial=1", "--cpus-per-trial=4"], "no node of http://127"),
        (["--local"], "--local: it cannot go with --cluster"),
        (["--ray-address=auto"], "--ray-address: it cannot go with --cluster"),
        (["--storage=here"], "--storage: with --cluster it is a folder of the cluster, so a path from its root"),
        (["--data-dir=~/data"], "--data-dir: with --cluster it is a folder of the cluster"),
        (["--tracking=sqlite:///runs.db"], "--tracking: with --cluster it is a file of the cluster, so a path"),
        (["--tracking=http://me:secret@host"], "all who see the cluster's jobs would see the password in it"),
        (["--set=name=busy"], "'busy' is being run already on http://127"),
        (["--set=optoins=3"], "optoins is no field"),
    ],
)  # fmt: skip
def test_what_a_cluster_cannot_do_is_told_before_anything_is_sent(head, flags, said, spec, capsys):
    error = refused(capsys, "launch", spec, "--cluster", head.address, *flags)
    assert said in error
    assert "secret" not in error


def test_a_trial_fits_where_one_node_has_all_of_it(head):
    cluster = Cluster.connect(head.address)
    cluster.check_resources(cpus=2.0, gpus=1.0)
    cluster.check_resources(cpus=4.0, gpus=0.0)
    cluster.check_resources(cpus=0.5, gpus=0.25)


def test_the_sweeps_of_a_cluster_are_listed_by_their_last_launch(head, capsys):
    assert main(["status", "--cluster", head.address]) == 0
    rows = [line.split()[:3] for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows == [["wrong", "refused", "ada"], ["done", "completed", "ada"], ["busy", "running", "ada"]]
    assert "'dnoe' is not on http" in refused(capsys, "status", "dnoe", "--cluster", head.address)


def test_the_last_line_of_a_sweep_is_its_status_and_all_lines_are_its_log(head, capsys):
    assert main(["status", "done", "--cluster", head.address]) == 0
    out = capsys.readouterr().out
    assert out.startswith("done: completed on http://127") and out.endswith("\n6 of 6 trials\n")
    assert main(["logs", "done", "--cluster", head.address]) == 0
    assert capsys.readouterr().out == "6 of 6 trials\n"
    assert main(["stop", "done", "--cluster", head.address]) == 0
    assert capsys.readouterr().out == "done does not run: completed.\n"


def test_a_submission_is_the_program_and_the_spec_and_nothing_else(tmp_path):
    secret = ROOT / "sweeper" / ".env"
    secret.write_text("TOKEN=1")
    try:
        write_submission(tmp_path, SPEC)
    finally:
        secret.unlink()
    found = {path.relative_to(tmp_path).as_posix(): path for path in tmp_path.rglob("*") if path.is_file()}
    assert {name.split("/")[0] for name in found} == {*PACKAGES, "sweep.yaml", "submission.json"}
    for package in PACKAGES:
        code = {path.relative_to(ROOT).as_posix() for path in (ROOT / package).rglob("*.*") if path.is_file()}
        assert {name for name in found if name.startswith(f"{package}/")} == {
            name for name in code if "__pycache__" not in name
        }
    assert sum(path.stat().st_size for path in found.values()) < 3 * 2**20
    assert set(json.loads(found["submission.json"].read_text())) == {"versions", "sources"}


def run_there(folder, *arguments):
    """As a cluster runs it: in the folder of the submission, which knows of no other checkout."""
    return subprocess.run(
        [sys.executable, "-m", "sweeper.cluster_entry", *arguments], cwd=folder, capture_output=True, text=True
    )


def test_a_submission_runs_by_itself_and_knows_what_code_it_is(tmp_path):
    write_submission(tmp_path, SPEC)
    done = run_there(tmp_path, "plan", "sweep.yaml", "--storage", str(tmp_path / "storage"))
    assert done.returncode == 0 and "1 trials" in done.stdout, done.stderr
    program = "import json; from sweeper.records.environment import sources; print(json.dumps(sources()))"
    told = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(told.stdout) == json.loads((tmp_path / "submission.json").read_text())["sources"]


@pytest.mark.parametrize("name", ["python", "ray"])
def test_a_cluster_with_other_versions_refuses_before_it_begins(name, tmp_path):
    write_submission(tmp_path, SPEC)
    facts = json.loads((tmp_path / "submission.json").read_text())
    here = facts["versions"][name]
    facts["versions"][name] = "1.2"
    (tmp_path / "submission.json").write_text(json.dumps(facts))
    done = run_there(tmp_path, "plan", "sweep.yaml")
    assert done.returncode == 2 and not done.stdout
    assert f"its {name} is {here}, and the sweep was submitted from one with 1.2; both must be the same" in done.stderr


def test_what_a_job_says_at_its_end_can_be_copied_and_run_where_it_was_submitted(tmp_path, capsys):
    spec = tmp_path / "half.yaml"
    spec.write_text(
        "name: half\nrecipe: {network: lenet, dataset: digits, method: learned, width: 0.2}\n"
        "budget_epochs: 1\narms: [{finetune_learning_rate: 1.0e+30}, {finetune_learning_rate: 0.01}]\n"
    )
    there = ["--storage", str(tmp_path / "stored")]
    assert main(["launch", str(spec), *there, "--local", "--submitted-to", "http://head:8265"]) == 1
    flags = f"half --storage {tmp_path / 'stored'} --cluster http://head:8265"
    said = capsys.readouterr().out
    assert f"Once the cause is mended: sweeper retry {flags}\n" in said
    assert f"Results:  {tmp_path / 'stored'} (on the machines of the cluster, as what follows)\n" in said
    assert main(["status", "half", *there]) == 0
    assert f"sweeper retry {flags}\n" in capsys.readouterr().out
    assert main(["stop", "half", *there]) == 0
    assert f"to go on: sweeper resume {flags}\n" in capsys.readouterr().out
    assert main(["launch", str(spec), *there, "--local"]) == 1  # by somebody who is logged in there
    assert f"Once the cause is mended: sweeper retry half --storage {tmp_path / 'stored'}\n" in capsys.readouterr().out


@pytest.fixture
def submitted(monkeypatch):
    """The commands that are sent to the cluster."""
    commands = []
    monkeypatch.setattr(
        Cluster,
        "submit",
        lambda self, sweep, owner, package, command: commands.append(command) or self.newest("done"),
    )
    return commands


def test_a_sweep_goes_on_there_with_higher_limits(head, submitted, capsys):
    there = ("--cluster", head.address, "--detach")
    assert main(["resume", "done", "--set", "limits.device_hours=2", "--set", "limits.trials=9", *there]) == 0
    assert " sweeper.cluster_entry resume done --set=limits.device_hours=2 --set=limits.trials=9 " in submitted[0]
    assert main(["resume", "done", "--set", "seeds=2", *there]) == 2
    assert "--set seeds=2: a sweep goes on with other limits at most" in capsys.readouterr().err
    assert len(submitted) == 1


def test_what_is_submitted_knows_the_address_that_it_was_submitted_to(head, spec, submitted):
    assert main(["launch", spec, "--cluster", head.address, "--detach"]) == 0
    program, flags = submitted[0].split(" --owner ")
    assert program == "python -m sweeper.cluster_entry launch sweep.yaml"  # no flag that was not given
    assert flags.endswith(f" --ray-address auto --submitted-to {head.address}")


def test_flags_are_handed_on_and_what_this_machine_sets_is_not(head, spec, submitted, monkeypatch):
    for name in ("SWEEPER_STORAGE", "SWEEPER_DATA_DIR", "SWEEPER_OWNER"):
        monkeypatch.setenv(name, "mine")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mine")
    monkeypatch.setenv("RAY_ADDRESS", "mine:6379")
    monkeypatch.setenv("SWEEPER_CLUSTER", head.address)
    flags = ["--storage=/there", "--cpus-per-trial", "2", "--no-download", "--yes", "--max-retries=0"]
    assert main(["launch", spec, "--detach", *flags]) == 0
    program, after = submitted[0].split(" --owner ")
    assert sorted(program.split()[5:]) == [
        "--cpus-per-trial=2.0", "--max-retries=0", "--no-download", "--storage=/there", "--yes",
    ]  # fmt: skip
    assert after.startswith("mine --ray-address auto ")
    assert main(["resume", "done", "--detach", "--storage=/there"]) == 0
    assert submitted[1].split(" --owner ")[0].endswith(" resume done --storage=/there")
