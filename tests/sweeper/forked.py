"""Processes that are the command line from their first moment: forked from one that has imported what launches import.

That takes a start of Python and its imports six seconds of a core, in each. Ray is not among what is imported already:
it reads its settings then. Tests of how the command itself starts, and of what it sees of that, start Python.

So are the workers of the Ray that it starts: from a process that stands by, and forks them as `fork_workers` does.
"""

from __future__ import annotations

import atexit
import ctypes
import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from sweeper.launch import orphans
from sweeper.launch.own_ray import fork_workers, servers

COMMAND_LINE = "import sys; from sweeper.cli.main import main; sys.exit(main())"


class Forked:
    """Such a process, as the leader of a process group of its own. What `Popen` has of one that was started."""

    def __init__(
        self, program: str, arguments: Sequence[str], out: Path, cwd: Path | None, variables: Mapping[str, str]
    ) -> None:
        self.args = [program or "sweeper", *arguments]
        self.out = out
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.sweeper.imported"])
        place = str(cwd or os.getcwd())
        self._process = context.Process(
            target=_become, args=(program or COMMAND_LINE, list(arguments), str(out), place, dict(variables))
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()


def _become(program: str, arguments: list[str], out: str, cwd: str, variables: dict[str, str]) -> None:
    """Makes this process what `python -c program` in a session of its own would be."""
    os.setsid()
    file = os.open(out, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.close(file)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(variables)
    standing_by = StandingBy()
    if standing_by.is_worker:
        return
    servers._forking = standing_by.listen  # type: ignore[assignment]
    sys.path[:] = ["", *(path for path in sys.path if path)]
    sys.argv = ["-c", *arguments]
    main = ModuleType("__main__")
    sys.modules["__main__"] = main
    exec(compile(program, "<string>", "exec"), main.__dict__)


class StandingBy:
    """A process that forks workers once a Ray is started, and ends with ours; what `Popen` has of the one that does."""

    def __init__(self) -> None:
        self._ours, its = socket.socketpair()
        self.is_worker = os.fork() == 0
        if self.is_worker:
            self._ours.close()
            _fork_workers(its)
        its.close()

    def listen(self, path: Path) -> StandingBy:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
            listening.listen(servers.WORKERS_WAITING)
            mark = f"{orphans.MARK}={os.environ[orphans.MARK]}".encode()
            socket.send_fds(self._ours, [mark], [listening.fileno()])
        return self

    def communicate(self) -> None:
        self._ours.close()


def _fork_workers(told: socket.socket) -> None:
    """Returns in a worker that has done its work."""
    mark, sockets, *_ = socket.recv_fds(told, 1000, 1)
    if sockets:
        _carry(mark)
        if (order := fork_workers.next_worker(socket.socket(fileno=sockets[0]), end=told.fileno())) is not None:
            told.close()
            try:
                fork_workers.become(**order)
            finally:
                atexit._run_exitfuncs()
            return
    os._exit(0)


def _carry(mark: bytes) -> None:
    """Makes this the environment that others see, in the place of what the process was started with: nobody uses it."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[47]), int(fields[48])
    assert len(mark) < end - start
    ctypes.memset(start, 0, end - start)
    ctypes.memmove(start, mark, len(mark))
