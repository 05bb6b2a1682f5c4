"""The tables of MLflow in a new SQLite file, from a script: MLflow's own migrations take 2 s of a core for them."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path

from sweeper.storage.tracking_file import PATIENCE_SECONDS

# What is not SQLite's own: tables as they follow one another, then the rest, which MLflow makes in any order.
MADE = """
SELECT sql FROM sqlite_master WHERE sql NOT NULL AND name NOT LIKE 'sqlite_%'
ORDER BY type != 'table', CASE type WHEN 'table' THEN rowid ELSE name END
"""


def script() -> Path:
    """Where the script for the installed version of MLflow is, if there is one."""
    return Path(__file__).with_name(f"mlflow_{version('mlflow')}.sql")


def set_up(file: Path) -> None:
    """Makes the tables, if the file has none yet; left to MLflow where its version has no script, or anything fails."""
    if (file.exists() and file.stat().st_size) or not script().exists():
        return
    with suppress(sqlite3.Error), closing(sqlite3.connect(file, PATIENCE_SECONDS)) as database:
        # Fails as a whole where another process has made them meanwhile.
        database.executescript(f"BEGIN IMMEDIATE;\n{script().read_text()}COMMIT;\n")


def script_of(file: Path) -> str:
    """The script that makes the tables of a database that MLflow has set up, without what it adds to them later."""
    with closing(sqlite3.connect(file)) as database:
        made = [sql for (sql,) in database.execute(MADE)]
        added = [line.rstrip(";") for line in database.iterdump() if line.startswith("INSERT")]
    kept = [line for line in added if not line.startswith('INSERT INTO "experiments"')]  # with times and folders
    return "".join(f"{statement};\n" for statement in [*made, *kept])
