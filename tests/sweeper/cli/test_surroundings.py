"""Every command in every broken surrounding: it does its work, or says in a line what is wrong; no traceback."""

import contextlib
import json
import re
import shutil
import sqlite3
import tempfile
from pathlib import Path

import pytest

from sweeper.cli.commands import mlflow as mlflow_commands
from sweeper.cli.main import COMMANDS, main
from sweeper.records.sweep_folder import SweepFolder
from sweeper.storage import tracking_file
from sweeper.tracking import tracker
from tests.sweeper.small_sweeps import TINY
from trainers.errors import InvalidInput

SPEC = TINY.replace("seeds: 2", "seeds: 1").replace("[1, 2]", "[1]").replace("budget_epochs: 3", "budget_epochs: 2")


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    """A folder with a spec and a storage in which it was launched and tracked. Copy it before you change it."""
    folder = tmp_path_factory.mktemp("kept")
    (folder / "tiny.yaml").write_text(SPEC)
    assert main(["launch", f"{folder}/tiny.yaml", "--storage", f"{folder}/storage", "--local"]) == 0
    return folder


def database_is_damaged(storage):
    (storage / "mlflow.db").write_bytes(b"SQLite format 3\0" + b"no database" * 999)


def database_is_cut(storage):
    file = storage / "mlflow.db"
    file.write_bytes(file.read_bytes()[: 5 * 4096])


