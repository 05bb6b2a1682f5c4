"""A storage is one place: one that is copied or moved, or lies in a folder of any name, reads and writes its own."""

import contextlib
import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from reports.tracked.runs import read_sweeps
from sweeper.records.sweep_folder import SweepFolder
from sweeper.storage.folder import Folder
from tests.sweeper.cli.answers import said, wrong

SPEC = """\
name: {name}
recipe: {{network: lenet, dataset: digits, preset: icml, method: slot_machine, options: 2, width: 0.1}}
budget_epochs: 1
slot_epochs: [1]
seeds: 1
"""
ODD = "o d%20d#?+&ü'\"\\x:y"


def spec(folder: Path, name: str) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(SPEC.format(name=name))
    return path


@pytest.fixture(params=["now", "earlier"])
def launched(request, tmp_path, storage, capsys) -> Path:
    """The storage of a launch, as it is written now and as earlier versions wrote it."""
    assert said(capsys, "launch", spec(tmp_path, "tiny"), "--storage", storage, "--local")[0] == 0
    if request.param == "earlier":
        as_earlier_versions_wrote(storage)
    return storage


def as_earlier_versions_wrote(storage: Path) -> None:
    """Every address as a path from the root."""
    with contextlib.closing(sqlite3.connect(storage / "mlflow.db")) as connection, connection:
        now, then = "mlflow-artifacts:/tiny", f"{storage}/artifacts/tiny"
        connection.execute("UPDATE experiments SET artifact_location = replace(artifact_location, ?, ?)", [now, then])
        connection.execute("UPDATE runs SET artifact_uri = replace(artifact_uri, ?, ?)", [now, then])
    path = storage / "sweeps" / "tiny" / "sweep.json"
    file = json.loads(path.read_text()) | {"tracking": f"sqlite:///{storage}/mlflow.db"}
    file.pop("tracked_elsewhere", None)
    path.write_text(json.dumps(file))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def locations(storage: Path) -> set[str]:
    """Where the database in a storage says that artifacts of sweeps are."""
    with contextlib.closing(sqlite3.connect(storage / "mlflow.db")) as connection:
        found = connection.execute("SELECT artifact_location FROM experiments WHERE experiment_id > 0").fetchall()
        found += connection.execute("SELECT artifact_uri FROM runs").fetchall()
    return {location for (location,) in found}


def specs_kept(storage: Path) -> list[str]:
    """The sweeps of which a spec is among the artifacts in a storage."""
    return sorted(
        path.relative_to(storage / "artifacts").parts[0] for path in storage.glob("artifacts/*/*/*/spec.yaml")
    )


