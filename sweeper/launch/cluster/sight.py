"""The nodes of the Ray cluster that this process has joined: which are alive, about to go, or do not answer."""

from __future__ import annotations

import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import ray

from sweeper.launch.cluster.nodes import Node

SILENT_SECONDS = 9.0  # without a connection; Ray itself takes a minute to call such a node dead, as it comes
CONNECT_SECONDS = 3.0
AT_ONCE = 8


class Sight:
    """Looks at the nodes, each time it is called. Close it before Ray ends."""

    def __init__(self, reach_out: bool) -> None:
        """`reach_out`: a node that takes no connections any more is told, before Ray finds out."""
        self._threads = ThreadPoolExecutor(AT_ONCE, "reach") if reach_out else None
        self._tried: dict[str, tuple[float, Future[bool]]] = {}  # by node: when, and whether it answered
        self._silent_since: dict[str, float] = {}
        self._answered: set[str] = set()  # those that are not reachable at all from here may do their work all the same

    def __call__(self) -> list[Node]:
        """The nodes that Ray takes to be alive."""
        leaving = ray._private.state.state.get_draining_nodes()  # there is no public way to ask
        alive = [_node(node, leaving) for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        if self._threads is None:
            return alive
        silent = {node.id for node in alive if self._is_silent(self._threads, node)}
        return [Node(**{**vars(node), "answers": node.id not in silent}) for node in alive]

    def close(self) -> None:
        """Reaches out no more."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _is_silent(self, threads: ThreadPoolExecutor, node: Node) -> bool:
        began, answer = self._tried.get(node.id, (0.0, None))
        if answer is not None and answer.done():
            if answer.result():
                self._answered.add(node.id)
                self._silent_since.pop(node.id, None)
            elif node.id in self._answered:
                self._silent_since.setdefault(node.id, began)
        if answer is None or answer.done():
            self._tried[node.id] = time.monotonic(), threads.submit(takes_connections, node.address, node.port)
        since = self._silent_since.get(node.id)
        return since is not None and time.monotonic() - since > SILENT_SECONDS


def takes_connections(address: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection((address, port), CONNECT_SECONDS).close()
    except OSError:
        return False
    return True


def _node(found: dict[str, Any], leaving: dict[str, int]) -> Node:
    return Node(
        found["NodeID"],
        f"{found['NodeManagerHostname']} ({found['NodeManagerAddress']})",
        found["NodeManagerAddress"],
        int(found["NodeManagerPort"]),
        found["Resources"],
        is_leaving=found["NodeID"] in leaving,
    )
