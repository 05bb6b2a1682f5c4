"""Forks Ray's workers from one process that has imported what each would take four seconds of a core to import.

Of our own code it imports none, so that workers train with the code they are told to; nor Ray, which reads its settings
then and starts threads. A process of its own: `fork_workers.py SOCKET MODULE...` takes the number of a socket, to which
`ask_for_worker` connects, and ends with its input.
"""

import array
import gc
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from types import ModuleType
from typing import Any

TAKEN = b"+"  # a worker says that it is there


def next_worker(listening: socket.socket, end: int) -> dict[str, Any] | None:
    """Forks a worker for everyone who asks. Returns in each of them, with what was asked for; None when `end` does."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no worker is waited for
    gc.freeze()  # or collecting would write to what they share
    while end not in select.select([listening.fileno(), end], [], [])[0]:
        order = None
        with suppress(OSError, ValueError):  # who asked is gone
            order = _answer(listening)
        if order is not None:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return order
    return None


def _answer(listening: socket.socket) -> dict[str, Any] | None:
    """What was asked for, in the process that is to be it."""
    asking, _ = listening.accept()
    with asking:
        order, streams = _heard(asking)
        is_worker = os.fork() == 0
        if is_worker:
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
            asking.sendall(TAKEN)
            os.dup(asking.fileno())  # open for as long as this process is there
        for stream in streams:
            os.close(stream)
    return order if is_worker else None


def _heard(asking: socket.socket) -> tuple[dict[str, Any], Iterable[int]]:
    streams = array.array("i")
    _, more, _, _ = asking.recvmsg(1, socket.CMSG_SPACE(3 * streams.itemsize))
    for _, _, data in more:
        streams.frombytes(data)
    with asking.makefile("rb") as said:
        return json.loads(said.readline()), streams


def become(worker: list[str], variables: dict[str, str], folder: str, blocked: list[int], niceness: int) -> None:
    """Makes this process what Python that has been started with this program would be."""
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(folder)
    os.nice(niceness - os.nice(0))
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    sys.argv[:] = worker
    sys.path.insert(0, os.path.dirname(worker[0]))
    main = sys.modules["__main__"] = ModuleType("__main__")
    main.__file__ = worker[0]
    with open(worker[0], "rb") as file:
        code = compile(file.read(), worker[0], "exec")
    exec(code, main.__dict__)


if __name__ == "__main__":
    for module in sys.argv[2:]:
        import_module(module)
    if (order := next_worker(socket.socket(fileno=int(sys.argv[1])), end=sys.stdin.fileno())) is not None:
        become(**order)
