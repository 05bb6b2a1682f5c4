"""The nodes of a cluster: looked at before a sweep starts (storage, data, code, torch), left out where they fail."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeper.launch.launch import Resources
from sweeper.launch.ray_worker import Code, faults_of_node
from sweeper.stages.faults import Failure, Fault
from sweeper.storage.folder import replace_file
from sweeper.storage.place import Place
from trainers.recipe.errors import InvalidInput

IN_A_ROW = 3  # stages that a node fails, none coming through, until it is left out
PATIENCE_SECONDS = 180.0  # a node that is new unpacks the program and imports torch first


class Nodes:
    """Which nodes stages may run on: one that keeps failing them is left out, as long as another could have them."""

    def __init__(self, resources: Resources, tell: Callable[[str, str], None]) -> None:
        """`tell` is given the name of a node that is left out, and why."""
        self.resources = resources
        self.tell = tell
        self._left_out: set[str] = set()
        self._failed: Counter[str] = Counter()  # stages in a row

    def left_out(self) -> list[str]:
        """The ids of those that no stage is to be started on now; none where no other one holds a trial."""
        others = {node["NodeID"] for node in nodes_for(self.resources)} - self._left_out
        return sorted(self._left_out) if others else []

    def leave_out(self, node: Mapping[str, Any], why: str) -> None:
        """Starts no further stage on this node."""
        self._left_out.add(node["NodeID"])
        self.tell(name_of(node), why)

    def came_through(self, node_id: str) -> None:
        """A stage was trained there to its end."""
        self._failed[node_id] = 0

    def failed(self, node_id: str, failure: Failure) -> None:
        """A stage did not get through there."""
        if failure.fault is not Fault.INFRASTRUCTURE or node_id in self._left_out:
            return
        self._failed[node_id] += 1
        there = {node["NodeID"]: node for node in nodes_for(self.resources)}
        if self._failed[node_id] >= IN_A_ROW and node_id in there and there.keys() - self._left_out - {node_id}:
            self.leave_out(there[node_id], f"{self._failed[node_id]} stages in a row failed on it, the last: {failure}")

    def at(self, address: str) -> str:
        """The id of the node at this address; "" where several are, or none."""
        ids = [node["NodeID"] for node in nodes_for(self.resources) if node["NodeManagerAddress"] == address]
        return ids[0] if len(ids) == 1 else ""


def nodes_for(resources: Resources) -> list[dict[str, Any]]:
    """The nodes that are alive and large enough for a trial."""
    return [
        node
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"] and _holds_a_trial(node["Resources"], resources)
    ]


def name_of(node: Mapping[str, Any]) -> str:
    """What people call it."""
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"


def check_nodes(
    storage: Place, data_dir: Path | None, datasets: Collection[str], resources: Resources, code: Code
) -> None:
    """Raises InvalidInput with a line for everything that a node lacks; nodes too small for a trial do not count."""
    marker = f"seen-by-all-{uuid.uuid4().hex}"
    scratch = storage / "incoming"
    replace_file(scratch / marker, b"here\n", scratch)
    probe = ray.remote(num_cpus=0, max_retries=0)(faults_of_node)
    folder = str(data_dir) if data_dir else None
    try:
        asked = {
            probe.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
                asdict(code), str(storage), marker, folder, sorted(datasets), version("torch")
            ): name_of(node)
            for node in nodes_for(resources)
        }
        ray.wait(list(asked), num_returns=max(1, len(asked)), timeout=PATIENCE_SECONDS) if asked else None
        faults = [f"cluster: node {name}: {fault}" for task, name in asked.items() for fault in _answer(task)]
    finally:
        (scratch / marker).unlink(missing_ok=True)
    if faults:
        raise InvalidInput("\n".join(faults))


def _holds_a_trial(node: dict[str, float], resources: Resources) -> bool:
    return node.get("CPU", 0.0) >= resources.cpus_per_trial and node.get("GPU", 0.0) >= resources.gpus_per_trial


def _answer(task: Any) -> list[str]:
    try:
        return list(ray.get(task, timeout=0.1))
    except RayError as error:  # a timeout is one too
        return [f"it did not answer ({type(error).__name__})"]
