"""Real launches on a real Ray, left alone, interrupted, and killed. Each test starts the command as a user does."""

import contextlib
import os
import random
import re
import shutil
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from sweeper.cli.main import main
from sweeper.launch import orphans
from sweeper.launch.ray_session import quiet
from sweeper.records.store import Store
from sweeper.stages.faults import Fault
from sweeper.tracking.mlflow_client import client
from tests.sweeper.launch.cluster.growing import SLOW
from tests.sweeper.launch.nodes import two_nodes
from tests.sweeper.launch.started import Started, records, short
from tests.sweeper.processes import claimed
from tests.sweeper.small_sweeps import a_launch, facts, table_of, trained_storage
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not orphans.possible(), reason="needs /proc to look at processes"),
]


@pytest.fixture
def slow(tmp_path) -> Path:
    """A sweep long enough to be interrupted by who lets it run `slowly`: 3 trials, 2 stages share their start."""
    path = tmp_path / "slow.yaml"
    path.write_text(
        "name: slow\n"
        "recipe: {network: lenet, dataset: digits, method: slot_machine, options: 4}\n"
        "budget_epochs: 24\nslot_epochs: [8, 16]\narms: [{method: learned}]\n"
    )
    return path


def slowly(folder: Path, address: str | None = None) -> str:
    """The command, whose epochs take longer until there is a file `hurry`."""
    return SLOW.format(address=address, hurry=str(folder / "hurry"), pause=0.2)


