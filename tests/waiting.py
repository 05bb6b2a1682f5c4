"""Waiting for events that must come. How long they take is no test's business: the machine may be busy.

Whoever waits for what a process will do names the process: once it has ended, there is nothing to wait for.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from typing import Any

# Only so that a test that fails ends; tests.mutations has less.
PATIENCE_SECONDS = float(os.environ.get("SWEEPER_TEST_PATIENCE", "1800"))


def wait_until(happens: Callable[[], Any], *processes: subprocess.Popen[Any]) -> Any:
    """Looks again and again until it is so, and returns what it saw; fails once a process has ended without it."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        ended = [process for process in processes if process.poll() is not None]  # before it looks: its last act counts
        if seen := happens():
            return seen
        assert not ended, f"it ended with code {ended[0].returncode}, and it did not happen: {_said(ended[0])}"
        assert time.monotonic() < end, f"it did not happen in {PATIENCE_SECONDS:g} s"
        time.sleep(0.05)


def _said(process: Any) -> Any:
    """What a process that writes to a file has written; of any other, how it was started."""
    return process.out.read_text() if hasattr(process, "out") else process.args


def ending_of(process: subprocess.Popen[Any]) -> int:
    """The exit code of a process that ends by itself."""
    return process.wait(PATIENCE_SECONDS)
