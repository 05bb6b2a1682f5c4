"""`sweeper ui`: MLflow's own server, for this machine only, gone when it is told to go."""

import os
import re
import signal
import socket
import sqlite3
import subprocess
from contextlib import closing
from urllib.request import urlopen

import pytest

from sweeper.cli.commands.mlflow import free_port, tracking_of
from sweeper.records.sweep_folder import SweepFolder
from sweeper.storage.folder import Folder
from tests.sweeper.processes import command, environment
from tests.sweeper.small_sweeps import a_launch, trained_storage
from tests.sweeper.tracking.projected import project
from tests.waiting import PATIENCE_SECONDS, ending_of, wait_until
from trainers.errors import InvalidInput

pytestmark = pytest.mark.cluster


def test_the_link_opens_a_sweep_of_a_moved_storage_and_ctrl_c_ends_the_server(trained, storage, tmp_path):
    launch = a_launch(*trained, read_only=True)
    launch.forest.trials[1:] = []
    first = trained_storage(trained, tmp_path)
    (storage / "mlflow.db").rename(first / "mlflow.db")
    project(f"sqlite:///{first}/mlflow.db", first, launch)
    where = tmp_path / "moved 50%25#?"
    first.rename(where)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = subprocess.Popen(
            command("ui", "tiny", "--storage", where, "--port", port),
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
            preexec_fn=_hear_interruptions,
        )
        try:
            lines = [process.stdout.readline() for _ in range(3)]
            _check(lines, port, where)
        finally:
            process.send_signal(signal.SIGINT)
            code = ending_of(process)
            process.stdout.close()
    assert code == 0
    mark = f"--port\0{lines[0].split()[4].rstrip(',')}\0".encode()
    wait_until(lambda: not any(mark in line for line in _command_lines()))


def _hear_interruptions():
    """What a shell starts in the background ignores SIGINT, and so would all that these tests start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _check(lines, port, where):
    page = r"#/experiments/(\d+)/runs\?workflowType=machine_learning&viewStateShareKey=trials"
    link = re.fullmatch(rf"Open (http://127\.0\.0\.1:(\d+))/{page}\n", lines[1])
    assert link, lines
    assert int(link[2]) > port
    page = f"{link[1]}/ajax-api/2.0/mlflow/experiments/get?experiment_id={link[3]}"
    with urlopen(page, timeout=PATIENCE_SECONDS) as answer:
        assert b'"tiny"' in answer.read()
    with closing(sqlite3.connect(where / "mlflow.db")) as connection:
        query = "SELECT run_uuid FROM tags WHERE key = 'sweeper.kind' AND value = 'sweep'"
        ((run,),) = connection.execute(query).fetchall()
    with urlopen(f"{link[1]}/get-artifact?run_uuid={run}&path=spec.yaml", timeout=PATIENCE_SECONDS) as answer:
        assert answer.read() == b"name: tiny\n"


def test_a_port_that_is_taken_is_passed_over(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) > port
        monkeypatch.setattr("sweeper.cli.commands.mlflow.PORTS_TRIED", 1)
        with pytest.raises(InvalidInput, match=f"port: none of the 1 from {port} on is free"):
            free_port(port)


def test_sweeps_are_looked_for_where_they_were_tracked(trained, tmp_path):
    where = Folder(trained_storage(trained, tmp_path))
    folder = SweepFolder(where, "tiny")
    file = folder.read()
    file.tracking = "http://tracking.example:5000"
    folder.write(file)
    other = SweepFolder(where, "other")
    file.name, file.tracking = "other", "http://elsewhere.example:5000"
    other.write(file)

    assert tracking_of(where, None, ["tiny"]) == "http://tracking.example:5000"
    assert tracking_of(where, None, []) == f"sqlite:///{where}/mlflow.db"
    with pytest.raises(InvalidInput, match="tracked in different places"):
        tracking_of(where, None, ["tiny", "other"])
    assert tracking_of(where, "http://said.example", ["tiny", "other"]) == "http://said.example"


def _command_lines():
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    found.append(file.read())
            except OSError:
                continue
    return found
