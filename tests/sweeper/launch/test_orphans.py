"""The process that ends what a launch leaves behind."""

import os
import subprocess
import sys
import time

import pytest

from sweeper.launch import orphans
from tests.waiting import ending_of, wait_until

pytestmark = pytest.mark.skipif(not orphans.possible(), reason="needs /proc to look at processes")
SLEEPS = [sys.executable, "-c", "import time; time.sleep(10_000)"]


def start_reaper(mark, folder):
    command = [sys.executable, "-I", orphans.__file__, mark, str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, text=True)


def test_it_ends_those_it_was_told_of_and_those_that_carry_the_mark_and_nobody_else(tmp_path):
    folder = tmp_path / "session"
    (folder / "logs").mkdir(parents=True)
    marked = subprocess.Popen(SLEEPS, env={**os.environ, orphans.MARK: "ours"})
    other = subprocess.Popen(SLEEPS, env={**os.environ, orphans.MARK: "ours-2"})
    told = subprocess.Popen(SLEEPS)
    reused = subprocess.Popen(SLEEPS)  # has the number of a process that is gone
    try:
        reaper = start_reaper("ours", folder)
        born = dict(orphans.descendants(os.getpid()))
        reaper.stdin.write(f"{told.pid} {born[told.pid]}\n{reused.pid} 1\n")
        reaper.stdin.flush()
        time.sleep(0.2)
        assert [process.poll() for process in (marked, other, told, reused)] == [None] * 4  # the launch still runs
        reaper.stdin.close()
        assert (ending_of(marked), ending_of(told), ending_of(reaper)) == (-9, -9, 0)
        assert (other.poll(), reused.poll()) == (None, None)
        assert not folder.exists()
    finally:
        for process in (marked, other, told, reused):
            process.kill()
            process.wait()


def test_descendants_are_found_however_deep_and_no_one_else():
    program = f"import subprocess; subprocess.run({SLEEPS!r})"
    child = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
    try:
        wait_until(lambda: list(orphans.descendants(child.pid)), child)
        (grandchild, _) = next(orphans.descendants(child.pid))
        mine = {pid for pid, _ in orphans.descendants(os.getpid())}
        assert {child.pid, grandchild} <= mine
        assert os.getpid() not in mine and os.getppid() not in mine
    finally:
        os.killpg(child.pid, 9)
        child.wait()
