"""Ray clusters on this machine whose nodes come and go while a test runs, and one that grows by itself."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sweeper.launch.ray_session import quiet
from tests.ports import free_port
from tests.sweeper.processes import environment
from tests.waiting import PATIENCE_SECONDS, wait_until

OBJECT_STORE_BYTES = 80 * 2**20
# Nodes come and go as lines say: `add CPUS`, answered by its raylet's pid, and `kill PID`. The input's end ends it all.
CLUSTER = """
import sys
from ray.cluster_utils import Cluster
small = {"object_store_memory": 80 * 2**20}
head = {"num_cpus": int(sys.argv[2]), "temp_dir": sys.argv[1], "include_dashboard": False}
cluster = Cluster(initialize_head=True, head_node_args={**small, **head})
print(cluster.address, flush=True)
nodes = {}
for line in sys.stdin:
    word, number = line.split()
    if word == "add":
        node = cluster.add_node(num_cpus=int(number), **small)
        pid = node.all_processes["raylet"][0].process.pid
        nodes[pid] = node
    else:
        pid = int(number)
        cluster.remove_node(nodes.pop(pid), allow_graceful=False)
    print(pid, flush=True)
cluster.shutdown()
"""
NOTHING_TO_SET_UP = {"disable_launch_config_check": True, "disable_node_updaters": True}
SET_UP = (
    "initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands",
    "head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files", "rsync_exclude", "rsync_filter",
)  # fmt: skip
RAY = (sys.executable, "-m", "ray.scripts.scripts", "start", "--block", f"--object-store-memory={OBJECT_STORE_BYTES}")

# A launch whose epochs take so many seconds more, or until a file is there.
SLOW = """
import sys, time
from pathlib import Path
from sweeper.cli.main import main
from sweeper.launch import ray_session
ray_session.quiet({address!r})
from sweeper.launch import ray_tune

class Slow(ray_tune.StageTrainable):
    def assign(self, order):
        from sweeper.launch import orders
        orders.ANSWER_SECONDS = 0.0  # so that it tells of each epoch by itself
        super().assign(order)
    def step(self):
        for _ in range(round(20 * {pause})):
            if self._order and not Path({hurry!r}).exists():
                time.sleep(0.05)
        return super().step()

ray_tune.StageTrainable = Slow
sys.exit(main(sys.argv[1:]))
"""


class Growing:
    """A cluster of a head and the nodes that are added."""

    def __init__(self, folder: str, process: subprocess.Popen, address: str) -> None:
        self.folder, self.process, self.address = folder, process, address
        self.joined: list[subprocess.Popen] = []

    def add(self, cpus: int = 1) -> int:
        """Adds a node; the pid of its raylet."""
        return int(self._answer(f"add {cpus}"))

    def kill(self, raylet: int) -> None:
        """A node goes without a word."""
        self._answer(f"kill {raylet}")

    def join(self, cpus: int = 1) -> tuple[subprocess.Popen, int]:
        """Adds a node as people do, `ray start --block`; its process, which SIGTERM drains, and the raylet's pid."""
        command = [*RAY, f"--address={self.address}", f"--num-cpus={cpus}"]
        with Path(self.folder, "joined").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=variables(self.folder))
        self.joined.append(process)
        wait_until(lambda: raylets_below(process.pid), process)
        return process, raylets_below(process.pid)[0]

    def _answer(self, line: str) -> str:
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()


@contextlib.contextmanager
def growing(cpus: int = 0) -> Iterator[Growing]:
    """A cluster whose head has so many CPUs."""
    with _a_place() as folder, Path(folder, "said").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", CLUSTER, folder, str(cpus)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=log, text=True, env=variables(folder), start_new_session=True,
        )  # fmt: skip
        cluster = Growing(folder, process, process.stdout.readline().strip())
        try:
            assert cluster.address, Path(folder, "said").read_text()
            yield cluster
            process.communicate(timeout=PATIENCE_SECONDS)
        finally:
            for started in (process, *cluster.joined):
                _end(started)


@contextlib.contextmanager
def autoscaling(most: int) -> Iterator[str]:
    """The address of a cluster whose head has no CPU; Ray's own autoscaler adds nodes of one, made up, up to `most`."""
    with _a_place() as folder:
        port = free_port()
        address = f"{_own_address()}:{port}"
        small = {"object_store_memory": OBJECT_STORE_BYTES}
        kinds = {
            "ray.head.default": {"resources": {"CPU": 0, **small}, "node_config": {}, "max_workers": 0},
            "worker": {"resources": {"CPU": 1, **small}, "node_config": {}, "min_workers": 0, "max_workers": most},
        }
        config = {
            "cluster_name": "grows",
            "max_workers": most,
            "idle_timeout_minutes": 0.1,
            "upscaling_speed": 1.0,
            "provider": {"type": "fake_multinode", "gcs_address": address, **NOTHING_TO_SET_UP},
            "available_node_types": kinds,
            "head_node_type": "ray.head.default",
            **{name: {} for name in ("auth", "docker", "file_mounts")},
            **{name: [] for name in SET_UP},
        }
        Path(folder, "grows.json").write_text(json.dumps(config))
        command = [
            *RAY, "--head", f"--port={port}", "--num-cpus=0", f"--temp-dir={folder}", "--include-dashboard=false",
            f"--autoscaling-config={folder}/grows.json",
        ]  # fmt: skip
        grows = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
        with Path(folder, "said").open("w") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, env=variables(folder) | grows, cwd="/", start_new_session=True
            )
        try:
            wait_until(lambda: "Ray runtime started" in Path(folder, "said").read_text(), process)
            yield address
        finally:
            _end(process)


def _end(process: subprocess.Popen) -> None:
    process.kill()
    for pipe in filter(None, (process.stdin, process.stdout)):
        with contextlib.suppress(BrokenPipeError):
            pipe.close()
    process.wait()


def variables(folder: str) -> dict[str, str]:
    """The environment of a cluster in this folder, which is how all its processes are known."""
    health = {"RAY_health_check_initial_delay_ms": "500", "RAY_health_check_period_ms": "500"}
    return environment() | health | {"RAY_TMPDIR": folder, "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "600"}


def children(pid: int) -> list[int]:
    """The processes that this one has started and that are there."""
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def raylets_below(pid: int) -> list[int]:
    """The raylets that `ray start` of this pid has started."""
    found = [child for child in children(pid) if _command(child).split(b"\0")[0].endswith(b"/raylet")]
    return found + [raylet for child in children(pid) for raylet in raylets_below(child)]


def _command(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def _own_address() -> str:
    from ray._private.services import get_node_ip_address

    return str(get_node_ip_address())


@contextlib.contextmanager
def _a_place() -> Iterator[str]:
    """A folder for a cluster; whatever still runs in it at the end is ended."""
    quiet()  # a token, which the cluster, the launch and this process share
    folder = tempfile.mkdtemp(prefix="grow-", dir="/tmp")  # Ray's sockets need a short path
    Path(folder, "ray").mkdir()
    try:
        yield folder
    finally:
        mark = f"RAY_TMPDIR={folder}".encode()
        for entry in filter(re.compile(r"\d+").fullmatch, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if mark in Path(f"/proc/{entry}/environ").read_bytes().split(b"\0"):
                    os.kill(int(entry), signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
