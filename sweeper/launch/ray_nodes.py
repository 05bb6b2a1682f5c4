"""The nodes of a cluster: looked at before a sweep starts (storage, data, code, torch, GPU), left out if they fail."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeper.launch.launch import Resources
from sweeper.launch.ray_worker import Code, faults_of_gpu, faults_of_node
from sweeper.stages.faults import Failure, Fault
from sweeper.storage.place import Place
from trainers.errors import InvalidInput

IN_A_ROW = 3  # stages that a node fails, none coming through, until it is left out
PATIENCE_SECONDS = 180.0  # a node that is new unpacks the program and imports torch first
GPU_PATIENCE_SECONDS = 60.0  # where others have taken all GPUs, nothing can be asked of them


class Nodes:
    """The nodes that stages may run on: one where they keep failing is left out, as long as there is another."""

    def __init__(self, resources: Resources, tell: Callable[[str, str], None]) -> None:
        """`tell` is given the name of a node that is left out, and why."""
        self.resources = resources
        self.tell = tell
        self._left_out: set[str] = set()
        self._failed: Counter[str] = Counter()  # stages in a row

    def left_out(self) -> list[str]:
        """The ids of the nodes that no stage may start on now; empty where no other node can hold a trial."""
        others = {node["NodeID"] for node in nodes_for(self.resources)} - self._left_out
        return sorted(self._left_out) if others else []

    def has(self) -> dict[str, float]:
        """The resources of all nodes that are not left out."""
        total: Counter[str] = Counter()
        left_out = set(self.left_out())
        for node in ray.nodes():  # type: ignore[no-untyped-call]
            if node["Alive"] and node["NodeID"] not in left_out:
                total.update(node["Resources"])
        return dict(total)

    def leave_out(self, node: Mapping[str, Any], why: str) -> None:
        """Leaves a node out: no further stage starts on it."""
        self._left_out.add(node["NodeID"])
        self.tell(name_of(node), why)

    def came_through(self, node_id: str) -> None:
        """Notes that a stage was trained to its end on this node."""
        self._failed[node_id] = 0

    def failed(self, node_id: str, failure: Failure) -> None:
        """Notes that a stage failed on this node."""
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
    """The name of a node for people."""
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"


def check_nodes(nodes: Nodes, storage: Place, data_dir: Path | None, datasets: Collection[str], code: Code) -> None:
    """Leaves out the nodes that do not answer or whose GPU does not start; those too small for a trial do not count.

    Raises InvalidInput with a line for everything that other nodes lack, and where no node is left.
    """
    there = {node["NodeID"]: node for node in nodes_for(nodes.resources)}
    marker = f"seen-by-all-{uuid.uuid4().hex}"
    scratch = storage / "incoming"
    (scratch / marker).put(b"here\n")
    what = (str(storage), marker, str(data_dir) if data_dir else None, sorted(datasets), version("torch"))
    try:
        answers = _ask(there, PATIENCE_SECONDS, 0.0, faults_of_node, asdict(code), *what)
    finally:
        (scratch / marker).remove()
    lacking = [(node, fault) for node, answer in answers.items() if isinstance(answer, list) for fault in answer]
    unfit = {node: _silent(answer) for node, answer in answers.items() if isinstance(answer, RayError)}
    if (share := nodes.resources.gpus_per_trial) and not lacking:
        for node, answer in _ask(
            there.keys() - unfit, GPU_PATIENCE_SECONDS, share, faults_of_gpu, asdict(code)
        ).items():
            if isinstance(answer, list) and answer:
                unfit[node] = answer[0]
            elif isinstance(answer, RayError) and not isinstance(answer, GetTimeoutError):  # then others use its GPUs
                unfit[node] = _silent(answer)
    if lacking or (unfit and unfit.keys() == there.keys()):
        faults = [*lacking, *unfit.items()]
        raise InvalidInput("\n".join(f"cluster: node {name_of(there[node])}: {fault}" for node, fault in faults))
    for node, why in unfit.items():
        nodes.leave_out(there[node], why)


def _ask(
    nodes: Iterable[str], patience: float, gpus: float, question: Callable[..., list[str]], *what: Any
) -> dict[str, list[str] | RayError]:
    """What a task on each of the nodes answers, or why it does not."""
    probe = ray.remote(num_cpus=0, num_gpus=gpus, max_retries=0)(question)
    tasks = {
        node: probe.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(*what)
        for node in nodes
    }
    if tasks:
        ray.wait(list(tasks.values()), num_returns=len(tasks), timeout=patience)
    return {node: _answer(task) for node, task in tasks.items()}


def _answer(task: Any) -> list[str] | RayError:
    try:
        return list(ray.get(task, timeout=0.1))
    except RayError as error:  # a timeout is one too
        ray.cancel(task)
        return error


def _silent(error: RayError) -> str:
    return f"it did not answer ({type(error).__name__})"


def _holds_a_trial(node: dict[str, float], resources: Resources) -> bool:
    return node.get("CPU", 0.0) >= resources.cpus_per_trial and node.get("GPU", 0.0) >= resources.gpus_per_trial
