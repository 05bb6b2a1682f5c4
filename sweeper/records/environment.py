"""Where a stage was trained, by what: facts that change no result on the same kind of machine, but explain one."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from trainers.numerics import running_sources

SUBMISSION = "submission.json"  # beside the packages, where they were shipped to a cluster


def utc_now() -> str:
    """The time as ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@cache
def package_version() -> str:
    try:
        return version("slot-sweeper")
    except PackageNotFoundError:
        return "not installed"


@cache
def git_commit() -> str:
    """The commit of this code, with '+' after it where the working tree differs; 'unknown' outside a checkout."""
    folder = Path(__file__).resolve().parents[1]

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
        return done.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != folder.parent:
            return "unknown"  # this package lies inside some other project's checkout
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def sources() -> dict[str, str]:
    """The version and commit of the running code; the driver sends them to every worker, which runs the same."""
    return {**_version(), "trainers_digest": running_sources()}


def _version() -> dict[str, str]:
    shipped = Path(__file__).resolve().parents[2] / SUBMISSION
    if shipped.is_file():
        found: dict[str, str] = json.loads(shipped.read_text())["sources"]
        return found
    return {"git_commit": git_commit(), "version": package_version()}


def describe(device: str, threads: int) -> dict[str, str | int]:
    """The facts of this process's machine and libraries, by name."""
    import torch

    return {
        "host": platform.node(),
        "process": os.getpid(),
        "device": device_name(device) or device,
        "threads": threads,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def device_name(device: str) -> str | None:
    """The kind and model of a device, such as 'cpu: Xeon …'; None where this machine has none."""
    kind = device.partition(":")[0]
    if kind == "cpu":
        return f"cpu: {_processor()}"
    import torch

    try:
        return f"{kind}: {torch.cuda.get_device_name(device)}" if torch.cuda.is_available() else None
    except (RuntimeError, AssertionError):
        return None  # it is counted, and does not start


@cache
def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()
