"""`sweeper ui`: MLflow's own server on what the sweeps wrote, for this machine only; and `sweeper track`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import IO, Any
from urllib.error import URLError
from urllib.request import urlopen

import click

from sweeper.cli import values
from sweeper.cli.command import ExitCode, command
from sweeper.cli.hints import storage_flag
from sweeper.cli.options import storage_option, sweep_argument, tracking_option
from sweeper.records.sweep_folder import SweepFolder
from sweeper.storage.place import Place, storage_that_answers
from sweeper.storage.tracking_address import (
    SERVERS,
    artifacts_root,
    check_open,
    default_address,
    understood,
    without_password,
)
from sweeper.storage.tracking_file import address_for_mlflow, artifacts_beside, file_of, is_file
from trainers.errors import InvalidInput
from trainers.readable import counted

LOOPBACK = "127.0.0.1"
PORTS_TRIED = 50
START_SECONDS = 120.0


def tracking_of(storage: Place, tracking: str | None, sweeps: Sequence[str] = ()) -> str:
    """The address where the sweeps are tracked: as given, else as they were launched, else in the storage."""
    if tracking:
        return understood(tracking)
    known = [sweep for sweep in sweeps if sweep in SweepFolder.names(storage)]
    addresses = {understood(SweepFolder(storage, sweep).read().tracking) for sweep in known}
    if len(addresses) > 1:
        raise InvalidInput(f"tracking: the sweeps are tracked in different places ({', '.join(sorted(addresses))})")
    return addresses.pop() if addresses else default_address(storage)


@command("sweeper ui lenet_options")
@sweep_argument("print the link to this sweep (default: to all)", optional=True)
@storage_option
@click.option("--port", metavar="PORT", type=values.port, default="5000", help="the first port to try (default: 5000)")
@tracking_option()
def ui(sweep: str | None, storage: str, port: int, tracking: str | None) -> int:
    """Shows the sweeps in MLflow until Ctrl-C."""
    place = storage_that_answers(storage)
    if sweep and not tracking:
        SweepFolder.find(place, sweep)
    address = tracking_of(place, tracking, [sweep] if sweep else [])
    if is_file(address) and not file_of(address).is_file():
        raise InvalidInput(_nothing_tracked(address, place))
    check_open(address, place)
    if address.startswith(SERVERS):
        print(_link(without_password(address).rstrip("/"), address, sweep, place))
        return ExitCode.GOOD
    port = free_port(port)
    with tempfile.TemporaryFile() as log:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)  # ends it as Ctrl-C does
        server = _start(address, place, port, log)
        try:
            base = f"http://{LOOPBACK}:{port}"
            _wait(server, base, log)
            print(_link(base, address, sweep, place))
            print("Ctrl-C ends it.", flush=True)
            server.wait()
        except KeyboardInterrupt:
            print()
        finally:
            _end(server)
    return ExitCode.GOOD


def _nothing_tracked(address: str, storage: Place) -> str:
    if address != default_address(storage):
        return f"tracking: there is no database at {file_of(address)}; sweeper track makes one of what is stored"
    if storage.on_disk is None:
        where = f"{file_of(address)}, below the folder that you stand in: a bucket holds no database"
        return f"storage: nothing of {storage} is tracked in {where}; name another with --tracking"
    return f"storage: nothing is tracked in {storage} yet; launch a sweep first"


def _link(base: str, address: str, sweep: str | None, storage: Place) -> str:
    """The page that opens a sweep's runs: MLflow shows another view first otherwise."""
    from sweeper.tracking.experiment import sweep_page

    page = sweep_page(address, sweep) if sweep else "#/experiments"
    if page is None:
        again = f"sweeper track {sweep}{storage_flag(storage)}"
        raise InvalidInput(f"sweep: {sweep!r} is not tracked in {without_password(address)} ({again} does it)")
    return f"Open {base}/{page}"


def free_port(first: int) -> int:
    for port in range(first, min(first + PORTS_TRIED, 65_536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise InvalidInput(f"port: none of the {PORTS_TRIED} from {first} on is free")


def _start(address: str, storage: Place, port: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
    if is_file(address):
        files = ["--artifacts-destination", artifacts_beside(address).as_uri()]
    else:
        files = ["--default-artifact-root", artifacts_root(storage).as_uri()]
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", LOOPBACK, "--port", str(port), "--workers", "1",
        "--backend-store-uri", address_for_mlflow(address), *files,
    ]  # fmt: skip
    settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    print(f"Starting MLflow on port {port}, which takes some seconds.", flush=True)
    return subprocess.Popen(
        command, env={**os.environ, **settings}, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
    )  # fmt: skip


def _wait(server: subprocess.Popen[bytes], base: str, log: IO[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if server.poll() is not None:
            log.seek(0)
            said = log.read().decode(errors="replace").strip().splitlines()
            raise InvalidInput(f"ui: MLflow's server did not start: {said[-1] if said else server.returncode}")
        try:
            with urlopen(f"{base}/health", timeout=2):
                return
        except (URLError, OSError):
            time.sleep(0.2)
    raise InvalidInput(f"ui: MLflow's server did not answer within {START_SECONDS:.0f} s")


def _end(server: subprocess.Popen[Any]) -> None:
    """The server and its workers: they are a process group of their own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, number)
        except ProcessLookupError:
            return
        try:
            server.wait(5)
        except subprocess.TimeoutExpired:
            continue


@command("sweeper track lenet_options")
@sweep_argument()
@storage_option
@tracking_option()
def track(sweep: str, storage: str, tracking: str | None) -> int:
    """Projects a sweep to MLflow."""
    folder = SweepFolder.find(storage_that_answers(storage), sweep)
    if folder.is_running():
        raise InvalidInput(f"sweep: {folder.name!r} is being run ({folder.holder()}), and that launch tracks it")
    return track_at_rest(folder, tracking)


def track_at_rest(folder: SweepFolder, tracking: str | None = None) -> int:
    """Projects a sweep that is not being run, and prints what came of it; returns the exit code."""
    from sweeper.launch.view import SweepView
    from sweeper.search.spec_versions import wall_seconds_of
    from sweeper.stages.status import Status
    from sweeper.tracking.projection import projection_of
    from sweeper.tracking.tracker import Tracker

    view = SweepView(folder)
    view.file.tracking = understood(tracking or view.file.tracking)
    if is_file(view.file.tracking):  # MLflow would make the folders of a file that was moved away
        check_open(view.file.tracking, folder.storage)
    wall_seconds = wall_seconds_of(view.file, view.version)
    tracker = Tracker(projection_of(view.spec, view.file, view.versions), view.launch, lambda: wall_seconds)
    tracker.start()
    tracker.close(patience_seconds=60.0)
    behind = tracker.behind()
    if tracker.problem or behind:
        why = f": {tracker.problem}" if tracker.problem else ""
        print(f"MLflow does not show {counted(behind, 'trial')} as {'it is' if behind == 1 else 'they are'}{why}")
        return ExitCode.SOME_FAILED
    shown, completed = len(view.results), sum(result.status is Status.COMPLETED for result in view.results)
    left = "" if completed == shown else f", {completed} of them completed"
    print(f"MLflow shows all {counted(shown, 'trial')} of {folder.name} as they are{left}.")
    return ExitCode.GOOD
