"""Addresses of tracking databases: which are understood, how they are kept, and how MLflow is told of them."""

import contextlib
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy

from sweeper.cli.commands.cluster import flags_handed_on
from sweeper.cli.commands.mlflow import ui
from sweeper.records.sweep_folder import SweepFile, SweepFolder
from sweeper.storage import tracking_file
from sweeper.storage.folder import Folder
from sweeper.storage.place import storage_at
from sweeper.storage.tracking_address import check_open, default_address, understood
from sweeper.storage.tracking_file import address_for_mlflow, artifacts_folder, file_of, make_movable
from trainers.errors import InvalidInput

NAMES = ["a b", "50%", "50%20x", "a#b", "a?b=c", "a+b", "a&b", "ü", "it's", '"q"', "a\\b", "a:b", "a@b:c", "[x]", "~"]


@pytest.mark.parametrize("name", NAMES)
def test_mlflow_is_told_of_the_very_file_whatever_its_folder_is_called(name, tmp_path):
    path = tmp_path / name / "mlflow.db"
    address = understood(f"sqlite:///{path}")
    assert file_of(address) == path
    assert sqlalchemy.make_url(address_for_mlflow(address)).database == str(path)
    assert artifacts_folder(address_for_mlflow(address), "mlflow-artifacts:/tiny/1") == path.parent / "artifacts/tiny/1"


@pytest.mark.parametrize("given", ["sqlite:///runs.db", "sqlite+pysqlite:///runs.db", "SQLITE:///./runs.db"])
def test_a_relative_file_is_kept_as_a_path_from_the_root(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert understood(given) == f"sqlite:///{tmp_path}/runs.db"


@pytest.mark.parametrize(
    "given", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite://runs.db", "sqlite+x:///a"]
)
def test_an_address_of_no_file_is_refused(given):
    with pytest.raises(InvalidInput, match=r"tracking: 'sqlite.*' names no file \(sqlite:///FILE does"):
        understood(given)


def test_the_home_of_nobody_is_refused():
    with pytest.raises(InvalidInput, match=r"tracking: 'sqlite:///~nobody-at-all/a': nobody's home"):
        understood("sqlite:///~nobody-at-all/a")


@pytest.mark.parametrize("given", ["http://host:5000", "https://a:b@host/x?y", "postgresql+psycopg://me@host/db"])
def test_servers_are_kept_as_they_are_given(given):
    assert understood(given) == address_for_mlflow(given) == given


def test_artifacts_never_lead_out_of_their_folder(tmp_path):
    assert artifacts_folder(f"sqlite:///{tmp_path}/a.db", "mlflow-artifacts:/../../etc") is None
    assert artifacts_folder(f"sqlite:///{tmp_path}/a.db", "mlflow-artifacts://x/etc") == tmp_path / "artifacts/x/etc"
    assert artifacts_folder("http://host:5000", "mlflow-artifacts:/tiny/1") is None
    assert artifacts_folder(f"sqlite:///{tmp_path}/a.db", "s3://bucket/tiny/1") is None


@pytest.fixture
def database(storage) -> Path:
    """A storage's database in which two sweeps of earlier versions and two experiments of others are."""
    from mlflow.tracking import MlflowClient

    path = storage / "mlflow.db"
    client = MlflowClient(f"sqlite:///{path}")
    for name, where in (("one", "/old/artifacts/one"), ("two", "/old/artifacts/two"), ("own", "/mine/artifacts/own")):
        number = client.create_experiment(name, where)
        client.create_run(number, tags={} if name == "own" else {"sweeper.kind": "sweep"})
    client.create_run(client.create_experiment("far", "s3://bucket/far"), tags={"sweeper.kind": "sweep"})
    return path


def locations(database: Path) -> dict[str, tuple[str, str]]:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(
            "SELECT experiments.name, artifact_location, artifact_uri FROM experiments JOIN runs USING (experiment_id)"
        )
        return {name: (location, uri[: len(location)]) for name, location, uri in rows}


def test_artifacts_of_sweeps_become_relative_and_those_of_others_stay(database, storage):
    check_open(default_address(storage), storage)
    once = locations(database)
    assert once == {
        "one": ("mlflow-artifacts:/one",) * 2, "two": ("mlflow-artifacts:/two",) * 2,
        "own": ("/mine/artifacts/own",) * 2, "far": ("s3://bucket/far",) * 2,
    }  # fmt: skip
    check_open(default_address(storage), storage)
    assert locations(database) == once


def test_a_database_outside_of_the_storage_stays_as_it_is(database, storage, tmp_path):
    before = locations(database)
    check_open(f"sqlite:///{database}", Folder(tmp_path / "another"))
    assert locations(database) == before


def test_a_database_that_is_being_written_to_for_long_is_told(database, monkeypatch):
    monkeypatch.setattr(tracking_file, "PATIENCE_SECONDS", 0.1)
    before = locations(database)
    with contextlib.closing(sqlite3.connect(database)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(InvalidInput, match=f"tracking: cannot write to {database}: database is locked"):
            make_movable(database)
    assert locations(database) == before


def test_a_database_that_is_empty_or_read_only_stays_as_it_is(database, tmp_path, monkeypatch):
    (tmp_path / "empty.db").touch()
    make_movable(tmp_path / "empty.db")
    before = locations(database)
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, **how: connect(f"file:{path}?mode=ro", uri=True, **how))
    make_movable(database)
    assert locations(database) == before


def test_a_cluster_is_told_of_files_by_paths_from_the_root_only():
    for given in ("sqlite:///runs.db", "sqlite:///~/runs.db"):
        with pytest.raises(
            InvalidInput, match=r"--tracking: with --cluster it is a file of the cluster, so a path from"
        ):
            flags_handed_on({"tracking": given})
    assert flags_handed_on({"tracking": "sqlite:////shared/runs.db"}) == ["--tracking=sqlite:////shared/runs.db"]


def test_a_file_address_of_a_storage_is_read_as_an_address():
    assert storage_at("file:///tmp/a%20b") == Path("/tmp/a b")
    assert storage_at("/tmp/a%20b") == Path("/tmp/a%20b")


def test_a_sweep_in_a_bucket_keeps_the_file_that_it_was_tracked_to(in_bucket, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    address = default_address(in_bucket, make=True)
    folder = SweepFolder(in_bucket, "tiny")
    folder.write(SweepFile("tiny", "", address, {}))
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    assert folder.read().tracking == address
    assert file_of(address).parent.parent == tmp_path / "sweeper-tracking"


def test_where_a_bucket_s_runs_are_looked_for_is_said(bucket, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput) as refused:
        ui.callback(storage=bucket, tracking=None, sweep=None, port=5000)
    assert f"is tracked in {tmp_path}/sweeper-tracking/" in str(refused.value)
    assert str(refused.value).endswith(
        "below the folder that you stand in: a bucket holds no database; name another with --tracking"
    )


@pytest.mark.parametrize("text", ["[]", "5", "null", '"x"', '{"name": 1}'])
def test_a_sweep_file_that_is_none_is_told(text, storage):
    path = storage / "sweeps" / "tiny" / "sweep.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(InvalidInput, match=f"sweep: cannot read {path}"):
        SweepFolder(storage, "tiny").read()
