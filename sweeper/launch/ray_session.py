"""A Ray of our own for as long as a launch runs: quiet, closed to others, and leaving nothing behind."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper.launch import orphans
from sweeper.launch.own_ray.servers import few_servers, forked_workers, start_forking
from trainers.errors import InvalidInput

MEBIBYTE = 2**20
OBJECT_STORE_BYTES = 80 * MEBIBYTE  # next to nothing travels through it; Ray takes 30 % of the memory otherwise
PREFIX = "sweeper-ray-"
SOCKET = "workers"  # in a session's folder, for those who want a worker forked
SHUTDOWN_SECONDS = 20.0  # a few on a busy machine
START_SECONDS = 300.0  # of a node, which takes two; a minute on a busy machine
TOKEN = "with RAY_AUTH_MODE=token the variable RAY_AUTH_TOKEN_PATH names the file of a cluster's token"
TOKEN_FILE = "~/.ray/auth_token, where it names none"


class NoRay(RuntimeError):
    """Ray's servers did not come up, on a machine that is too busy, say. Trying again later may do."""


def quiet(address: str | None = None) -> None:
    """Sets what Ray reads when it is imported; call it before that."""
    if address is None and "ray" not in sys.modules:
        # Only processes that know the token can talk to the Ray we start, although it listens on every interface.
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    for name, value in {
        "PL_DISABLE_FORK": "1",  # as Tune wants it for its workers
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_prestart_worker_first_driver": "0",  # one Python a core, of which none would ever train
        # A node ends itself where its own helpers need longer than 30 s to start, which they do on a busy machine.
        "RAY_agent_register_timeout_ms": str(round(1000 * START_SECONDS)),
        "RAY_worker_register_timeout_seconds": str(round(START_SECONDS)),
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
        "TUNE_GLOBAL_CHECKPOINT_S": str(10**9),  # its own state is of no use to us
    }.items():
        os.environ.setdefault(name, value)


@dataclass(frozen=True)
class Prepared:
    """A session's folder and, where Ray is to be our own, what its workers are forked from."""

    folder: Path
    forking: subprocess.Popen[bytes] | None


def prepare(address: str | None = None) -> Prepared:
    """Begins a session that `ray_session` goes on with; worth it before Ray is imported, which takes a second."""
    remove_leftovers()
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=_short_folder()))
    if address is not None:
        return Prepared(folder, None)
    os.environ[orphans.MARK] = folder.name
    return Prepared(folder, start_forking(folder / SOCKET))


@contextlib.contextmanager
def ray_session(
    address: str | None = None,
    give_up: Callable[[str], None] = lambda why: None,
    prepared: Prepared | None = None,
) -> Iterator[Path]:
    """Starts Ray on this machine, or joins the one at `address`; yields a folder for Tune's files.

    Calls `give_up` from another thread where Ray does not let go of this process at the end.
    """
    import ray

    prepared = prepared or prepare(address)
    folder = prepared.folder
    common: dict[str, Any] = {"include_dashboard": False} if address is None else {}
    try:
        if address is None:
            common |= {"_temp_dir": str(folder), "object_store_memory": OBJECT_STORE_BYTES}
        workers = forked_workers(prepared.forking, folder / SOCKET)
        with _reaper(folder, own=address is None) as watch, workers:
            _init(address, common)
            try:
                watch()
                yield folder
            finally:
                # Without its servers, gone just now, it waits a minute and may then end this process, telling nobody.
                stuck = threading.Timer(SHUTDOWN_SECONDS, give_up, ["Ray does not come to an end"])
                stuck.daemon = True
                stuck.start()
                try:
                    ray.shutdown()
                finally:
                    stuck.cancel()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _init(address: str | None, settings: dict[str, Any]) -> None:
    import ray

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with contextlib.ExitStack() as start:
            start.enter_context(patient_with_the_node())
            if address is not None:
                _knock(address)
            else:
                settings |= {"job_config": ray.job_config.JobConfig()}
                start.enter_context(few_servers(settings["job_config"]))
            ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **settings)
    except ConnectionError as error:
        raise InvalidInput(f"--ray-address: {_why_not_joined(str(address), error)}") from None
    except ray.exceptions.AuthenticationError:
        why = f"{address} asks for a token, and ours is missing or another; {TOKEN} ({TOKEN_FILE})"
        raise InvalidInput(f"--ray-address: {why}") from None
    except Exception as error:
        if address is None and type(error) is Exception:  # what Ray raises where its servers do not come up in time
            ray.shutdown()
            raise NoRay(f"Ray did not start on this machine ({error}); --local does without it") from error
        raise
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            signal.signal(number, handler)  # Ray has put its own there, which dump a stack and abort


