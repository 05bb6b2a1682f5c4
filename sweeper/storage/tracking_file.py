"""An SQLite file that MLflow tracks to: its address, and where its runs' artifacts lie, beside it. Needs no MLflow."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote

from trainers.errors import InvalidInput

ADDRESS = "sqlite:///"
# MLflow's own scheme for "in the folder that the database's server hands out": relative, so both can be moved together.
RELATIVE = "mlflow-artifacts:/"
PATIENCE_SECONDS = 30.0  # for another process that writes to the file


def is_file(address: str) -> bool:
    """Whether this is the address of an SQLite file, as `sweeper.storage.tracking_address.understood` gives it."""
    return address.startswith(ADDRESS)


def file_of(address: str) -> Path:
    """The path of the file, which its address holds character by character."""
    return Path(address.removeprefix(ADDRESS))


def address_for_mlflow(address: str) -> str:
    """The address in the form that SQLAlchemy reads, where `%` and `?` have a meaning.

    With its driver named, because MLflow makes the parent folders of what follows a bare sqlite:///, quoted as it is.
    """
    path = address.removeprefix(ADDRESS)
    if not is_file(address) or not {"%", "?"} & set(path):
        return address
    return f"sqlite+pysqlite:///{quote(path)}"


@contextmanager
def one_at_a_time(address: str) -> Iterator[None]:
    """Lets one process of a machine at a time open a tracking file: MLflow fails where two make its tables at once.

    By a lock on the file's folder, which leaves no file behind; where there can be none, as on some network disks, as
    without.
    """
    folder = None
    try:
        if is_file(address):
            with suppress(OSError):
                folder = os.open(file_of(address).absolute().parent, os.O_RDONLY)
                fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        if folder is not None:
            os.close(folder)


def artifacts_beside(address: str) -> Path:
    """The folder for what MLflow keeps in files."""
    return file_of(address).absolute().parent / "artifacts"


def artifacts_of(address: str, sweep: str) -> str | None:
    """Where a new experiment keeps its artifacts, relative to its database; None: its server decides."""
    return f"{RELATIVE}{sweep}" if is_file(address) else None


def artifacts_folder(address: str, artifacts: str) -> Path | None:
    """The folder of a run whose artifacts are at `artifacts`; None where MLflow itself finds it.

    `address`: of its database, as MLflow is given it.
    """
    scheme, _, path = address.partition(":///")
    inside = PurePosixPath(artifacts.removeprefix(RELATIVE))
    if scheme.partition("+")[0] != "sqlite" or not artifacts.startswith(RELATIVE) or ".." in inside.parts:
        return None
    return artifacts_beside(f"{ADDRESS}{unquote(path)}") / inside.relative_to(inside.anchor)


def artifacts_recorded(database: Path, sweep: str) -> str | None:
    """Where the database says that a sweep's artifacts are; None where it knows no such sweep, or is none."""
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            found = connection.execute("SELECT artifact_location FROM experiments WHERE name = ?", [sweep]).fetchone()
    except sqlite3.Error:
        return None
    return str(found[0]) if found else None


SWEEPS = """\
SELECT experiment_id, name, artifact_location FROM experiments
WHERE substr(artifact_location, -length('/artifacts/' || name)) = '/artifacts/' || name
AND EXISTS (SELECT 1 FROM runs JOIN tags USING (run_uuid) WHERE runs.experiment_id = experiments.experiment_id
AND tags.key = 'sweeper.kind')"""
RUNS = """\
UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?)
WHERE experiment_id = ? AND substr(artifact_uri, 1, ?) = ?"""
EXPERIMENT = "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?"
CANNOT_BE_WRITTEN = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


def make_movable(database: Path) -> None:
    """Makes the sweeps' artifact addresses relative, which earlier versions wrote as paths from the root.

    They are then those beside the database, wherever it lies. One that is read-only, or empty, stays as it is.

    Raises InvalidInput where another process writes to it for long, and where it is damaged.
    """
    try:
        with closing(sqlite3.connect(database, timeout=PATIENCE_SECONDS)) as connection, connection:
            for number, name, location in connection.execute(SWEEPS).fetchall():
                new, length = RELATIVE + name, len(location) + 1
                connection.execute(RUNS, [new, length, number, length, f"{location}/"])
                connection.execute(EXPERIMENT, [new, number])
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in CANNOT_BE_WRITTEN and "no such table" not in str(error):
            raise InvalidInput(f"tracking: cannot write to {database}: {error}") from None
    except sqlite3.DatabaseError as error:
        raise InvalidInput(
            f"tracking: {database} is damaged ({error}); move it away, and sweeper track makes one anew"
        ) from None
