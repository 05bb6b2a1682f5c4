"""The tables that a script makes are those that MLflow makes itself.

For a new version of MLflow: `python -m tests.sweeper.tracking.test_new_database --renew`, and remove the old script.
"""

import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from sweeper.tracking import new_database
from sweeper.tracking.mlflow_client import client


def by_mlflow(folder: Path) -> Path:
    """A database that MLflow sets up itself."""
    made = new_database.set_up
    try:
        new_database.set_up = lambda file: None
        client(f"sqlite:///{folder}/own.db")
    finally:
        new_database.set_up = made
    return folder / "own.db"


def in_any_order(sql: str) -> list[str]:
    """Its lines, sorted: in which order the constraints of a table come differs between processes of MLflow."""
    return sorted(line.strip().rstrip(", ") for line in sql.splitlines())


def tables(file: Path) -> list[tuple[str, str, str, list[str]]]:
    with closing(sqlite3.connect(file)) as database:
        found = database.execute("SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_master").fetchall()
    return sorted((kind, name, table, in_any_order(sql)) for kind, name, table, sql in found)


def rows(file: Path) -> dict[str, list[tuple[object, ...]]]:
    """What is in the tables, but for the times of the experiment that MLflow adds and the folder that it is for."""
    with closing(sqlite3.connect(file)) as database:
        names = [name for kind, name, *_ in tables(file) if kind == "table"]
        found = {name: database.execute(f'SELECT * FROM "{name}"').fetchall() for name in names}
    found["experiments"] = [row[:2] for row in found["experiments"]]
    return {name: there for name, there in found.items() if there}


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Path:
    return by_mlflow(tmp_path_factory.mktemp("own"))


def test_the_script_for_the_installed_mlflow_is_there_and_up_to_date(own):
    kept, made = new_database.script().read_text().split(";\n"), new_database.script_of(own).split(";\n")
    assert [*map(in_any_order, kept)] == [*map(in_any_order, made)], __doc__


def test_a_new_file_has_the_tables_and_rows_that_mlflow_gives_it(own, tmp_path, monkeypatch):
    monkeypatch.setattr("mlflow.store.db.utils._initialize_tables", lambda engine: pytest.fail("MLflow made them"))
    client(f"sqlite:///{tmp_path}/new.db")
    assert tables(tmp_path / "new.db") == tables(own)
    assert rows(tmp_path / "new.db") == rows(own)
    assert rows(own)["experiments"] == [(0, "Default")]


def test_a_file_with_tables_and_one_of_another_mlflow_are_left_to_mlflow(own, tmp_path, monkeypatch):
    shutil.copy(own, tmp_path / "kept.db")
    new_database.set_up(tmp_path / "kept.db")
    assert (tmp_path / "kept.db").read_bytes() == own.read_bytes()
    monkeypatch.setattr(new_database, "version", lambda name: "3.18.0")
    new_database.set_up(tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()


def test_a_place_where_no_database_can_be_made_is_left_for_mlflow_to_name(tmp_path):
    new_database.set_up(tmp_path / "no folder" / "new.db")
    (tmp_path / "no database.db").write_text("a text that somebody keeps here")
    new_database.set_up(tmp_path / "no database.db")
    assert (tmp_path / "no database.db").read_text() == "a text that somebody keeps here"


if __name__ == "__main__":
    assert sys.argv[1:] == ["--renew"], __doc__
    with tempfile.TemporaryDirectory() as folder:
        new_database.script().write_text(new_database.script_of(by_mlflow(Path(folder))))
