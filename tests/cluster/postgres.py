"""A PostgreSQL of our own, the real one as Debian packs it."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.waiting import wait_until

OWNER = "postgres"  # who runs it: PostgreSQL refuses to be root


class Postgres:
    """A PostgreSQL of our own in a new folder, with a user `mlflow` and a database of that name."""

    def __init__(self, folder: Path, programs: Path, address: str, port: int, password: str) -> None:
        self.folder, self.programs = folder, programs
        self.address, self.port, self.password = address, port, password
        self.prefix: tuple[str, ...] = ()  # before the command that starts it, such as `ip netns exec NAME`

    @property
    def variables(self) -> dict[str, str]:
        """What libpq's programs must know to reach it."""
        return {"PGHOST": self.address, "PGPORT": str(self.port), "PGPASSWORD": self.password}

    def create(self) -> None:
        secret = self.folder / "password"
        secret.write_text(self.password)
        shutil.chown(secret, OWNER, OWNER)
        self._run("initdb", "--pgdata", self.data, "--username=mlflow", "--auth=scram-sha-256", "--no-sync",
                  f"--pwfile={secret}")  # fmt: skip
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(f"listen_addresses = '{self.address}'\nport = {self.port}\nfsync = off\n")
            file.write(f"unix_socket_directories = '{self.folder}'\nshared_buffers = 32MB\n")
        with (self.data / "pg_hba.conf").open("a") as file:
            file.write("host all all samenet scram-sha-256\n")

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        self._run("pg_ctl", "start", "--wait", "--pgdata", self.data, "--log", self.folder / "log")

    def stop(self, mode: str = "immediate") -> None:
        self._run("pg_ctl", "stop", "--wait", "--pgdata", self.data, f"--mode={mode}")

    def create_database(self) -> None:
        self.query("create database mlflow", "postgres")

    def query(self, text: str, database: str = "mlflow") -> str:
        command = ["psql", "--no-psqlrc", "--username=mlflow", f"--dbname={database}", "--tuples-only", "--no-align"]
        done = subprocess.run(
            [*self.prefix, *command, f"--command={text}"],
            env={**os.environ, **self.variables}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout.strip()

    def _run(self, program: str, *arguments: object) -> None:
        as_owner = ["setpriv", f"--reuid={OWNER}", f"--regid={OWNER}", "--clear-groups"]
        command = [*self.prefix, *as_owner, str(self.programs / program), *map(str, arguments)]
        done = subprocess.run(
            command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert done.returncode == 0, done.stdout.decode()


def postgres_programs() -> Path:
    """Where they lie. Raises OSError where there are none, or nobody to run them."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs or os.geteuid() != 0:
        raise OSError("needs Debian's postgresql, and root to run it as its own user")
    try:
        pwd.getpwnam(OWNER)
    except KeyError:
        raise OSError(f"no user {OWNER} runs PostgreSQL here") from None
    return programs[-1]


@contextlib.contextmanager
def postgres_server(address: str, port: int, password: str, prefix: tuple[str, ...] = ()) -> Iterator[Postgres]:
    """One that runs inside, and leaves nothing behind. Raises OSError where there is none, or nobody to run it."""
    programs = postgres_programs()
    folder = Path(tempfile.mkdtemp(prefix="sweeper-postgres-"))  # not below tmp_path, which only root may enter
    shutil.chown(folder, OWNER, OWNER)
    server = Postgres(folder, programs, address, port, password)
    server.prefix = prefix
    try:
        server.create()
        server.start()
        server.create_database()
        yield server
    finally:
        with contextlib.suppress(OSError):  # it has ended, maybe with the network that it was on
            pid = int((server.data / "postmaster.pid").read_text().split()[0])
            os.kill(pid, signal.SIGQUIT)
            wait_until(lambda pid=pid: not Path(f"/proc/{pid}").exists())
        shutil.rmtree(server.folder)
