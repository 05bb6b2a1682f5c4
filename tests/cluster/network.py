"""Machines in miniature: Linux network namespaces on a switch, whose links can be cut."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.waiting import PATIENCE_SECONDS


def ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


class Machine:
    """A network namespace with one link; what runs in it sees no other network."""

    def __init__(self, namespace: str, address: str, variables: Mapping[str, str]) -> None:
        self.namespace, self.address = namespace, address
        self.variables = {**os.environ, **variables}
        self.started: list[subprocess.Popen[bytes]] = []

    def command(self, words: Sequence[object]) -> list[str]:
        return ["ip", "netns", "exec", self.namespace, *map(str, words)]

    def run(self, *words: object, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(words),
            env=self.variables | variables,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )

    def start(self, *words: object, out: Path, **variables: str) -> subprocess.Popen[bytes]:
        with out.open("ab") as file:
            process = subprocess.Popen(
                self.command(words), env=self.variables | variables, cwd="/", stdin=subprocess.DEVNULL,
                stdout=file, stderr=file, start_new_session=True,
            )  # fmt: skip
        self.started.append(process)
        return process

    def pids(self) -> list[int]:
        return [int(pid) for pid in ip("netns", "pids", self.namespace).split()]

    def cut_off(self) -> None:
        ip("-n", self.namespace, "link", "set", "eth0", "down")

    def bring_back(self) -> None:
        ip("-n", self.namespace, "link", "set", "eth0", "up")


@contextlib.contextmanager
def network(variables: Mapping[str, Mapping[str, str]]) -> Iterator[dict[str, Machine]]:
    """A machine for each name, with these environment variables. Raises OSError where there may be no namespaces."""
    prefix = f"sw{os.getpid()}"
    switch = f"{prefix}-switch"
    machines: dict[str, Machine] = {}
    try:
        ip("netns", "add", switch)
        ip("-n", switch, "link", "add", "bridge0", "type", "bridge")
        ip("-n", switch, "link", "set", "bridge0", "up")
        for number, name in enumerate(variables, start=1):
            machine = Machine(f"{prefix}-{name}", f"10.231.77.{number}", variables[name])
            ip("netns", "add", machine.namespace)
            machines[name] = machine
            ip("-n", machine.namespace, "link", "add", "eth0", "type", "veth", "peer", "name", f"port{number}",
               "netns", switch)  # fmt: skip
            ip("-n", switch, "link", "set", f"port{number}", "master", "bridge0", "up")
            ip("-n", machine.namespace, "address", "add", f"{machine.address}/24", "dev", "eth0")
            for link in ("lo", "eth0"):
                ip("-n", machine.namespace, "link", "set", link, "up")
        yield machines
    finally:
        for machine in machines.values():
            for pid in machine.pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for process in machine.started:
                process.wait()
            ip("netns", "delete", machine.namespace)
        with contextlib.suppress(OSError):
            ip("netns", "delete", switch)


def answer(machine: Machine, url: str, *flags: str) -> tuple[int, str]:
    """The status and the body that an HTTP client on this machine gets; 0 where nothing answers."""
    done: Any = machine.run("curl", "--silent", "--max-time", "60", "--write-out", "\n%{http_code}", *flags, url)
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body
