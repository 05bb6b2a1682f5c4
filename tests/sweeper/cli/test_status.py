"""What `sweeper status` says of a launch that has not said itself how long it took."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from sweeper.cli.main import main
from sweeper.launch.view import SweepView
from sweeper.records.sweep_folder import SweepFolder
from tests.sweeper.small_sweeps import trained_storage


@pytest.fixture
def folder(trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SweepFolder:
    """A sweep whose launch began 12 minutes before its last stage ended, and that is an hour ago."""
    folder = SweepFolder(trained_storage(trained, tmp_path), "tiny")
    ends = [datetime.fromisoformat(record.ended_at) for record in SweepView(folder).launch.records.values()]
    file = folder.read()
    file.launches.append({"started_at": (max(ends) - timedelta(minutes=12)).isoformat(), "outcome": "running"})
    folder.write(file)
    monkeypatch.setattr("sweeper.launch.view.utc_now", lambda: (max(ends) + timedelta(hours=1)).isoformat())
    return folder


def total(folder: SweepFolder, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["status", "tiny", "--storage", str(folder.storage)]) == 0
    return next(line for line in capsys.readouterr().out.splitlines() if "epochs trained" in line)


@pytest.mark.slow
def test_the_time_of_a_launch_that_runs_counts_up_to_now(folder, capsys):
    lock = folder.path.lock()
    assert lock.take()
    try:
        assert total(folder, capsys).endswith(" of training in 72 min.")
    finally:
        lock.release()


@pytest.mark.slow
def test_the_time_of_a_launch_that_was_killed_counts_up_to_its_last_stage(folder, capsys):
    assert total(folder, capsys).endswith(" of training in 12 min.")
