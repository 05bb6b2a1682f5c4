"""MLflow's own server, the real one, with log-in and without."""

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tests.ports import free_port
from tests.sweeper.processes import environment
from tests.waiting import PATIENCE_SECONDS, wait_until

BASIC_AUTH = Path(__file__).resolve().parents[3] / "docker" / "basic_auth.ini"


class Server:
    """MLflow's own, on a free port."""

    process = None
    app: tuple[str, ...] = ()
    password = ""  # of the administrator, where there is a log-in

    def __init__(self, database, files):
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.database = database
        self.files = files

    def start(self, **variables):
        where = ["--backend-store-uri", self.database, "--artifacts-destination", str(self.files), *self.app]
        command = [sys.executable, "-m", "mlflow", "server", "--port", str(self.port), "--workers", "1", *where]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        self.process = subprocess.Popen(
            command, env=environment() | settings | variables, start_new_session=True, **quiet
        )
        wait_until(self.answers, self.process)

    def answers(self):
        try:
            return urlopen(f"{self.address}/health", timeout=PATIENCE_SECONDS).read() == b"OK"
        except (URLError, OSError):
            return False

    def kill(self):
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


class WithLogin(Server):
    app = ("--app-name", "basic-auth")


@contextmanager
def server_with_login(folder: Path, empty_mlflow: Path) -> Iterator[Server]:
    """One that keeps to docker/basic_auth.ini, but for where users are kept."""
    shutil.copy(empty_mlflow, folder / "mlflow.db")
    text = BASIC_AUTH.read_text()
    (folder / "auth.ini").write_text(re.sub("(?<=database_uri = ).*", f"sqlite:///{folder}/users.db", text))
    server = WithLogin(f"sqlite:///{folder}/mlflow.db", folder / "files")
    server.password = secrets.token_hex(16)
    settings = {
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
        "MLFLOW_AUTH_ADMIN_PASSWORD": server.password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16),
    }
    try:
        server.start(**settings)
        yield server
    finally:
        server.kill()
