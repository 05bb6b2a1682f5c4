"""A Ray cluster seen from outside, through its Jobs API over HTTP: what it has, which sweeps it runs, what they say.

Every job of ours carries its sweep's name and owner. Raises InvalidInput where the cluster is not what it should be,
and ClusterDown where it does not answer any more.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import socket
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sweeper.records.environment import SUBMISSION, sources
from trainers.errors import InvalidInput, nearest

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

REACH_SECONDS = 5.0
LOOK_SECONDS = 1.0  # between looks at a job that is followed
BYTES_A_SECOND = 200_000  # of log, which is read whole at every look; a longer one is looked at more seldom
PATIENCE_SECONDS = 120.0  # with a cluster that does not answer while a job is followed
STOP_SECONDS = 3600  # for running epochs to end and be saved; then Ray kills the job
SWEEP, OWNER = "sweeper.sweep", "sweeper.owner"
LAST_LINE_OF_RAY = "Running entrypoint for job "
CHATTY = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray._private.authentication.http_token_authentication",
    "ray._private.runtime_env.packaging",
)
OVER = ("STOPPED", "SUCCEEDED", "FAILED")


class ClusterDown(InvalidInput):
    """The cluster answered before, and does not now."""


@dataclass(frozen=True)
class Job:
    """One launch of a sweep on a cluster."""

    id: str
    sweep: str
    owner: str
    state: str  # Ray's: PENDING -> RUNNING -> STOPPED | SUCCEEDED | FAILED
    submitted_at: str
    exit_code: int | None
    message: str

    @property
    def is_over(self) -> bool:
        return self.state in OVER


@dataclass
class Cluster:
    """A cluster that answers at `address`, http://HOST:8265 say."""

    address: str
    _client: JobSubmissionClient

    @classmethod
    def connect(cls, address: str) -> Cluster:
        """The cluster at this address. Raises InvalidInput where no cluster answers, or our token is refused."""
        parts = _checked(address)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            socket.create_connection((parts.hostname or "", port), REACH_SECONDS).close()
        except OSError as error:
            raise InvalidInput(f"cluster: nothing answers at {address} ({error.strerror or error})") from None
        # Ray reads these when it is imported. A cluster that asks for no token must be wanted: RAY_AUTH_MODE=disabled.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ["RAY_API_SERVER_ADDRESS"] = address  # or RAY_ADDRESS would count, which is for drivers
        return cls(address, _job_client(address))

    # What it is

    def ray_version(self) -> str:
        return str(self._get("/api/version")["ray_version"])

    def nodes(self) -> list[Mapping[str, float]]:
        """The resources of every node that is alive."""
        found = self._get("/api/v0/nodes?limit=10000")["data"]["result"]["result"]
        return [node["resources_total"] for node in found if node["state"] == "ALIVE"]

    def check_resources(self, cpus: float, gpus: float) -> None:
        """Raises InvalidInput where no node could hold one trial."""
        nodes = self.nodes()
        if any(node.get("CPU", 0.0) >= cpus and node.get("GPU", 0.0) >= gpus for node in nodes):
            return
        there = {kind: sum(node.get(kind, 0.0) for node in nodes) for kind in ("CPU", "GPU")}
        flag, wanted, kind = ("gpus", gpus, "GPU") if gpus > there["GPU"] else ("cpus", cpus, "CPU")
        if wanted > there[kind]:
            raise InvalidInput(
                f"--{flag}-per-trial: {wanted:g} is more than the {there[kind]:g} {kind}s of {self.address}"
            )
        raise InvalidInput(
            f"--{flag}-per-trial: no node of {self.address} has {cpus:g} CPUs and {gpus:g} GPUs for one trial"
        )

    # Its sweeps

    def jobs(self) -> list[Job]:
        """The jobs of this project, the newest first."""
        with self._answers():
            found = self._client.list_jobs()
        ours = [job for job in found if SWEEP in (job.metadata or {})]
        return [_job(job) for job in sorted(ours, key=lambda job: -(job.start_time or 0))]

    def newest(self, sweep: str) -> Job:
        """The last launch of a sweep. Raises InvalidInput with the nearest name."""
        jobs = self.jobs()
        for job in jobs:
            if job.sweep == sweep:
                return job
        known = sorted({job.sweep for job in jobs})
        there = f"; there are {', '.join(known)}" if known else "; no sweep was launched on it"
        raise InvalidInput(f"sweep: {sweep!r} is not on {self.address}{nearest(sweep, known) or there}")

    def look(self, job_id: str) -> Job:
        with self._answers():
            return _job(self._client.get_job_info(job_id))

    def submit(self, sweep: str, owner: str, package: Path, command: str) -> Job:
        """Uploads the package and starts the command in it."""
        with self._answers():
            job_id = self._client.submit_job(
                entrypoint=command,
                submission_id=f"{sweep}-{uuid.uuid4().hex[:8]}",
                metadata={SWEEP: sweep, OWNER: owner},
                runtime_env={
                    "working_dir": str(package),
                    "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)},
                },
            )
        return self.look(job_id)

    def log(self, job_id: str) -> str:
        """The output of the command so far."""
        with self._answers():
            text = self._client.get_job_logs(job_id)
        _, marked, after = text.partition(LAST_LINE_OF_RAY)
        return after.partition("\n")[2] if marked else ""

    def follow(self, job: Job, say: Callable[[str], None]) -> Job:
        """Prints the command's output until it ends. Raises ClusterDown after two minutes without an answer."""
        said, heard = 0, time.monotonic()
        while True:
            try:
                job = self.look(job.id)  # first, or the last lines would be missed
                text = self.log(job.id)
                heard = time.monotonic()
            except ClusterDown:
                if time.monotonic() - heard > PATIENCE_SECONDS:
                    raise
                text = ""
            if text[said:]:
                say(text[said:])
                said = len(text)
            if job.is_over:
                return job
            time.sleep(max(LOOK_SECONDS, len(text) / BYTES_A_SECOND))

    def stop(self, job: Job) -> None:
        """Asks a job to end as Ctrl-C does: running epochs end and are saved."""
        with self._answers():
            self._client.stop_job(job.id)

    # How

    def _get(self, path: str) -> Any:
        with self._answers():
            answer = self._client._do_request("GET", path)  # with the token; there is no public way to ask the rest
            answer.raise_for_status()
            return answer.json()

    @contextmanager
    def _answers(self) -> Iterator[None]:
        from ray.exceptions import AuthenticationError

        try:
            yield
        except AuthenticationError as error:
            raise _refused(self.address, error) from None
        except (OSError, RuntimeError) as error:  # requests' exceptions are OSErrors
            raise ClusterDown(f"cluster: {self.address} does not answer as before ({_one_line(error)})") from None