def parent_of(pid: int) -> int:
    """0 for a process that has ended meanwhile."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def test_what_ray_says_of_a_worker_becomes_the_failure_that_it_means():
    quiet()
    from ray.exceptions import ActorDiedError, NodeDiedError, OutOfMemoryError, RayTaskError

    from sweeper.launch.ray_tune import failure_of_worker

    raised = RayTaskError("step", "Traceback …", MemoryError("no"))
    assert failure_of_worker(raised).fault is Fault.OUT_OF_MEMORY
    assert failure_of_worker(RayTaskError("step", "Traceback …", ValueError("no"))).reason == "ValueError: no"
    assert failure_of_worker(OutOfMemoryError("killed")).fault is Fault.OUT_OF_MEMORY
    for error in (ActorDiedError(), NodeDiedError("gone"), None):
        assert failure_of_worker(error).fault is Fault.INFRASTRUCTURE


def partials(storage: Path) -> set[Path]:
    return set((storage / "partials").glob("*/*")) if (storage / "partials").is_dir() else set()


def statuses(storage: Path, sweep: str) -> dict[str, str]:
    mlflow = client(f"sqlite:///{storage}/mlflow.db")
    experiment = mlflow.get_experiment_by_name(sweep)
    return {run.info.run_name: run.info.status for run in mlflow.search_runs([experiment.experiment_id])}


def test_a_launch_on_ray_equals_one_without_and_leaves_nothing_behind(tiny, storage, trained, tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    launch = Started(tiny, "--storage", storage, folder=tmp_path, parallel=2, anew=True)
    text = launch.ends_with(0)
    assert "10 of 10 trials completed; 26 epochs trained" in text
    chatter = [line for line in text.splitlines() if re.search(r"\b(ray|raylet|mlflow|WARNING|INFO|Traceback)\b", line)]
    assert [line for line in chatter if str(storage) not in line] == []
    expected = a_launch(*trained, read_only=True)
    found = a_launch(tiny, storage, read_only=True)
    assert found.records.keys() == expected.records.keys()
    processes = [record.environment["process"] for record in found.records.values()]
    assert len(set(processes)) <= 6 < len(processes)  # actors are used again, and it makes no difference:
    for key, record in found.records.items():
        assert facts(record) == facts(expected.records[key])
    assert table_of(storage) == table_of(trained_storage(trained, tmp_path))
    assert set(statuses(storage, "tiny").values()) == {"FINISHED"}
    assert launch.left_nothing()
    assert {path.name for path in home.iterdir()} <= {".cache"}  # compiled code, which is ours


def test_a_killed_worker_is_replaced_and_goes_on_from_its_last_saved_epoch(slow, storage, tmp_path):
    launch = Started(slow, "--storage", storage, "--save-seconds", "0", folder=tmp_path, program=slowly(tmp_path))
    store = Store(storage)

    def on_its_way():
        found = [store.partial_record(path.name) for path in partials(storage)]
        return next(
            (partial for partial in found if partial and partial.environment["process"] in launch.workers()), None
        )

    saved = wait_until(on_its_way, launch.process)
    os.kill(saved.environment["process"], signal.SIGKILL)
    (tmp_path / "hurry").touch()
    text = launch.ends_with(0)
    assert "will be tried again: infrastructure: its worker process died" in text
    assert "3 of 3 trials completed" in text
    assert store.read(saved.key).started_at == saved.started_at, "it went on from what was saved"
    assert store.read(saved.key).environment["process"] != saved.environment["process"]
    assert set(statuses(storage, "slow").values()) == {"FINISHED"}


@pytest.fixture
def nodes(tmp_path):
    with two_nodes(tmp_path) as there:
        yield there


def test_a_worker_that_hangs_and_a_node_that_goes_cost_epochs_and_nothing_else(slow, storage, tmp_path, nodes):
    cluster, address, raylet = nodes
    launch = Started(
        slow, "--storage", storage, "--ray-address", address, "--epoch-timeout", "30", "--max-retries", "20",
        "--save-seconds", "0",
        folder=tmp_path, parallel=2, program=slowly(tmp_path, address),
    )  # fmt: skip
    store = Store(storage)

    def on_their_way():
        saved = [store.partial_record(path.name) for path in partials(storage)]
        found = {parent_of(partial.environment["process"]): partial for partial in saved if partial}
        return found if len(found) == 2 or launch.process.poll() is not None else {}

    saved = wait_until(on_their_way)
    lost = saved.pop(raylet)
    (hung,) = saved.values()
    os.kill(hung.environment["process"], signal.SIGSTOP)
    cluster.stdin.write("go\n")
    cluster.stdin.flush()
    (tmp_path / "hurry").touch()
    text = launch.ends_with(0)
    assert "will be tried again: infrastructure: its worker hung: no epoch within 30 s, so it was killed" in text
    assert re.search("will be tried again: infrastructure: (its node is gone|its worker process died)", text)
    assert "3 of 3 trials completed" in text
    for before in (lost, hung):
        assert store.read(before.key).started_at == before.started_at, "it went on from what was saved"
    assert set(statuses(storage, "slow").values()) == {"FINISHED"}


def test_killing_the_launch_again_and_again_loses_nothing_that_was_finished(slow, storage, tmp_path):
    whole = tmp_path / "whole"
    shutil.copytree(storage, whole)
    assert main(["launch", str(slow), "--storage", str(whole), "--local"]) == 0
    chance = random.Random()
    finished: dict[Path, bytes] = {}
    for _ in range(2):
        launch = Started(slow, "--storage", storage, folder=tmp_path, program=slowly(tmp_path))
        before = records(storage)
        wait_until(partial(launch.has_trained_more_than, before, storage))
        time.sleep(chance.uniform(0, 1.5))
        launch.process.kill()
        launch.process.wait()
        assert launch.left_nothing()  # nobody trains on behind our back
        assert all(path.read_bytes() == content for path, content in finished.items())  # nor trains it again
        finished = {path: path.read_bytes() for path in records(storage)}
    last = Started(slow, "--storage", storage, folder=tmp_path)
    text = last.ends_with(0)
    assert "3 of 3 trials completed; 64 epochs trained" in text
    assert f"{len(finished)} stages are stored already" in text
    assert all(path.read_bytes() == content for path, content in finished.items())
    assert table_of(storage, "slow") == table_of(whole, "slow")
    assert not Store(storage).failures()
    found = statuses(storage, "slow")
    assert set(found.values()) == {"FINISHED"}
    assert found.keys() == statuses(whole, "slow").keys()
    assert last.left_nothing()


def test_a_launch_that_is_told_to_end_saves_what_runs_and_leaves_nothing_behind(slow, storage, tmp_path):
    launch = Started(slow, "--storage", storage, folder=tmp_path, program=slowly(tmp_path))
    wait_until(lambda: records(storage) and claimed(storage), launch.process)
    for pid in [launch.process.pid, *launch.processes()]:  # as when a machine shuts down
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    text = launch.ends_with(130)
    assert "to go on: sweeper resume slow" in text
    assert claimed(storage) == set()
    assert "RUNNING" not in statuses(storage, "slow").values()
    assert launch.left_nothing()


# A launch whose Ray servers die in the moment in which it lets go of them. Ray then takes 7 s, 16 s, or ends the whole
# process after 60, as it happens; here it never comes back.
DIES_LAST = """
import os, signal, sys, time
from sweeper.launch import ray_session
from sweeper.cli.main import main
ray_session.SHUTDOWN_SECONDS = 2.0
ray_session.quiet()
import ray
let_go = ray.shutdown
def shutdown():
    node = ray._private.worker._global_node
    for kind in ("gcs_server", "raylet") if node else ():
        for server in node.all_processes[kind]:
            os.kill(server.process.pid, signal.SIGKILL)
    let_go()
    time.sleep(1000)
ray.shutdown = shutdown
sys.exit(main(sys.argv[1:]))
"""


def test_a_launch_whose_ray_dies_at_the_very_end_says_what_it_has_done_and_ends(tmp_path, storage):
    launch = Started(short(tmp_path), "--storage", storage, folder=tmp_path, program=DIES_LAST)
    text = launch.ends_with(0)
    assert "1 of 1 trials completed; 1 epochs trained" in text
    assert "Broken off" not in text and "Failed to connect to GCS" not in text
    assert launch.left_nothing()


def test_a_worker_killed_because_memory_runs_low_is_tried_once_more_alone(tmp_path, storage, monkeypatch, capsys):
    spec = short(tmp_path)
    with monkeypatch.context() as low:  # Ray's own watch over the memory finds that too much of it is used
        low.setenv("RAY_memory_usage_threshold", "0.0")
        low.setenv("RAY_memory_monitor_refresh_ms", "50")
        text = Started(spec, "--storage", storage, folder=tmp_path).ends_with(1)
    why = "out of memory: Ray killed its worker process because the machine ran low on memory"
    assert text.count(f"will be tried again: {why}") == text.count("will be tried again") == 1
    assert f"FAILED  {why}: " in text
    assert main(["launch", str(spec), "--storage", str(storage), "--local"]) == 0
    assert "1 of 1 trials completed" in capsys.readouterr().out
