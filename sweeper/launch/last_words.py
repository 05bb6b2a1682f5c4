"""What a worker process that died wrote to its standard error: Ray keeps it in the logs of the node that it ran on."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import ray
from ray import cloudpickle
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

# Other nodes may lack this module, or have another.
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call]

LINES, WIDTH = 12, 300
BYTES = 16_384
PATIENCE_SECONDS = 5.0  # with another node
IN_ITS_CREATION = "error raised in its creation task"
FATAL = "Fatal Python error"  # the interpreter's own, after which come its frames, the innermost first
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
MARKS = (":job_id:", ":actor_name:", ":task_name:")  # Ray's own, for whoever reads the logs


def last_words(death: str) -> str:
    """The end of the standard error of the worker whose death Ray describes so; "" where it cannot be read.

    Of a worker that came to life no further than an exception, Ray has that exception in its description.
    """
    if IN_ITS_CREATION in death:
        return end_of(death)
    pid, address = re.search(r"^\s*pid: (\S+)$", death, re.MULTILINE), address_in(death)
    if pid is None or not address or not ray.is_initialized():
        return ""
    nodes = [
        node["NodeID"]
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"] and node["NodeManagerAddress"] == address
    ]
    here = ray.get_runtime_context().get_node_id()
    if here in nodes:
        return said_here(pid[1])
    reader = ray.remote(num_cpus=0, max_retries=0)(said_here)
    for node in nodes:
        try:
            task = reader.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(pid[1])
            return str(ray.get(task, timeout=PATIENCE_SECONDS))
        except RayError:  # a timeout is one too
            continue
    return ""


def address_in(death: str) -> str:
    """The address of the node that the worker ran on, in Ray's description of its death; "" where it has none."""
    found = re.search(r"^\s*ip: (\S+)$", death, re.MULTILINE)
    return found[1] if found else ""


def said_here(pid: str) -> str:
    """The end of the standard error of a process of this node; "" where it cannot be read."""
    node = ray._private.worker._global_node  # there is no public way to ask
    logs = Path(node.get_logs_dir_path() if node else "nowhere")
    files = sorted(logs.glob(f"worker-*-{pid}.err"), key=lambda path: path.stat().st_mtime)
    return end_of(files[-1].read_bytes()[-BYTES:].decode(errors="replace")) if files else ""


def end_of(text: str) -> str:
    """The last lines of a text, of a crash the first ones, without empty lines and Ray's marks; long ones are cut."""
    _, crashed, after = text.rpartition(FATAL)
    lines = [COLOURS.sub("", line).rstrip() for line in (crashed + after if crashed else text).splitlines()]
    said = [line for line in lines if line and not line.startswith(MARKS)]
    kept = said[:LINES] if crashed else said[-LINES:]
    return "\n".join(line if len(line) <= WIDTH else f"{line[:WIDTH]}…" for line in kept)
