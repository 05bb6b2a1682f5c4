"""Processes that are the command line from their first moment: forked from one that has imported what launches import.

That takes a start of Python and its imports six seconds of a core, in each. Ray is not among what is imported already:
it reads its settings then. Tests of how the command itself starts, and of what it sees of that, start Python.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

COMMAND_LINE = "import sys; from sweeper.cli.main import main; sys.exit(main())"


class Forked:
    """Such a process, as the leader of a process group of its own. What `Popen` has of one that was started."""

    def __init__(
        self, program: str, arguments: Sequence[str], out: Path, cwd: Path | None, variables: Mapping[str, str]
    ) -> None:
        self.args = [program or "sweeper", *arguments]
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
    sys.path[:] = ["", *(path for path in sys.path if path)]
    sys.argv = ["-c", *arguments]
    main = ModuleType("__main__")
    sys.modules["__main__"] = main
    exec(compile(program, "<string>", "exec"), main.__dict__)
