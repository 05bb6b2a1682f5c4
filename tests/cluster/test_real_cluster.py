"""PostgreSQL, MLflow with log-in, a Ray head and a worker, each on a machine of its own (a network namespace), and a
laptop that submits a sweep over HTTP. Then links are cut and servers die.
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest
from PIL import Image

from sweeper.launch.view import SweepView
from sweeper.records.store import Store
from sweeper.records.sweep_folder import SweepFolder
from sweeper.storage.place import storage_at
from tests.cluster.network import answer, network
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.cluster

SPEC = """\
name: faults
plugins: [./paced]
recipe: {network: paced.small, dataset: digits, preset: icml, method: slot_machine, options: 2, batch_size: 16}
budget_epochs: 4
slot_epochs: [2]
seeds: 20
"""
# How fast the sweep trains is for the test to say, from one step to the next: on a machine of any speed it is neither
# over before all that can fail has failed, nor waited for afterwards.
PACED = """
import time
from pathlib import Path

from trainers.networks.layers import linear
from trainers.networks.network import Network

PACE = Path({pace!r})  # the seconds that a step takes more


def paced(input_shape, classes):
    from torch import nn

    class Paced(nn.Sequential):
        def forward(self, images):
            if self.training and PACE.exists():
                time.sleep(float(PACE.read_text()))
            return super().forward(images)

    return Paced(nn.Flatten(), linear(64, 300), nn.ReLU(), linear(300, 100), nn.ReLU(), linear(100, classes))


