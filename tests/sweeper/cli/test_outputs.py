"""Outputs that cannot take what is said, a folder that is gone, a terminal that is closed, a second Ctrl-C."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from sweeper.cli.main import main
from sweeper.launch import local
from sweeper.records.sweep_folder import SweepFolder
from tests.sweeper.processes import command, environment
from tests.waiting import wait_until

FULL = Path("/dev/full")
needs_a_full_disk = pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full, which only Linux has")


@needs_a_full_disk
def test_a_launch_whose_output_is_full_trains_all_and_says_so(tiny, storage, capsys):
    with FULL.open("w") as full:
        line = command("launch", tiny, "--storage", storage, "--local")
        done = subprocess.run(line, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (
        1, "sweeper: error: the output could not be written: No space left on device\n",
    )  # fmt: skip
    assert main(["status", "tiny", "--storage", str(storage)]) == 0
    assert "10 of 10 trials completed" in capsys.readouterr().out


@needs_a_full_disk
def test_an_error_that_cannot_be_written_keeps_its_exit_code(tmp_path):
    with FULL.open("w") as full:
        line = command("status", "nothing", "--storage", tmp_path)
        assert subprocess.run(line, env=environment(), stdout=full, stderr=full).returncode == 2


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1", "utf-8"])
def test_an_output_of_another_encoding_gets_plain_letters(tmp_path, encoding):
    name = b"no-\xe2\x80\xa6-\xff"  # three dots, and a byte that is no letter at all
    done = subprocess.run(
        [*command("status", "--storage"), os.fsencode(tmp_path) + b"/" + name],
        env=environment() | {"PYTHONIOENCODING": encoding}, capture_output=True,
    )  # fmt: skip
    said = "no-\u2026-?" if encoding == "utf-8" else "no-...-?"
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode(encoding) == f"No sweep was launched in {tmp_path}/{said}.\n"


@pytest.mark.parametrize("name", ["status", "gc"])
def test_a_folder_that_is_gone_is_told(tmp_path, monkeypatch, capsys, name):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert main([name]) == 2
    assert capsys.readouterr().err == (
        "sweeper: error: the folder that you stand in is gone: go to one that is there, and try again\n"
    )


def test_a_terminal_that_is_closed_stops_a_launch_as_ctrl_c_does(tiny, storage, monkeypatch, capsys):
    def closed(launch, refresh, give_up):
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)  # by its shell, too
        wait_until(lambda: launch.stop_requested)

    monkeypatch.setattr(local, "run_local", closed)
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
    try:
        assert main(["launch", str(tiny), "--storage", str(storage), "--local"]) == 130
    finally:
        signal.signal(signal.SIGHUP, before)
    assert "\nStopped. What is trained is kept; to go on: sweeper resume tiny" in capsys.readouterr().out


def test_nohup_keeps_a_launch_from_hearing_of_its_terminal(tiny, storage, monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    heard = []

    def closed(launch, refresh, give_up):
        heard.append(signal.getsignal(signal.SIGHUP))
        launch.stop()

    monkeypatch.setattr(local, "run_local", closed)
    try:
        main(["launch", str(tiny), "--storage", str(storage), "--local"])
    finally:
        signal.signal(signal.SIGHUP, before)
    assert heard == [signal.SIG_IGN]


def test_the_second_ctrl_c_still_says_how_to_go_on(tiny, storage, monkeypatch, capsys):
    def busy(launch, refresh, give_up):
        os.kill(os.getpid(), signal.SIGINT)
        wait_until(lambda: launch.stop_requested)
        os.kill(os.getpid(), signal.SIGINT)
        wait_until(lambda: False)

    monkeypatch.setattr(local, "run_local", busy)
    assert main(["launch", str(tiny), "--storage", str(storage), "--local"]) == 130
    assert "\nStopped at once. What was saved is kept; to go on: sweeper resume tiny" in capsys.readouterr().out
    assert SweepFolder.find(storage, "tiny").read().launches[-1]["outcome"] == "interrupted"