def _knock(address: str) -> None:
    """Raises Ray's AuthenticationError where our token is not that of the cluster: `ray.init` would ask twenty times.

    A token in ~/.ray/auth_token is one that the cluster of this machine has taken, and we have not.
    """
    from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled, its stub names little of it
    from ray.exceptions import RpcError

    if _is_answered(address):
        with contextlib.suppress(RpcError):  # which `ray.init` waits for
            GcsClient(address=address)


def _why_not_joined(address: str, error: ConnectionError) -> str:
    """What keeps us out: Ray says the same of a token that was refused and of a machine that is not there."""
    if _is_answered(address):
        return f"what answers at {address} does not let us in: our token is not its own, or it is no Ray; {TOKEN}"
    return f"no Ray answers at {address} ({error})"


def _is_answered(address: str) -> bool:
    from sweeper.launch.cluster.sight import takes_connections

    host, _, port = address.rpartition(":")
    return port.isdigit() and takes_connections(host, int(port))


@contextlib.contextmanager
def patient_with_the_node() -> Iterator[None]:
    """Lets a node that starts take START_SECONDS: Ray gives up after 30 s, and has no setting for it."""
    from ray._private import services

    asked: Callable[..., Any] = services.get_node

    def until_it_is_there(*which: Any) -> Any:
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                return asked(*which)
            except RuntimeError:  # it has not said yet that it is there
                if time.monotonic() > end:
                    raise
            time.sleep(0.1)

    services.get_node = until_it_is_there
    try:
        yield
    finally:
        services.get_node = asked


def servers_are_gone() -> bool:
    """Whether the servers of the Ray that we started have died."""
    import ray

    node = ray._private.worker._global_node  # there is no public way to ask that does not itself wait for them
    return node is not None and bool({"gcs_server", "raylet"} & {kind for kind, _ in node.dead_processes()})


@contextlib.contextmanager
def _reaper(folder: Path, own: bool) -> Iterator[Callable[[], None]]:
    """A process that outlives us if we are killed, and ends what we started; see `sweeper.launch.orphans`."""
    if not own or not orphans.possible():
        yield lambda: None
        return
    command = [sys.executable, "-I", orphans.__file__, folder.name, str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdin is not None
    pipe = process.stdin

    def watch() -> None:
        for pid, born in orphans.descendants(os.getpid()):
            if pid != process.pid:
                pipe.write(f"{pid} {born}\n")
        pipe.flush()

    try:
        yield watch
    finally:
        with contextlib.suppress(OSError):
            pipe.close()
        process.wait()


def remove_leftovers() -> None:
    """Removes the folders of launches whose process is gone, and whose cleaner was killed too."""
    for folder in _short_folder().glob(f"{PREFIX}*-*"):
        owner = folder.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists() and orphans.possible():
            shutil.rmtree(folder, ignore_errors=True)


def _short_folder() -> Path:
    """Ray puts sockets below it, and a socket's path may have 107 characters."""
    usual = Path(tempfile.gettempdir())
    return usual if len(str(usual)) <= 20 or not Path("/tmp").is_dir() else Path("/tmp")
