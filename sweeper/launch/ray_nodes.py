"""Looks at every node of a cluster before a sweep starts: sees it the storage? Has it the data, our code, our torch?"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeper.launch.launch import Resources
from sweeper.launch.ray_worker import Code, faults_of_node
from sweeper.storage.place import Place
from trainers.recipe.errors import InvalidInput

PATIENCE_SECONDS = 180.0  # a node that is new unpacks the program and imports torch first


def check_nodes(
    storage: Place, data_dir: Path | None, datasets: Collection[str], resources: Resources, code: Code
) -> None:
    """Raises InvalidInput with a line for everything that a node lacks; nodes too small for a trial do not count."""
    marker = f"seen-by-all-{uuid.uuid4().hex}"
    scratch = storage / "incoming"
    (scratch / marker).put(b"here\n")
    probe = ray.remote(num_cpus=0, max_retries=0)(faults_of_node)
    folder = str(data_dir) if data_dir else None
    try:
        asked = {
            probe.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
                asdict(code), str(storage), marker, folder, sorted(datasets), version("torch")
            ): f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
            for node in ray.nodes()  # type: ignore[no-untyped-call]
            if node["Alive"] and _holds_a_trial(node["Resources"], resources)
        }
        ray.wait(list(asked), num_returns=max(1, len(asked)), timeout=PATIENCE_SECONDS) if asked else None
        faults = [f"cluster: node {name}: {fault}" for task, name in asked.items() for fault in _answer(task)]
    finally:
        (scratch / marker).remove()
    if faults:
        raise InvalidInput("\n".join(faults))


def _holds_a_trial(node: dict[str, float], resources: Resources) -> bool:
    return node.get("CPU", 0.0) >= resources.cpus_per_trial and node.get("GPU", 0.0) >= resources.gpus_per_trial


def _answer(task: Any) -> list[str]:
    try:
        return list(ray.get(task, timeout=0.1))
    except RayError as error:  # a timeout is one too
        return [f"it did not answer ({type(error).__name__})"]
