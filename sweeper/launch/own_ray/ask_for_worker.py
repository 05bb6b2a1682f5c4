"""Is what Ray starts for a worker: asks for one that is forked (`fork_workers`), and lives as long as that does.

A process of its own, with the standard library alone: `ask_for_worker.py SOCKET COMMAND...`, with Ray's own command for
a worker, which it becomes where none can be forked.
"""

import array
import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress

# Of Ray's command: the program that sets up an environment, and what it is told of that and of the worker's language.
SETS_UP = "setup_worker.py"
ENVIRONMENT = "--serialized-runtime-env-context="
PYTHON = "--language=PYTHON"


def worker_of(command: Sequence[str]) -> list[str] | None:
    """The program that the worker is in the end, and its arguments; None where it has to be set up."""
    _, sets_up, *told = command
    more = [word for word in told if word not in (PYTHON, f"{ENVIRONMENT}{{}}")]
    plain = PYTHON in told and not any(word.startswith(ENVIRONMENT) for word in more)
    return more if os.path.basename(sets_up) == SETS_UP and plain and more[0].endswith(".py") else None


def main(path: str, command: list[str]) -> None:
    worker = worker_of(command)
    if worker is None or not _lives(path, worker):
        os.execv(command[0], command)


def _lives(path: str, worker: Sequence[str]) -> bool:
    """Whether there was a worker; if so, it has ended."""
    mask = sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    is_to_have = {"variables": dict(os.environ), "folder": os.getcwd(), "blocked": mask, "niceness": os.nice(0)}
    with socket.socket(socket.AF_UNIX) as asking:
        try:
            asking.connect(path)
            streams = array.array("i", (0, 1, 2))
            asking.sendmsg([b"?"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
            asking.sendall(json.dumps({"worker": worker, **is_to_have}).encode() + b"\n")
            is_there = bool(asking.recv(1))
        except OSError:  # whoever forks is gone
            return False
        with suppress(OSError):
            while is_there and asking.recv(1):
                pass
    return is_there


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
