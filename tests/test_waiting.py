"""Tests wait for events through one place, which gives up when what they wait for cannot come any more."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import waiting
from tests.waiting import ending_of, wait_until

TESTS = Path(__file__).parent
# What gives up after some seconds: a limit of one's own for a process, a thread, an event, a whole test.
LIMITS = re.compile(r"\.(?:wait|join|communicate|close)\(\d|\btimeout=\d|mark\.timeout|time\.monotonic\(\)")


def limits_in(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if LIMITS.search(line)]


def test_no_test_has_a_limit_of_its_own():
    files = [path for path in TESTS.rglob("*.py") if path.name not in ("waiting.py", "test_waiting.py")]
    assert len(files) > 100
    assert {path.name: found for path in files if (found := limits_in(path.read_text(encoding="utf-8")))} == {}


def test_limits_are_found_wherever_they_hide():
    for line in (
        "process.wait(60)", "thread.join(10)", "queue.get(timeout=120)", "run(words, timeout=5)", "tracker.close(60)",
        "@pytest.mark.timeout(900)", "end = time.monotonic() + 30", "pipe.communicate(timeout=9)",
    ):  # fmt: skip
        assert limits_in(line) == [line]
    for line in ("process.wait()", "ending_of(process)", "run(words, timeout=PATIENCE_SECONDS)", "found.get(3)[0]"):
        assert limits_in(line) == []


def test_waiting_ends_when_it_happens_and_fails_once_the_process_ended_without_it(tmp_path):
    program = f"import pathlib; pathlib.Path({str(tmp_path / 'made')!r}).touch()"
    process = subprocess.Popen([sys.executable, "-c", program])
    wait_until((tmp_path / "made").exists, process)
    assert ending_of(process) == 0
    wait_until((tmp_path / "made").exists, process)  # it ended with it
    with pytest.raises(AssertionError, match="it ended with code 0, and it did not happen: "):
        wait_until((tmp_path / "never").exists, process)


def test_waiting_for_what_never_comes_ends_all_the_same(monkeypatch):
    monkeypatch.setattr(waiting, "PATIENCE_SECONDS", 0.01)
    with pytest.raises(AssertionError, match=r"it did not happen in 0\.01 s"):
        wait_until(lambda: False)
