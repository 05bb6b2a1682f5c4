"""A launch while it runs: signals, progress, tracking beside it, and an end that is told whatever happens."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

from sweeper.cli.command import ExitCode
from sweeper.cli.display import shown
from sweeper.cli.hints import hint_to_launch, hint_to_raise
from sweeper.cli.progress import Progress
from sweeper.cli.signals import told_of_signals
from sweeper.cli.summary import print_summary
from sweeper.launch.launch import Launch
from sweeper.launch.ray_session import NoRay
from sweeper.planning.forecast import Forecast
from sweeper.records.environment import utc_now
from sweeper.records.sweep_folder import SweepFile, SweepFolder
from sweeper.search.spec_versions import version_of_last_launch, wall_seconds_of
from sweeper.stages.status import Status
from sweeper.storage.base import StoreError
from sweeper.tracking.projection import Projection
from sweeper.tracking.tracker import Tracker

PATIENCE_SECONDS = 30.0  # for MLflow, after the last stage
PATIENCE_INTERRUPTED_SECONDS = 10.0
TELL_AFTER_SECONDS = 3.0
LOOK_SECONDS = 1.0  # between looks whether `sweeper stop` asked for an end
SHOW_CURSOR = "\x1b[?25h"


def _signals() -> tuple[int, ...]:
    """The signals that stop a launch: not that of a closed terminal, where nohup had it ignored."""
    hung_up = (signal.SIGHUP,) if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN else ()
    return (signal.SIGINT, signal.SIGTERM, *hung_up)


# A driver runs a launch to its end. It calls the second argument now and then, and the third, which does not return,
# from a thread of its own where it can neither go on nor come back.
Driver = Callable[[Launch, Callable[[], None], Callable[[str], None]], None]


@dataclass
class RunningLaunch:
    """A launch that is carried out once."""

    run: Launch
    folder: SweepFolder
    file: SweepFile
    projection: Projection
    forecast: Forecast | None = None
    interruptions: list[int] = field(default_factory=list)  # the signals that came
    asked_by: str = ""  # who asked it to stop, from elsewhere
    _ending: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.began = time.monotonic()
        before = wall_seconds_of(self.file, version_of_last_launch(self.file))
        self.tracker = Tracker(self.projection, self.run, lambda: before + time.monotonic() - self.began)
        self.progress = Progress(self.run, problem=lambda: self.tracker.problem)
        self.run.watchers.append(self.progress)
        self.run.tell = self.progress.news.append

    def carry_out(self, driver: Driver) -> int:
        """Runs the launch to its end; returns the exit code."""
        self.tracker.start()
        # In a thread of a program, signals are that program's.
        in_main = threading.current_thread() is threading.main_thread()
        signals = told_of_signals(_signals(), self._told_to_stop) if in_main else nullcontext()
        with signals, self._requests():
            try:
                return self._drive(driver)
            except KeyboardInterrupt:  # the second signal
                return self._end_at_once()

    def _drive(self, driver: Driver) -> int:
        try:
            with shown(self.progress) as refresh:
                driver(self.run, refresh, self._give_up)
        except NoRay as error:
            return self._end(str(error))
        except KeyboardInterrupt:
            raise
        except BaseException:
            self._close("broken off")
            raise
        return self._end()

    def _end_at_once(self) -> int:
        """Says how to go on before anything else: a third signal ends that, too."""
        again = hint_to_launch("resume", self.folder, self.file)
        print(f"\nStopped at once. What was saved is kept; to go on: {again}", flush=True)
        if self.file.launches[-1]["outcome"] == "running":
            self._close("interrupted")
        return ExitCode.INTERRUPTED

    def _end(self, lost: str = "") -> int:
        with self._ending:  # the driver may come back while its watchdog gives up on it
            status = self.run.sweep_status()
            lost = "" if status is Status.COMPLETED else lost or self.run.broken
            stopped = status is not Status.COMPLETED and (self.interruptions or self.asked_by)
            outcome = ("interrupted" if self.interruptions else "stopped") if stopped else lost or status
            outcome = outcome if stopped or lost or not self.run.no_nodes else "stopped"
            self._close(outcome)
            print_summary(self.run, self.tracker, self.folder, self.file, self.forecast)
            again = f"What is trained is kept; to go on: {hint_to_launch('resume', self.folder, self.file)}"
            if stopped:
                print(f"\nStopped. {again}", flush=True)
                return ExitCode.INTERRUPTED
            if lost:
                print(f"\nBroken off: {lost}. {again}", flush=True)
                return ExitCode.SOME_FAILED
            if self.run.no_nodes and status is not Status.COMPLETED:
                print(f"\nGiven up: {self.run.no_nodes}. {again}", flush=True)
                return ExitCode.LIMIT_REACHED
            if outcome == Status.STOPPED_EARLY:
                higher = hint_to_raise(self.folder, self.file, self.run.limits_reached)
                print(f"\nThe limits of the spec are reached. With higher ones, twice these say, it goes on: {higher}")
                return ExitCode.LIMIT_REACHED
            return ExitCode.GOOD if outcome == Status.COMPLETED else ExitCode.SOME_FAILED

    def _close(self, outcome: str) -> None:
        seconds = time.monotonic() - self.began
        self.file.launches[-1] |= {"ended_at": utc_now(), "outcome": outcome, "seconds": seconds}
        try:
            self.folder.write(self.file)
        except StoreError as error:  # of a disk that is full, say; what became of the trials is told all the same
            print(f"sweeper: warning: {error}", flush=True)
        telling = threading.Timer(TELL_AFTER_SECONDS, print, ["Bringing MLflow up to date."], {"flush": True})
        telling.start()
        hurried = self.interruptions or self.asked_by
        self.tracker.close(PATIENCE_INTERRUPTED_SECONDS if hurried else PATIENCE_SECONDS)
        telling.cancel()

    def _give_up(self, why: str) -> None:
        """The driver hangs: ends the process from another thread, after telling everything."""
        self.run.stop()
        if sys.stdout.isatty():
            print(SHOW_CURSOR)
        code = self._end(why)
        self.run.let_go()  # as others would find anyway, once this process is gone
        sys.stdout.flush()
        os._exit(code)

    def _told_to_stop(self, number: int) -> None:
        """The first signal stops the launch after the running epochs, the second at once."""
        self.interruptions.append(number)
        if len(self.interruptions) == 1:
            self.progress.news.append("stopping after the running epochs (once more: at once)")
            self.run.stop()

    @contextmanager
    def _requests(self) -> Iterator[None]:
        """What `sweeper stop` asks for is seen also where the driver waits for something."""
        over = threading.Event()

        def look() -> None:
            while not over.wait(LOOK_SECONDS):
                asked_by = self.folder.asked_to_stop()
                if asked_by:
                    self.asked_by = asked_by
                    self.progress.news.append(f"stopping after the running epochs, as {asked_by} asks")
                    self.run.stop()
                    return

        thread = threading.Thread(target=look, name="stop requests", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
