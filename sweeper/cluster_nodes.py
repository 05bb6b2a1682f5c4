"""Looks at every node of a cluster before a sweep starts: does it see the storage, has it the data, the same torch?"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeper.launch import Resources
from trainers.data import check_data
from trainers.validation import InvalidInput

PATIENCE_SECONDS = 180.0  # a node that is new unpacks the program and imports torch first


def check_nodes(storage: Path, data_dir: Path | None, datasets: Collection[str], resources: Resources) -> None:
    """Raises InvalidInput with a line for everything that a node lacks; nodes too small for a trial do not count."""
    marker = storage / "incoming" / f"seen-by-all-{uuid.uuid4().hex}"
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.touch()
    probe = ray.remote(num_cpus=0, max_retries=0)(_lacks)
    try:
        asked = {
            probe.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
                str(marker), str(data_dir) if data_dir else None, sorted(datasets), version("torch")
            ): f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
            for node in ray.nodes()  # type: ignore[no-untyped-call]
            if node["Alive"] and _holds_a_trial(node["Resources"], resources)
        }
        ray.wait(list(asked), num_returns=max(1, len(asked)), timeout=PATIENCE_SECONDS) if asked else None
        faults = [f"cluster: node {name}: {fault}" for task, name in asked.items() for fault in _answer(task)]
    finally:
        marker.unlink(missing_ok=True)
    if faults:
        raise InvalidInput("\n".join(faults))


def _holds_a_trial(node: dict[str, float], resources: Resources) -> bool:
    return node.get("CPU", 0.0) >= resources.cpus_per_trial and node.get("GPU", 0.0) >= resources.gpus_per_trial


def _answer(task: Any) -> list[str]:
    try:
        return list(ray.get(task, timeout=0.1))
    except RayError as error:  # a timeout is one too
        return [f"it did not answer ({type(error).__name__})"]


def _lacks(marker: str, data_dir: str | None, datasets: list[str], torch: str) -> list[str]:
    """What is wrong with the machine this runs on."""
    faults = []
    storage = Path(marker).parent.parent
    if not Path(marker).is_file():
        faults.append(f"it does not see what others write to {storage}; the storage must be a folder that all share")
    else:
        try:
            mine = Path(f"{marker}-{uuid.uuid4().hex}")
            mine.touch()
            mine.unlink()
        except OSError as error:
            faults.append(f"it cannot write to {storage} ({error.strerror})")
    if version("torch") != torch:
        faults.append(f"its torch is {version('torch')}, and the driver's is {torch}; numbers might differ")
    for dataset in datasets:
        try:
            check_data(dataset, Path(data_dir) if data_dir else None, download=False)
        except InvalidInput as error:
            faults.append(str(error))
    return faults