def test_a_copied_storage_goes_on_by_itself_and_leaves_the_original_alone(launched, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(launched, copy)
    before = contents(launched)
    code, out, _ = said(capsys, "resume", "tiny", "--storage", copy, "--local")
    assert code == 0 and f"Tracking: sqlite:///{copy}/mlflow.db" in out
    more = ("--set", "seeds=2", "--storage", copy, "--local")
    assert said(capsys, "launch", tmp_path / "tiny.yaml", *more)[0] == 0
    assert said(capsys, "report", "tiny", "--storage", copy, "-o", tmp_path / "report")[0] == 0
    assert contents(launched) == before
    assert {location.partition("/")[0] for location in locations(copy)} == {"mlflow-artifacts:"}
    assert len(list(copy.glob("artifacts/tiny/*/artifacts/selection.json"))) == 2
    assert len(list(copy.glob("artifacts/tiny/*/artifacts/report.html"))) == 1


def test_a_moved_storage_works_where_it_lies_and_the_old_folder_stays_gone(launched, tmp_path, capsys):
    from sweeper.cli.commands.mlflow import tracking_of

    moved = tmp_path / "elsewhere" / "moved"
    moved.parent.mkdir()
    launched.rename(moved)
    own = f"sqlite:///{moved}/mlflow.db"
    there = ("--storage", moved)
    assert said(capsys, "track", "tiny", *there) == (0, "MLflow shows all 1 trial of tiny as they are.\n", "")
    assert tracking_of(Folder(moved), None, ["tiny"]) == own
    assert said(capsys, "report", "tiny", *there, "-o", tmp_path / "report")[0] == 0
    assert "name: tiny" in read_sweeps(["tiny"], own).sweeps[0].spec, "the artifacts are found"
    code, out, _ = said(capsys, "resume", "tiny", *there, "--local")
    assert code == 0 and f"Tracking: {own}" in out
    assert said(capsys, "launch", spec(tmp_path, "tiny"), *there, "--local")[0] == 0
    assert said(capsys, "launch", spec(tmp_path, "fresh"), *there, "--local")[0] == 0
    assert specs_kept(moved) == ["fresh", "tiny"]
    assert not launched.exists()
    (status,) = json.loads(said(capsys, "status", "tiny", *there, "--json")[1])
    assert status["tracking"] == own


def test_a_fresh_launch_of_a_moved_sweep_keeps_its_artifacts_in_the_storage(launched, tmp_path, capsys):
    moved = tmp_path / "moved"
    launched.rename(moved)
    shutil.rmtree(moved / "artifacts")
    assert said(capsys, "launch", spec(tmp_path, "tiny"), "--storage", moved, "--local")[0] == 0
    assert specs_kept(moved) == ["tiny"] and not launched.exists()


def test_a_moved_storage_in_whose_old_place_there_is_another_one_uses_its_own(launched, tmp_path, capsys):
    moved = tmp_path / "moved"
    shutil.copy(launched / "mlflow.db", tmp_path / "other.db")
    launched.rename(moved)
    launched.mkdir()
    shutil.copy(tmp_path / "other.db", launched / "mlflow.db")
    before = contents(launched)
    assert said(capsys, "resume", "tiny", "--storage", moved, "--local")[0] == 0
    assert contents(launched) == before


def test_a_storage_reached_by_links_other_folders_and_slashes_is_one_place(tmp_path, storage, capsys, monkeypatch):
    (tmp_path / "link").symlink_to(storage)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    path = spec(tmp_path, "tiny")
    for where, name in ((tmp_path, "link"), (tmp_path / "deep" / "er", "../../storage/"), (storage, ".")):
        monkeypatch.chdir(where)
        code, out, _ = said(capsys, "launch", path, "--storage", name, "--local")
        assert code == 0 and f"Tracking: sqlite:///{storage}/mlflow.db" in out
        assert json.loads((storage / "sweeps/tiny/sweep.json").read_text())["tracking"] == "storage"
    own = f"sqlite:///{tmp_path}/link/mlflow.db"
    assert said(capsys, "launch", path, "--storage", storage, "--local", "--tracking", own)[0] == 0
    assert json.loads((storage / "sweeps/tiny/sweep.json").read_text())["tracking"] == "storage"


def test_a_database_that_the_user_names_elsewhere_stays_the_one(tmp_path, storage, empty_mlflow, capsys):
    (tmp_path / "all").mkdir()
    shutil.copy(empty_mlflow, tmp_path / "all" / "mlflow.db")
    given = f"sqlite:///{tmp_path}/all/mlflow.db"
    path = spec(tmp_path, "tiny")
    assert said(capsys, "launch", path, "--storage", storage, "--local")[0] == 0  # both know the sweep
    assert said(capsys, "launch", path, "--storage", storage, "--local", "--tracking", given)[0] == 0
    shutil.copytree(storage, tmp_path / "copy")
    storage.rename(tmp_path / "moved")
    for place in ("copy", "moved"):
        code, out, _ = said(capsys, "resume", "tiny", "--storage", tmp_path / place, "--local")
        assert code == 0 and f"Tracking: {given}" in out
    assert specs_kept(tmp_path / "all") == ["tiny"], "artifacts lie beside the database"
    (tmp_path / "all").rename(tmp_path / "gone")
    message = wrong(capsys, "track", "tiny", "--storage", tmp_path / "copy")
    assert message == f"tracking: the folder {tmp_path}/all does not exist"
    message = wrong(capsys, "ui", "tiny", "--storage", tmp_path / "copy")
    assert (
        message
        == f"tracking: there is no database at {tmp_path}/all/mlflow.db; sweeper track makes one of what is stored"
    )
    assert not (tmp_path / "all").exists()


def test_an_earlier_file_that_names_another_database_of_that_sweep_is_believed(tmp_path, storage, empty_mlflow, capsys):
    (tmp_path / "all").mkdir()
    shutil.copy(empty_mlflow, tmp_path / "all" / "mlflow.db")
    given = f"sqlite:///{tmp_path}/all/mlflow.db"
    path = spec(tmp_path, "tiny")
    assert said(capsys, "launch", path, "--storage", storage, "--local")[0] == 0
    assert said(capsys, "launch", path, "--storage", storage, "--local", "--tracking", given)[0] == 0
    file = storage / "sweeps" / "tiny" / "sweep.json"
    fields = json.loads(file.read_text())
    del fields["tracked_elsewhere"]
    file.write_text(json.dumps(fields))
    assert SweepFolder(storage, "tiny").read().tracking == given


def test_a_relative_database_is_one_file_wherever_one_stands(tmp_path, storage, empty_mlflow, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for place in ("home", "here", "there"):
        (tmp_path / place).mkdir()
    for file in ("here/runs.db", "home/runs.db"):
        shutil.copy(empty_mlflow, tmp_path / file)
    path = spec(tmp_path, "tiny")
    for given, file in (("sqlite:///runs.db", "here/runs.db"), ("sqlite:///~/runs.db", "home/runs.db")):
        monkeypatch.chdir(tmp_path / "here")
        how = ("--storage", storage, "--local", "--tracking", given)
        assert said(capsys, "launch", path, *how)[0] == 0
        monkeypatch.chdir(tmp_path / "there")
        code, out, _ = said(capsys, "resume", "tiny", "--storage", storage, "--local")
        assert code == 0 and f"Tracking: sqlite:///{tmp_path / file} " in out
        assert said(capsys, "track", "tiny", "--storage", storage)[0] == 0
        assert said(capsys, "report", "tiny", "--storage", storage, "-o", tmp_path / "report")[0] == 0
    assert list((tmp_path / "there").iterdir()) == []
    monkeypatch.chdir(tmp_path / "here")
    command = ("report", "tiny", "--storage", storage, "--tracking", "sqlite:///runs.db", "-o", tmp_path / "report")
    assert said(capsys, *command)[0] == 0
    assert f"--tracking sqlite:///{tmp_path}/here/runs.db" in (tmp_path / "report" / "report.md").read_text()


def test_folders_whose_names_mean_something_in_addresses_are_folders(tmp_path, empty_mlflow, capsys):
    odd = tmp_path / ODD
    storage, given = odd / "storage", odd / "t?%41#.db"
    for folder in (storage, odd / "data"):
        folder.mkdir(parents=True)
    shutil.copy(empty_mlflow, storage / "mlflow.db")
    shutil.copy(empty_mlflow, given)
    path, where = spec(odd, "tiny"), ("--storage", storage)
    for tracking in ((), ("--tracking", f"sqlite:///{given}")):
        assert said(capsys, "launch", path, *where, "--local", "--data-dir", odd / "data", *tracking)[0] == 0
        assert said(capsys, "resume", "tiny", *where, "--local")[0] == 0
        assert said(capsys, "track", "tiny", *where, *tracking)[0] == 0
        shutil.rmtree(odd / "report", ignore_errors=True)
        assert said(capsys, "report", "tiny", *where, *tracking, "-o", odd / "report") == (
            0, f"The report: {odd}/report/report.html\n", "",
        )  # fmt: skip
        assert "width: 0.1" in (odd / "report" / "report.md").read_text(), "the spec among the artifacts is found"
    assert "A sweep refers to each of them." in said(capsys, "gc", *where)[1]
    assert specs_kept(storage) == specs_kept(odd) == ["tiny"]
    assert [path.name for path in tmp_path.iterdir()] == [ODD], "nothing was written under a name that is like it"
