"""A Ray cluster of two nodes on this machine."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sweeper.launch.ray_session import quiet
from tests.sweeper.processes import environment
from tests.waiting import PATIENCE_SECONDS

# Two nodes on this machine; the second goes without a word when a line comes, and all ends with the input.
CLUSTER = """
import sys
from ray.cluster_utils import Cluster
from sweeper.launch.ray_session import patient_with_the_node
small = {"num_cpus": 1, "num_gpus": int(sys.argv[2]), "object_store_memory": 80 * 2**20}
head = {**small, "temp_dir": sys.argv[1], "include_dashboard": False}
with patient_with_the_node():
    cluster = Cluster(initialize_head=True, head_node_args=head)
    second = cluster.add_node(**small)
cluster.wait_for_nodes()
print(cluster.address, second.all_processes["raylet"][0].process.pid, flush=True)
if sys.stdin.readline():
    cluster.remove_node(second, allow_graceful=False)
sys.stdin.readline()
cluster.shutdown()
"""


@contextlib.contextmanager
def two_nodes(scratch: Path, gpus: int = 0) -> Iterator[tuple[subprocess.Popen, str, int]]:
    """The process that holds them, their address, and the pid of the second one's raylet. gpus: made up, on each."""
    quiet()  # a token, which the cluster, the launch and this process share
    folder = tempfile.mkdtemp(prefix="nodes-", dir="/tmp")  # Ray's sockets need a short path
    health = {"RAY_health_check_initial_delay_ms": "500", "RAY_health_check_period_ms": "500"}
    apart = {"RAY_TMPDIR": folder}  # else it writes into a folder that all of this machine share and anybody may remove
    Path(folder, "ray").mkdir()
    with (scratch / "cluster").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", CLUSTER, folder, str(gpus)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=log, text=True, env=environment() | health | apart, start_new_session=True,
        )  # fmt: skip
    try:
        address, raylet = process.stdout.readline().split()
        yield process, address, int(raylet)
        process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)