def database_is_of_another_version(storage):
    with contextlib.closing(sqlite3.connect(storage / "mlflow.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'of-tomorrow'")


def database_is_another_programs(storage):
    (storage / "mlflow.db").unlink()
    with contextlib.closing(sqlite3.connect(storage / "mlflow.db")) as connection, connection:
        connection.execute("CREATE TABLE experiments (id INTEGER)")


def database_is_a_folder(storage):
    (storage / "mlflow.db").unlink()
    (storage / "mlflow.db").mkdir()


def sweep_file_is_garbage(storage):
    (storage / "sweeps/tiny/sweep.json").write_text("{'no': json")


def sweep_file_is_of_a_newer_version(storage):
    (storage / "sweeps/tiny/sweep.json").write_text('{"name": "tiny", "colour": "red"}')


def sweep_file_has_wrong_kinds(storage):
    (storage / "sweeps/tiny/sweep.json").write_text(
        '{"name": "tiny", "spec_hash": "", "tracking": 7, "digests": [], "launches": {"a": 1}, "options": 3}'
    )


def spec_is_garbage(storage):
    (storage / "sweeps/tiny/spec.yaml").write_bytes(b"name: [\xff\n")


def spec_is_gone(storage):
    (storage / "sweeps/tiny/spec.yaml").unlink()


def versions_are_garbage(storage):
    (storage / "sweeps/tiny/versions.json").write_text('[{"number": 1}, 7]')


def storage_is_a_file(storage):
    shutil.rmtree(storage)
    storage.write_text("")


def stages_are_a_file(storage):
    shutil.rmtree(storage / "stages")
    (storage / "stages").write_text("")


BROKEN = [
    database_is_damaged, database_is_cut, database_is_of_another_version, database_is_another_programs,
    database_is_a_folder, sweep_file_is_garbage, sweep_file_is_of_a_newer_version, sweep_file_has_wrong_kinds,
    spec_is_garbage, spec_is_gone, versions_are_garbage, storage_is_a_file, stages_are_a_file,
]  # fmt: skip


def lines_of(folder: Path) -> dict[str, list[str]]:
    """A command line for each command, without the storage."""
    spec, out, once = folder / "tiny.yaml", folder / "out", ("--local", "--max-retries", "0")
    (folder / "record.json").write_text("[]")
    return {
        "plan": ["plan", spec], "launch": ["launch", spec, *once], "stop": ["stop", "tiny"],
        "resume": ["resume", "tiny", *once], "retry": ["retry", "tiny", *once], "status": ["status"],
        "runs": ["runs", "tiny"], "compare": ["compare", "tiny", "tiny"], "track": ["track", "tiny"],
        "ui": ["ui", "tiny"], "report": ["report", "tiny", "-o", out], "export": ["export", "tiny", "-o", out],
        "import": ["import", folder / "record.json", "--sweep", "other"], "gc": ["gc"],
        "history": ["history", "tiny"], "rename": ["rename", "tiny", "small"], "delete": ["delete", "tiny"],
        "recipe": ["recipe", "tiny"],
    }  # fmt: skip


WITHOUT_STORAGE = {"logs", "data", "plugin", "schema", "completion"}


@pytest.fixture
def hurried(monkeypatch):
    """No server is started, and nobody waits for a database."""

    def no_server(*_):
        raise InvalidInput("ui: no server in this test")

    monkeypatch.setattr(mlflow_commands, "_start", no_server)
    monkeypatch.setattr(tracking_file, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(tracker, "FIRST_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(tracker, "GIVE_UP_AFTER", 1)


def test_every_command_with_a_storage_has_a_line_here(tmp_path):
    assert lines_of(tmp_path).keys() == COMMANDS.keys() - WITHOUT_STORAGE


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - WITHOUT_STORAGE))
def test_a_command_in_a_broken_surrounding_says_so_in_a_line(kept, tmp_path, hurried, capsys, name, broken):
    folder = tmp_path / "own"
    shutil.copytree(kept, folder)
    broken(folder / "storage")
    code = main([*map(str, lines_of(folder)[name]), "--storage", f"{folder}/storage"])
    out, message = capsys.readouterr()
    assert code in (0, 1, 2, 3), message
    assert "Traceback" not in out + message
    assert all(line.startswith("sweeper: ") for line in message.splitlines()), message
    assert code == 0 or out or message


@pytest.mark.parametrize("name", ["launch", "resume", "track", "ui", "report"])
def test_a_database_that_another_program_holds_is_named(kept, tmp_path, hurried, capsys, name):
    folder = tmp_path / "own"
    shutil.copytree(kept, folder)
    with contextlib.closing(sqlite3.connect(folder / "storage/mlflow.db")) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        assert main([*map(str, lines_of(folder)[name]), "--storage", f"{folder}/storage"]) == 2
    message = capsys.readouterr().err
    assert message == f"sweeper: error: tracking: cannot write to {folder}/storage/mlflow.db: database is locked\n"


@pytest.mark.parametrize("name", ["launch", "track", "ui", "report", "import"])
def test_an_address_of_another_kind_is_named(kept, capsys, name):
    line = [*map(str, lines_of(kept)[name]), "--storage", f"{kept}/storage", "--tracking", "ftp://host/mlflow"]
    assert main(line) == 2
    assert capsys.readouterr().err.startswith("sweeper: error: tracking: 'ftp' is not a scheme of an address such as ")


@pytest.fixture
def bug(monkeypatch, tmp_path):
    """A command that fails in a way that nobody thought of."""

    def fail(*_):
        raise KeyError("nobody thought of http://ann:secret@here/")

    monkeypatch.setattr(SweepFolder, "names", fail)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_what_nobody_thought_of_ends_in_lines_and_a_file_to_report(bug, tmp_path, capsys):
    assert main(["status", "--storage", str(tmp_path)]) == 70
    message = capsys.readouterr().err
    (file,) = tmp_path.glob("sweeper-fault-*.txt")
    assert "Traceback" not in message
    assert str(file) in message
    text = file.read_text()
    assert "Traceback" in text and f"arguments: ['status', '--storage', '{tmp_path}']" in text
    assert "KeyError" in message and "http://ann:***@here/" in message and "http://ann:***@here/" in text
    assert "secret" not in message + text


def test_where_no_file_can_be_written_the_traceback_is_on_stderr(bug, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    assert main(["status", "--storage", str(tmp_path)]) == 70
    message = capsys.readouterr().err
    assert "No such file or directory" in message and "Traceback" in message


@pytest.mark.parametrize(
    ("broken", "fault"),
    [
        (sweep_file_is_of_a_newer_version, "sweep.json: colour: a field that this version does not know"),
        (sweep_file_has_wrong_kinds, "sweep.json: tracking: should be a valid string, not 7"),
        (spec_is_garbage, "spec.yaml is not UTF-8 text (byte 8: "),
        (versions_are_garbage, "versions.json: "),
    ],
)
def test_a_sweep_that_cannot_be_read_is_named_and_the_others_are_shown(kept, tmp_path, capsys, broken, fault):
    storage = shutil.copytree(kept / "storage", tmp_path / "storage")
    shutil.copytree(storage / "sweeps/tiny", storage / "sweeps/other")
    spec = storage / "sweeps/other/spec.yaml"
    spec.write_text(spec.read_text().replace("name: tiny", "name: other"))
    broken(storage)
    assert main(["status", "--storage", str(storage)]) == 1
    out, message = capsys.readouterr()
    assert re.search(r"^other.* completed ", out, re.MULTILINE) and re.search(r"^tiny +unreadable", out, re.MULTILINE)
    assert fault in message
    assert main(["status", "--storage", str(storage), "--json"]) == 1
    first, second = json.loads(capsys.readouterr().out)
    assert first["sweep"] == "other" and second["sweep"] == "tiny" and fault in second["error"]
    assert main(["status", "other", "--storage", str(storage)]) == 0