def _checked(address: str) -> Any:
    parts = urlsplit(address)
    try:
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.port is not None
    except ValueError:
        whole = False
    if not whole or parts.path.strip("/") or parts.username:
        raise InvalidInput(f"cluster: {address!r} is not the address of a Ray dashboard such as http://HOST:8265")
    return parts


def _job_client(address: str) -> JobSubmissionClient:
    try:
        from ray.exceptions import AuthenticationError
        from ray.job_submission import JobSubmissionClient
    except ImportError as error:
        raise InvalidInput(
            f"cluster: this machine lacks what talks to Ray's Jobs API ({error}); pip install 'ray[default]'"
        ) from None
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        return JobSubmissionClient(address)
    except AuthenticationError as error:
        raise _refused(address, error) from None
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"cluster: {address} answers, but not as Ray's Jobs API does ({_one_line(error)})") from None


def _refused(address: str, error: Exception) -> InvalidInput:
    how = "set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to a file that holds it"
    if str(error).startswith("Authentication failed"):
        return InvalidInput(f"cluster: {address} does not take this machine's token; {how}")
    return InvalidInput(f"cluster: this machine has no token for {address}; {how}")


def _job(found: Any) -> Job:
    metadata = found.metadata or {}
    submitted = datetime.fromtimestamp((found.start_time or 0) / 1000, UTC).isoformat(timespec="seconds")
    return Job(
        found.submission_id,
        metadata.get(SWEEP, ""),
        metadata.get(OWNER, ""),
        str(found.status.value),
        submitted,
        found.driver_exit_code,
        found.message or "",
    )


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}…"


def words(command: Sequence[str]) -> str:
    """The words of a command as one line for a shell."""
    return shlex.join(command)


PACKAGES = ("trainers", "search_spaces", "sweeper", "reports")
SUFFIXES = (".py", ".c", ".json", ".yaml", ".csv", ".bib", ".j2", ".css", ".js", ".sql", ".txt")
SPEC = "sweep.yaml"


def write_submission(folder: Path, spec_text: str | None, more: Mapping[str, bytes] = MappingProxyType({})) -> None:
    """Fills an empty folder with what a job needs; other kinds of file than the packages have are left out.

    `more`: the files of plug-ins, by their paths.
    """
    for package in PACKAGES:
        root = Path(str(files(package)))
        for path in sorted(root.rglob("*")):
            if path.suffix in SUFFIXES and path.is_file() and not path.is_symlink():
                target = folder / package / path.relative_to(root)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
    if spec_text is not None:
        (folder / SPEC).write_text(spec_text, encoding="utf-8")
    for name, content in more.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    versions = {"python": f"{sys.version_info[0]}.{sys.version_info[1]}", "ray": version("ray")}
    (folder / SUBMISSION).write_text(json.dumps({"versions": versions, "sources": sources()}), encoding="utf-8")
