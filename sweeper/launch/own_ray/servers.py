"""Ray's servers, without those that a launch on this machine has no use for: 9.5 s of a core become 2. And its workers.

Ray has no settings for this, so it reaches into Ray, and only into versions that it is known to fit.
"""

from __future__ import annotations

import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sweeper.launch.own_ray import ask_for_worker, fork_workers, stand_in

if TYPE_CHECKING:
    from ray.job_config import JobConfig

KNOWN_VERSIONS = ("2.60.0",)  # any other Ray starts in its own way
WORKERS_IMPORT = ("torch", "pandas")  # Tune does the latter
WORKERS_WAITING = 1000  # that have asked to be forked, while the former are imported
DASHBOARD_PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port")


@contextmanager
def few_servers(job: JobConfig) -> Iterator[None]:
    """Lets a Ray that starts leave out its dashboard, its autoscaler, what forwards workers' logs, and both agents.

    job: that of the start. Where it turns out to have a runtime environment (by `uv run`, or a hook that the user has
    set), the agent that makes it is there.
    """
    if not _is_known():
        yield
        return
    from ray._private import parameter, services, utils

    start: Any = services.start_ray_process

    def start_process(command: list[str], kind: str, *more: Any, **settings: Any) -> Any:
        if kind == "raylet":
            command = _with_stand_ins(command, has_environment=bool(job.runtime_env))
        return start(command, kind, *more, **settings)

    left_out: dict[str, Any] = {"no_monitor": True, "include_log_monitor": False}
    with (
        _replaced(parameter, "RayParams", partial(parameter.RayParams, **left_out)),
        _replaced(services, "start_api_server", lambda *_, **__: ("", None)),  # no address, and no process
        _replaced(services, "start_ray_process", start_process),
        # To find out whether the dashboard could run, it imports all that it needs.
        _replaced(utils, "get_dashboard_dependency_error", lambda: ImportError("left out")),
    ):
        yield


@contextmanager
def forked_workers(process: subprocess.Popen[bytes] | None, path: Path) -> Iterator[None]:
    """Lets a Ray that starts have its workers forked from a process that `start_forking` has started at this socket.

    The process ends with this context.
    """
    if process is None:
        yield
        return
    from ray._private import services

    start: Any = services.start_ray_process
    ask = [sys.executable, "-I", "-S", ask_for_worker.__file__, str(path)]

    def start_process(command: list[str], kind: str, *more: Any, **settings: Any) -> Any:
        return start(_asking_for_workers(command, ask) if kind == "raylet" else command, kind, *more, **settings)

    with _replaced(services, "start_ray_process", start_process):
        try:
            yield
        finally:
            process.communicate()  # its input ends, and it does


def start_forking(path: Path) -> subprocess.Popen[bytes] | None:
    """Starts what forks workers for those who ask at this socket, whose path is short; None where Ray is unknown.

    It imports torch for two seconds: started before this process imports Ray, it does so meanwhile. Ends with this
    process, or with the context of `forked_workers`.
    """
    if not _is_known():
        return None
    # A Ctrl-C at the keyboard is the launch's alone, as with all of Ray's processes.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
            listening.listen(WORKERS_WAITING)
            command = [sys.executable, "-P", fork_workers.__file__, str(listening.fileno()), *WORKERS_IMPORT]
            return subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[listening.fileno()])
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def workers_without_environment() -> Iterator[None]:
    """Lets Tune ask for workers with the environment variables of this process, which they have from it anyway.

    Tune wants some of them set for its workers, and then the agent of runtime environments is asked to.
    """
    if not _is_known():
        yield
        return
    from ray.tune.execution import class_cache

    with _replaced(class_cache, "DEFAULT_ENV_VARS", {}), _replaced(class_cache, "ENV_VARS_TO_PROPAGATE", ()):
        yield


def _is_known() -> bool:
    return version("ray") in KNOWN_VERSIONS


@contextmanager
def _replaced(module: ModuleType, name: str, value: Any) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


def _with_stand_ins(raylet: list[str], has_environment: bool) -> list[str]:
    """The command that starts a raylet, with other ones in it for its agents."""
    values = dict(argument.split("=", 1) for argument in raylet if "=" in argument)
    program = [sys.executable, "-I", "-S", stand_in.__file__, values["--session_dir"], values["--node_id"]]
    agents = {"--dashboard_agent_command": [*program, *DASHBOARD_PORTS]}
    if not has_environment:
        agents["--runtime_env_agent_command"] = [*program, "runtime_env_agent_port"]

    return [_changed(argument, agents) for argument in raylet]


def _asking_for_workers(raylet: list[str], ask: list[str]) -> list[str]:
    """The command that starts a raylet, with one in it for workers that asks for each."""
    flag = "--python_worker_command"
    (command,) = (argument.partition("=")[2] for argument in raylet if argument.startswith(f"{flag}="))
    return [_changed(argument, {flag: [*ask, *shlex.split(command)]}) for argument in raylet]


def _changed(argument: str, commands: Mapping[str, list[str]]) -> str:
    flag, is_, _ = argument.partition("=")
    return f"{flag}={subprocess.list2cmdline(commands[flag])}" if is_ and flag in commands else argument
