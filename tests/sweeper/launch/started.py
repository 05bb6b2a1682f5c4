"""Launches that run by themselves, as a user starts them, and what can be seen of them from outside."""

import contextlib
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import ClassVar

from sweeper.launch import orphans
from sweeper.launch.ray_session import PREFIX
from tests.sweeper.processes import start_sweeper
from tests.waiting import ending_of, wait_until


def short(folder: Path) -> Path:
    """A spec of one trial of one epoch."""
    path = folder / "short.yaml"
    path.write_text(
        "name: short\nrecipe: {network: lenet, dataset: digits, method: learned, width: 0.2}\nbudget_epochs: 1\n"
    )
    return path


def records(storage: Path) -> set[Path]:
    return set((storage / "stages").glob("*/*/*/record.json")) if (storage / "stages").is_dir() else set()


def command_line(pid: int) -> bytes:
    """Empty for a process that has ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


class Started:
    """A launch that runs by itself, and what can be seen of it from outside."""

    all: ClassVar[list["Started"]] = []

    def __init__(self, *arguments, folder: Path, parallel: int | None = 1, program: str = "", **more):
        self.out = folder / f"out-{time.time_ns()}"
        arguments = ("launch", *arguments, *([] if parallel is None else ["--max-parallel", parallel]))
        self.process = start_sweeper(*arguments, out=self.out, program=program, **more)
        self.temporary = f"{PREFIX}{self.process.pid}-"
        self.all.append(self)

    def text(self) -> str:
        return self.out.read_text()

    def ends_with(self, code: int) -> str:
        assert ending_of(self.process) == code, self.text()
        return self.text()

    def workers(self) -> list[int]:
        """The processes that train."""
        return [pid for pid in self.processes() if b"Trainable" in command_line(pid)]

    def processes(self) -> list[int]:
        """All that the launch started and that carries its mark."""
        sign = f"{orphans.MARK}={self.temporary}".encode()
        found = []
        for entry in os.listdir("/proc"):
            try:
                if entry.isdigit() and sign in Path(f"/proc/{entry}/environ").read_bytes():
                    found.append(int(entry))
            except OSError:
                continue
        return found

    def has_trained_more_than(self, before: set[Path], storage: Path) -> bool:
        return (bool(self.workers()) and records(storage) > before) or self.process.poll() is not None

    def reaper(self) -> list[int]:
        """The process that ends what the launch leaves behind (`sweeper.launch.orphans`)."""
        return [pid for pid in self.processes() if orphans.__file__.encode() in command_line(pid)]

    def left_nothing(self) -> bool:
        """Once it has ended, and its reaper too. Left alone, Ray's servers stay for a minute."""
        wait_until(lambda: self.process.poll() is not None and not self.reaper())
        return not self.processes() and not list(Path(tempfile.gettempdir()).glob(f"{self.temporary}*"))

    @classmethod
    def end_all(cls) -> None:
        """Kills every launch that was started, and what these started."""
        for launch in cls.all:
            for pid in [launch.process.pid] * (launch.process.poll() is None) + launch.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            launch.process.wait()
        cls.all.clear()
