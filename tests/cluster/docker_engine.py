"""Docker for tests: the engine of this machine, or one started while a test lasts; a stack of our own on it."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port
from tests.waiting import PATIENCE_SECONDS, ending_of

ROOT = Path(__file__).resolve().parents[2]
BASE_IMAGES = ("python:3.11-slim-bookworm", "postgres:17-bookworm")
# What a checkout needs for the stack; the rest of the repository stays away.
NEEDED = (
    "docker-compose.yml", "Dockerfile", ".dockerignore", ".env.example", "Makefile", "pyproject.toml",
    "constraints.txt", "README.md", "LICENSE", "docker", "docs/examples", "scripts",
    "trainers", "search_spaces", "sweeper", "reports",
)  # fmt: skip
CHUNK = 1 << 24


def run(words: Sequence[object], **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, words)), capture_output=True, text=True, stdin=subprocess.DEVNULL, **options)


@contextlib.contextmanager
def docker_engine() -> Iterator[None]:
    """Docker's commands reach an engine inside. Skips, with the reason, where there is none and none can be started."""
    if shutil.which("docker") is None:
        pytest.skip("Docker is not installed (Debian: docker.io)")
    if run(["docker", "info"]).returncode == 0:
        yield
        return
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip("no Docker engine answers, and only root, with dockerd installed, can start one")
    folder = Path(tempfile.mkdtemp(prefix="sweeper-docker-"))
    address = f"unix://{folder}/socket"
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            ["dockerd", f"--host={address}", f"--pidfile={folder}/pid", f"--exec-root={folder}/run"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    before = os.environ.get("DOCKER_HOST")
    os.environ["DOCKER_HOST"] = address
    try:
        while run(["docker", "info"]).returncode != 0:
            if server.poll() is not None:
                last = (folder / "log").read_text().strip().splitlines()[-1:]
                pytest.skip(f"the Docker engine does not run here: {''.join(last)}")
            time.sleep(0.5)
        yield
    finally:
        del os.environ["DOCKER_HOST"]
        if before is not None:
            os.environ["DOCKER_HOST"] = before
        server.terminate()
        ending_of(server)
        shutil.rmtree(folder, ignore_errors=True)


def ensure_base_images() -> None:
    """Those that are absent are pulled, or made of Debian's packages; skips where neither can be."""
    for image in BASE_IMAGES:
        if run(["docker", "image", "inspect", image]).returncode == 0 or run(["docker", "pull", image]).returncode == 0:
            continue
        if os.geteuid() != 0 or shutil.which("debootstrap") is None:
            pytest.skip(f"{image} cannot be pulled, and only root, with debootstrap installed, can make it")
        made = run([ROOT / "scripts" / "local_base_images.sh"])
        assert made.returncode == 0, made.stdout[-3000:] + made.stderr[-3000:]
        return


def compose_command() -> list[str]:
    """Docker Compose, whichever is installed; skips where none is."""
    if shutil.which("docker") and run(["docker", "compose", "version"]).returncode == 0:
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    pytest.skip("Docker Compose is not installed")


class Stack:
    """A checkout, and the containers, networks and volumes that are made from it, under a name of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.compose = folder, compose_command()
        for name in NEEDED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder / name)
        self.mlflow_port, self.ray_port = free_port(), free_port()
        self.variables = {
            **os.environ,
            "COMPOSE_PROJECT_NAME": f"sweeper-test-{os.getpid()}",
            "SWEEPER_TAG": "under-test",
            "MLFLOW_PORT": str(self.mlflow_port),
            "RAY_PORT": str(self.ray_port),
        }

    # What is called

    def make(self, *words: str) -> str:
        done = run(["make", f"COMPOSE={' '.join(self.compose)}", *words], cwd=self.folder, env=self.variables)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout + done.stderr

    def command(self, *words: object) -> list[str]:
        return [*self.compose, *map(str, words)]

    def call(self, *words: object) -> subprocess.CompletedProcess[str]:
        return run(self.command(*words), cwd=self.folder, env=self.variables)

    def start(self, *words: object, out: Path) -> subprocess.Popen[bytes]:
        with out.open("wb") as file:
            return subprocess.Popen(
                self.command(*words), cwd=self.folder, env=self.variables, stdin=subprocess.DEVNULL,
                stdout=file, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def inside(self, service: str, script: str) -> str:
        """What a shell in a container says, errors included."""
        done = self.call("exec", "-T", service, "sh", "-c", script)
        return done.stdout + done.stderr

    def sweeper(self, *words: object) -> subprocess.CompletedProcess[str]:
        """As docs/cluster.md says: with this folder as /here, and its files ours."""
        user = f"{os.getuid()}:{os.getgid()}"
        return self.call("run", "--rm", "-T", "--user", user, "-v", f"{self.folder}:/here", "-w", "/here",
                         "sweeper", *words)  # fmt: skip

    def end(self) -> None:
        self.call("--profile", "cpu", "down", "--volumes", "--timeout", "5")

    # What is seen

    @property
    def secrets(self) -> dict[str, str]:
        return dict(re.findall(r"^(\w+)=([0-9a-f]{64})$", (self.folder / ".env").read_text(), re.MULTILINE))

    def inspect(self, service: str) -> dict[str, Any]:
        container = self.call("ps", "-q", service).stdout.strip()
        assert container, f"{service} has no container"
        found: list[dict[str, Any]] = json.loads(run(["docker", "inspect", container]).stdout)
        return found[0]

    def health(self, service: str) -> str:
        state = self.inspect(service)["State"]
        return str(state["Health"]["Status"]) if state["Running"] else str(state["Status"])

    def answer(self, url: str, data: object = None, **headers: str) -> tuple[int, bytes]:
        """The status and the body of what one of the published ports says."""
        body = None if data is None else json.dumps(data).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json", **headers})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def mlflow(self, path: str, data: object = None) -> Any:
        """MLflow's REST API, asked by the administrator."""
        login = b64encode(f"admin:{self.secrets['MLFLOW_ADMIN_PASSWORD']}".encode()).decode()
        url = f"http://127.0.0.1:{self.mlflow_port}/api/2.0/mlflow/{path}"
        status, body = self.answer(url, data, Authorization=f"Basic {login}")
        assert status == 200, body
        return json.loads(body)

    def artifact(self, run_id: str, name: str) -> bytes:
        login = b64encode(f"admin:{self.secrets['MLFLOW_ADMIN_PASSWORD']}".encode()).decode()
        url = f"http://127.0.0.1:{self.mlflow_port}/get-artifact?run_uuid={run_id}&path={name}"
        status, body = self.answer(url, Authorization=f"Basic {login}")
        assert status == 200, body
        return body

    def tracked(self, sweep: str) -> list[dict[str, Any]]:
        """All runs of a sweep's experiment, as MLflow has them."""
        experiment = self.mlflow(f"experiments/get-by-name?experiment_name={sweep}")["experiment"]["experiment_id"]
        found = self.mlflow("runs/search", {"experiment_ids": [experiment], "max_results": 1000})
        runs: list[dict[str, Any]] = found.get("runs", [])
        return runs


def image_files(image: str) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Everything that `docker save` hands out of an image, layers unpacked, as names and pieces of content."""
    with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saving:
        assert saving.stdout is not None
        with tarfile.open(fileobj=saving.stdout, mode="r|") as tar:
            for member in tar:
                if (file := tar.extractfile(member)) is not None:
                    yield member.name, _pieces(file)
        while saving.stdout.read(CHUNK):  # what fills the last block
            pass
    assert saving.returncode == 0


def _pieces(file: Any) -> Iterator[bytes]:
    first = file.read(CHUNK)
    if first[:2] == b"\x1f\x8b":  # a compressed layer, as newer engines keep them
        file = gzip.GzipFile(fileobj=_Prepended(first, file))
        first = file.read(CHUNK)
    while first:
        yield first
        first = file.read(CHUNK)


class _Prepended:
    """A stream whose beginning was read already."""

    def __init__(self, first: bytes, rest: Any) -> None:
        self.first, self.rest = first, rest

    def read(self, size: int) -> bytes:
        piece, self.first = self.first[:size], self.first[size:]
        return piece or self.rest.read(size)


def holders(image: str, needles: Sequence[bytes]) -> dict[bytes, set[str]]:
    """In which files of an image's archive (layers are files there) each of these is found."""
    found: dict[bytes, set[str]] = {needle: set() for needle in needles}
    overlap = max(map(len, needles)) - 1
    for name, pieces in image_files(image):
        tail = b""
        for piece in pieces:
            text = tail + piece
            for needle in needles:
                if needle in text:
                    found[needle].add(name)
            tail = text[-overlap:]
    return found
