"""Ends what a launch leaves behind, also one that was killed: Ray's processes linger for minutes, training on.

Runs as a process of its own, with the standard library alone. It reads lines "PID START" until its input ends, because
the launch has ended or is gone. Then it kills those, and all that carry the launch's MARK.
"""

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

MARK = "SWEEPER_RAY_SESSION"  # set in the environment of everything that the launch starts
PATIENCE_SECONDS = 10.0


def possible() -> bool:
    """Whether this system lists its processes."""
    return Path("/proc/self/environ").exists()


def descendants(ancestor: int) -> Iterator[tuple[int, str]]:
    """The descendants of a process, each with its start time, which tells it from a later one of the same number."""
    parents = {pid: (int(fields[1]), fields[19]) for pid, fields in _processes()}
    for pid, (parent, born) in parents.items():
        while parent in parents and parent != ancestor:
            parent = parents[parent][0]
        if parent == ancestor:
            yield pid, born


def _processes() -> Iterator[tuple[int, list[str]]]:
    """Every process, with the fields of its /proc/PID/stat after the name: state, parent, …"""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                yield int(entry), Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it ended meanwhile


def _still_there(known: Iterable[tuple[int, str]], mark: str) -> set[int]:
    there = {(pid, fields[19]): fields[0] for pid, fields in _processes()}
    found = {pid for pid, born in known if there.get((pid, born), "Z") != "Z"}
    sign = f"{MARK}={mark}".encode()
    for pid, _ in there:
        try:
            if sign in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.add(pid)
        except OSError:
            continue
    return found - {os.getpid()}


def main(mark: str, folder: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # told to all as the machine shuts down: its work begins then
    known = []
    for line in sys.stdin:
        pid, born = line.split()
        known.append((int(pid), born))
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end and (left := _still_there(known, mark)):
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