NETWORKS = {{"small": Network("Small", paced, smallest_sides={{1: 8}}, convolutions=False)}}
"""
WALK, CRAWL = 0.02, 0.2  # some 90 steps an epoch
ALLOW = "--allow-plugins"
# A node that does not answer for twenty seconds is dead: by default it takes Ray a minute to say so. One that lives may
# take some seconds too, on a busy machine.
QUICK_TO_NOTICE = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "4",
    "RAY_health_check_initial_delay_ms": "2000",
}
PYTHON = sys.executable
SWEEPER = (PYTHON, "-m", "sweeper")
RAY = f"{PYTHON} -m ray.scripts.scripts start --block --object-store-memory=80000000 --num-cpus=1"


def until_up(command, log):
    """A node on a machine so busy that it takes longer than the 30 s that Ray gives it is started again."""
    return f"while ! grep -q 'Ray runtime started' {log}; do {command}; done"


class Lab:
    """The machines, what runs on them, and what they know."""

    def __init__(self, folder, machines, postgres, passwords):
        self.folder, self.postgres, self.passwords = folder, postgres, passwords
        self.head, self.worker, self.laptop, self.tracking = (
            machines[name] for name in ("head", "worker", "laptop", "tracking")
        )
        self.storage, self.pace = folder / "storage", folder / "pace"
        self.jobs = f"http://{self.head.address}:8265"
        self.mlflow = f"http://{self.tracking.address}:5000"

    def start_mlflow(self):
        self.server = self.tracking.start(
            PYTHON, "-m", "mlflow", "server", "--app-name=basic-auth", "--host=0.0.0.0", "--port=5000", "--workers=1",
            f"--allowed-hosts={self.tracking.address}:5000,localhost:*", out=self.folder / "mlflow.log",
        )  # fmt: skip

    def kill_mlflow(self):
        os.killpg(self.server.pid, signal.SIGKILL)
        self.server.wait()

    def start_ray(self, private):
        head = f"--head --port=6379 --dashboard-host=0.0.0.0 --disable-usage-stats --temp-dir={private}"
        self.ray = self.head.start(
            "sh", "-c", until_up(f"{RAY} {head} --node-ip-address={self.head.address}", self.folder / "head.log"),
            out=self.folder / "head.log",
        )  # fmt: skip
        # Its own disk where the head has its own; started again whenever it ends, as Compose or systemd would.
        join = f"{RAY} --address={self.head.address}:6379 --node-ip-address={self.worker.address}"
        own = self.folder / "worker-disk"
        self.worker.start(
            "sh",
            "-c",
            f"mount --bind {own} {private}; while :; do {join}; sleep 1; done",
            out=self.folder / "worker.log",
        )

    def sweeper(self, *arguments, **variables):
        """Runs a command on the laptop, and gives its exit code, output and errors."""
        done = self.laptop.run(*SWEEPER, *arguments, "--cluster", self.jobs, **variables)
        return done.returncode, done.stdout, done.stderr

    def nodes(self):
        _, text = answer(
            self.laptop, f"{self.jobs}/api/v0/nodes", "--header", f"Authorization: Bearer {self.passwords[0]}"
        )
        with contextlib.suppress(ValueError, LookupError, TypeError):
            return [
                node["node_ip"] for node in json.loads(text)["data"]["result"]["result"] if node["state"] == "ALIVE"
            ]
        return []

    def train_at(self, seconds_a_step):
        new = self.pace.with_suffix(".new")
        new.write_text(str(seconds_a_step))
        new.replace(self.pace)

    def look(self):
        """The sweep as the storage has it."""
        return SweepView(SweepFolder(storage_at(str(self.storage)), "faults")).launch

    def worker_trains(self):
        """Whether an epoch of a stage that runs on the worker is saved."""
        store = Store(self.storage)
        saved = [store.partial_record(path.name) for path in self.storage.glob("partials/*/*")]
        return bool({record.environment["process"] for record in saved if record} & set(self.worker.pids()))

    def records(self):
        return set(self.storage.glob("stages/*/*/*/record.json"))


@pytest.fixture
def lab(make_postgres, monkeypatch):
    if shutil.which("curl") is None or shutil.which("ip") is None:
        pytest.skip("needs curl and ip (iproute2)")
    folder = Path(tempfile.mkdtemp(prefix="sweeper-lab-"))
    private = Path(tempfile.mkdtemp(prefix="sw-"))  # the head's own disk; a short name, because sockets lie in it
    for name in ("storage", "worker-disk"):
        (folder / name).mkdir()
    token, password, database = (secrets.token_hex(32) for _ in range(3))
    (folder / "token").write_text(token)
    (folder / "token").chmod(0o600)
    monkeypatch.delenv("PYTHONPATH", raising=False)  # what runs on the cluster is what was sent there
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)  # and the token is in a file
    path = {"PATH": f"{Path(PYTHON).parent}:{os.environ['PATH']}", "PYTHONDONTWRITEBYTECODE": "1"}
    with_token = {
        **path,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
        "TMPDIR": str(private),
    }
    log_in = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": password}
    address = "10.231.77.4"
    server = {
        "PGPASSWORD": database,
        "MLFLOW_BACKEND_STORE_URI": f"postgresql://mlflow@{address}/mlflow",
        "MLFLOW_ARTIFACTS_DESTINATION": str(folder / "artifacts"),
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "basic_auth.ini"),
        "MLFLOW_AUTH_ADMIN_PASSWORD": password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    (folder / "basic_auth.ini").write_text(
        (ROOT / "docker" / "basic_auth.ini").read_text().replace("@postgres/", f"@{address}/")
    )
    head = {"SWEEPER_STORAGE": str(folder / "storage"), "MLFLOW_TRACKING_URI": f"http://{address}:5000", **log_in}
    laptop = {**path, "RAY_AUTH_MODE": "token", "SWEEPER_OWNER": "ada", "RAY_AUTH_TOKEN_PATH": str(folder / "token")}
    variables = {
        "head": {**with_token, **QUICK_TO_NOTICE, **head},
        "worker": with_token,
        "laptop": laptop,
        "tracking": {**path, **server},
    }
    with contextlib.ExitStack() as stack:
        try:
            machines = stack.enter_context(network(variables))
        except OSError as error:
            pytest.skip(f"needs network namespaces ({error})")
        prefix = ("ip", "netns", "exec", machines["tracking"].namespace)
        postgres = make_postgres(machines["tracking"].address, 5432, database, prefix)
        made = Lab(folder, machines, postgres, (token, password, database))
        made.start_mlflow()
        made.start_ray(private)
        wait_until(lambda: set(made.nodes()) == {made.head.address, made.worker.address}, made.ray)
        wait_until(lambda: answer(made.laptop, f"{made.mlflow}/health")[0] == 200, made.server)
        yield made
    for used in (folder, private):
        shutil.rmtree(used, ignore_errors=True)


def test_a_sweep_on_a_cluster_outlives_whatever_fails_and_is_tracked_as_it_was(lab, tmp_path):
    spec = tmp_path / "faults.yaml"
    spec.write_text(SPEC)
    (tmp_path / "paced").mkdir()
    (tmp_path / "paced" / "__init__.py").write_text(PACED.format(pace=str(lab.pace)))
    nobody_gets_in(lab, spec)
    what_a_node_lacks_is_told_before_the_sweep_starts(lab, tmp_path)

    lab.train_at(WALK)
    code, out, error = lab.sweeper("launch", spec, "--save-seconds", "1", "--detach", ALLOW)
    assert code == 0 and "it runs there whether this machine is on or not" in out, error
    wait_until(lambda: len(lab.records()) >= 2, lab.ray)
    lab.train_at(CRAWL)
    secrets_are_nowhere_to_be_seen(lab)

    wait_until(lab.worker_trains, lab.ray)  # else nothing is lost with it that could be tried again
    lab.worker.cut_off()
    lab.kill_mlflow()
    wait_until(lambda: lab.nodes() == [lab.head.address], lab.ray)
    wait_until(lambda: "will be tried again: infrastructure" in lab_log_now(lab), lab.ray)
    lab.postgres.stop()
    lab.postgres.start()
    lab.start_mlflow()
    lab.worker.bring_back()
    wait_until(lambda: len(lab.nodes()) == 2, lab.ray)
    wait_until(lambda: answer(lab.laptop, f"{lab.mlflow}/health")[0] == 200, lab.server)
    before = len(lab.records())
    lab.train_at(WALK)
    wait_until(lambda: len(lab.records()) > before, lab.ray)

    code, out, error = lab.sweeper("stop", "faults")
    assert code == 0 and "to go on: sweeper resume faults " in out and " --cluster http://" in out, out + error
    assert "faults: stopped on " in lab.sweeper("status", "faults")[1]
    left = lab.look().schedule.epochs_left()
    assert left > 0, "it was over before it could be stopped: make it longer"

    lab.pace.unlink()
    code, out, error = lab.sweeper("launch", spec, "--save-seconds", "1", ALLOW)  # and follows what it says to the end
    assert code == 0, out + error
    assert "20 of 20 trials completed" in out
    assert f"{left:,} epochs are left" in out
    assert "MLflow does not show" not in out
    mlflow_shows_what_is_stored(lab)
    secrets_are_nowhere_to_be_seen(lab)


def lab_log_now(lab) -> str:
    """What the sweep said so far, without waiting for more."""
    (file,) = Path(lab.head.variables["TMPDIR"]).glob("session_latest/logs/job-driver-faults-*.log")
    return file.read_text()


def nobody_gets_in(lab, spec):
    """Without the token, the password, or under another name."""
    laptop = lab.laptop
    for page in ("/api/version", "/api/jobs/", "/api/v0/nodes", "/api/cluster_status", "/nodes?view=summary"):
        assert answer(laptop, f"{lab.jobs}{page}")[0] == 401
        assert answer(laptop, f"{lab.jobs}{page}", "--header", "Authorization: Bearer guessed")[0] == 403
    assert answer(laptop, f"{lab.jobs}/api/jobs/", "--json", '{"entrypoint": "id"}')[0] == 401
    search = f"{lab.mlflow}/api/2.0/mlflow/experiments/search?max_results=1"
    right = ("--user", f"admin:{lab.passwords[1]}")
    assert answer(laptop, search)[0] == 401
    assert answer(laptop, search, "--user", "admin:admin")[0] == 401
    assert answer(laptop, search, *right)[0] == 200
    assert answer(laptop, search, *right, "--header", "Host: evil.example")[0] == 403
    for password in ("", "mlflow", "postgres"):
        login = ("psql", f"--host={lab.tracking.address}", "--username=mlflow", "--no-password", "--command=select 1")
        assert laptop.run(*login, PGPASSWORD=password).returncode == 2

    code, _, error = lab.sweeper("status", RAY_AUTH_TOKEN_PATH="", RAY_AUTH_TOKEN="guessed" * 8)
    assert code == 2 and f"{lab.jobs} does not take this machine's token" in error
    code, _, error = lab.sweeper("launch", spec, "--gpus-per-trial", "1", ALLOW)
    assert code == 2 and "--gpus-per-trial: 1 is more than the 0 GPUs of" in error
    assert lab.sweeper("status") == (0, f"No sweep was launched on {lab.jobs}.\n", "")


def what_a_node_lacks_is_told_before_the_sweep_starts(lab, tmp_path):
    """Both folders are on the head's own disk."""
    private = Path(lab.head.variables["TMPDIR"])
    for split in ("train", "val"):
        for number, name in enumerate(("cat", "dog")):
            (private / "images" / split / name).mkdir(parents=True)
            for image in range(4):
                Image.new("RGB", (32, 32), (60 * number, 40 * image, 0)).save(
                    private / f"images/{split}/{name}/{image}.png"
                )
    recipe = "{network: resnet18, dataset: image_folder, image_size: 32, method: learned, validation_examples: 2}"
    (tmp_path / "lacking.yaml").write_text(f"name: lacking\nrecipe: {recipe}\nbudget_epochs: 1\n")
    folders = ("--storage", private / "results", "--data-dir", private / "images")
    code, out, _ = lab.sweeper("launch", tmp_path / "lacking.yaml", *folders)
    assert code == 2, out
    assert f"({lab.worker.address}): it does not see what others write to {private}/results" in out
    assert f"({lab.worker.address}): data_dir: there is no folder {private}/images" in out
    assert f"({lab.head.address})" not in out
    assert not list((private / "results").glob("stages/*"))


