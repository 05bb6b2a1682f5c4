"""The nodes of a cluster are asked before a sweep starts whether they see its storage, data, code, torch and GPU."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, NodeDiedError, RayError, TaskUnschedulableError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeper.launch.cluster.nodes import Node, Nodes
from sweeper.launch.cluster.sight import takes_connections
from sweeper.launch.launch import Launch
from sweeper.launch.ray_worker import Code, faults_of_gpu, faults_of_node
from sweeper.storage.base import StoreError
from sweeper.storage.place import Place
from trainers.errors import InvalidInput

PATIENCE_SECONDS = 180.0  # a node that is new unpacks the program and imports torch first
GPU_PATIENCE_SECONDS = 60.0  # where others have taken all GPUs, nothing can be asked of them
DIED = "it died while it was asked what it lacks"
GONE = (NodeDiedError, TaskUnschedulableError)  # what Ray says of a task whose node has died


@dataclass(frozen=True)
class Question:
    """What nodes are asked: whether they see this file in the storage, and have these data sets and this torch."""

    marker: Place
    what: tuple[Any, ...]

    def write(self) -> None:
        """Puts the file into the storage. Raises StoreError."""
        self.marker.put(b"here\n")

    def __call__(self) -> tuple[Any, ...]:
        """What `sweeper.launch.worker.lacks` is given; the file is there again, should it have been swept up."""
        with suppress(StoreError):  # then it may be there all the same
            self.write()
        return self.what


@contextmanager
def question_of(launch: Launch) -> Iterator[Question]:
    """The question that every node of a launch is asked."""
    storage, data_dir = launch.store.root, launch.data_dir
    marker = f"seen-by-all-{uuid.uuid4().hex}"
    folder, datasets, plugins = str(data_dir) if data_dir else None, sorted(launch.digests), dict(launch.plugins)
    what = (str(storage), marker, folder, datasets, version("torch"), plugins)
    question = Question(storage / "incoming" / marker, what)
    try:
        yield question
    finally:
        with suppress(StoreError):
            question.marker.remove()


def check_nodes(nodes: Nodes, question: Question, code: Code) -> None:
    """Leaves out the nodes that do not answer, that die, or whose GPU does not start; too small ones do not count.

    Raises InvalidInput with a line for everything that other nodes lack, and where no node is left that lives.
    """
    there = {node.id: node for node in nodes.usable()}
    question.write()
    answers = _ask(there, PATIENCE_SECONDS, 0.0, faults_of_node, asdict(code), *question.what)
    lacking = [(node, fault) for node, answer in answers.items() if isinstance(answer, list) for fault in answer]
    silent = {node: answer for node, answer in answers.items() if isinstance(answer, RayError)}
    unfit: dict[str, str] = {}
    if (share := nodes.launch.resources.gpus_per_trial) and not lacking:
        for node, answer in _ask(
            there.keys() - silent, GPU_PATIENCE_SECONDS, share, faults_of_gpu, asdict(code)
        ).items():
            if isinstance(answer, list) and answer:
                unfit[node] = answer[0]
            elif isinstance(answer, RayError) and not isinstance(answer, GetTimeoutError):  # then others use its GPUs
                silent[node] = answer
    alive = {node.id for node in nodes.look()} if silent else set()
    dead = {node for node, error in silent.items() if node not in alive or _is_gone(there[node], error)}
    unfit |= {node: f"it did not answer ({type(error).__name__})" for node, error in silent.items() if node not in dead}
    if lacking or (unfit and unfit.keys() == there.keys() - dead):
        faults = [*lacking, *unfit.items()]
        raise InvalidInput("\n".join(f"cluster: node {there[node].name}: {fault}" for node, fault in faults))
    for node, why in [*unfit.items(), *((node, DIED) for node in dead)]:
        nodes.found_unfit(node, why)
    for node in there.keys() - unfit - dead:
        nodes.found_fit(node)


def _is_gone(node: Node, error: RayError) -> bool:
    return isinstance(error, GONE) or not takes_connections(node.address, node.port)


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