def mlflow_shows_what_is_stored(lab):
    """Every trial, its status, its curve to the last point, its results, its owner."""
    program = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
experiment = client.get_experiment_by_name("faults")
shown = {}
for run in client.search_runs([experiment.experiment_id], max_results=1000):
    curve = client.get_metric_history(run.info.run_id, "validation_accuracy")
    shown[run.info.run_name] = [run.info.status, run.data.tags.get("sweeper.owner"), run.data.metrics,
                                [point.value for point in sorted(curve, key=lambda point: point.step)]]
print(json.dumps(shown))
"""
    log_in = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": lab.passwords[1]}
    done = lab.laptop.run(PYTHON, "-c", program, lab.mlflow, **log_in)
    shown = json.loads(done.stdout)
    results = lab.look().results()
    assert len(shown) == len(results) + 1
    assert {(status, owner) for status, owner, _, _ in shown.values()} == {("FINISHED", "ada")}
    for result in results:
        assert result.status == "COMPLETED"
        _, _, metrics, curve = shown[result.name]
        assert curve == [epoch["validation_accuracy"] for epoch in result.epochs]
        assert {name: metrics[name] for name in result.finals} == result.finals


def secrets_are_nowhere_to_be_seen(lab):
    """In no process list, no log, no job, nothing that is stored or tracked."""
    texts = {}
    for machine in (lab.head, lab.worker, lab.tracking, lab.laptop):
        for pid in machine.pids():
            with contextlib.suppress(OSError):
                texts[f"{machine.namespace} {pid}"] = Path(f"/proc/{pid}/cmdline").read_bytes()
    private = Path(lab.head.variables["TMPDIR"])
    kept = [lab.storage, lab.folder / "worker-disk", private, *lab.folder.glob("*.log"), lab.folder / "artifacts"]
    for place in kept:
        for file in [place, *place.rglob("*")]:
            with contextlib.suppress(OSError):
                if file.is_file() and not file.is_symlink():
                    texts[str(file)] = file.read_bytes()
    header = ("--header", f"Authorization: Bearer {lab.passwords[0]}")
    for page in ("/api/jobs/", "/api/v0/runtime_envs", "/api/v0/jobs"):
        texts[page] = answer(lab.laptop, f"{lab.jobs}{page}", *header)[1].encode()
    for table in ("tags", "experiment_tags", "params", "users"):
        texts[table] = lab.postgres.query(f"select * from {table}").encode()
    assert len(texts) > 50
    assert [where for where, text in texts.items() if any(secret.encode() in text for secret in lab.passwords)] == []
