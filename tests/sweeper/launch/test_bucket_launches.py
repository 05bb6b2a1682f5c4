"""Real launches whose storage is a bucket of a local S3: killed, two at once, and with the service gone for a while."""

import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from sweeper.cli.main import main
from sweeper.records.sweep_folder import SweepFolder
from sweeper.storage.place import storage_at
from tests.sweeper.processes import environment, start_sweeper
from tests.sweeper.small_sweeps import TINY, table_of, trained_storage
from tests.sweeper.storage.claiming import Recorded, epochs_of
from tests.sweeper.storage.object_server import CREDENTIALS, a_forwarder
from tests.waiting import ending_of, wait_until

pytestmark = [pytest.mark.cluster]
SECRETS = [value for name, value in CREDENTIALS.items() if name != "AWS_REGION"]


@pytest.fixture
def start():
    """Starts the real command; what is still running when the test ends is killed."""
    started = []

    def begin(*arguments, out):
        started.append(start_sweeper(*arguments, out=out))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def tracking(tmp_path, empty_mlflow):
    """Flags for a database of its own that MLflow has set up already."""

    def flags(name="mlflow"):
        shutil.copy(empty_mlflow, tmp_path / f"{name}.db")
        return ["--tracking", f"sqlite:///{tmp_path}/{name}.db"]

    return flags


def stages_of(url):
    return [entry for entry in (storage_at(url) / "stages").entries() if entry.path.name == "record.json"]


def say(*arguments):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main([*map(str, arguments)]) == 0
    return out.getvalue()


def processes_that_show(secret):
    """Of all command lines on this machine."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if secret.encode() in line.read_bytes():
                found.append(line.read_bytes())
    return found


def test_a_killed_launch_on_ray_and_a_service_that_goes_away_cost_nothing_finished(
    tiny, tmp_path, bucket, object_service, monkeypatch, trained, tracking, start
):
    with a_forwarder(object_service, tmp_path) as forwarder:
        monkeypatch.setenv("AWS_ENDPOINT_URL", forwarder.endpoint)
        flags = ["--storage", bucket, "--max-parallel", "2", "--save-seconds", "0", *tracking()]
        first = start("launch", tiny, *flags, out=tmp_path / "first")
        wait_until(lambda: len(stages_of(bucket)) >= 3, first)
        assert not any(map(processes_that_show, SECRETS))
        assert "running" in say("status", "--storage", bucket)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        done = {entry.path.key: entry.modified for entry in stages_of(bucket)}
        second = start("resume", "tiny", "--storage", bucket, "--max-parallel", "1", out=tmp_path / "second")
        wait_until(lambda: len(stages_of(bucket)) > len(done), second)
        forwarder.kill()
        time.sleep(4)
        forwarder.start()
        assert ending_of(second) == 0, (tmp_path / "second").read_text()
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_service.endpoint)
    said = (tmp_path / "second").read_text()
    assert "10 of 10 trials completed" in said
    assert "tried again" not in said, "requests were, and no stage"
    after = {entry.path.key: entry.modified for entry in stages_of(bucket)}
    assert len(after) == 18 and done.items() <= after.items(), "what was finished is as it was"
    assert table_of(bucket) == table_of(trained_storage(trained, tmp_path))
    assert "completed" in say("status", "--storage", bucket)
    # Whoever looks at what was written sees no key.
    written = [entry.path.read_bytes() for entry in storage_at(bucket).entries()]
    written += [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not [secret for secret in SECRETS for content in written if secret.encode() in content]


def test_two_sweeps_that_share_stages_train_each_once_and_one_sweep_is_launched_once(
    tmp_path, bucket, tracking, trained
):
    for name in ("left", "right"):
        (tmp_path / f"{name}.yaml").write_text(TINY.replace("name: tiny", f"name: {name}"))
    launches = [
        Recorded(tmp_path, tmp_path / f"{name}.yaml", "--storage", bucket, *tracking(f"{name}{number}"))
        for number, name in enumerate(("left", "right", "left"))
    ]
    wait_until(lambda: len(list(tmp_path.glob("ready-*"))) == 3, *(launch.process for launch in launches))
    (tmp_path / "go").touch()
    codes = [ending_of(launch.process) for launch in launches]
    texts = [launch.out.read_text() for launch in launches]
    assert sorted(codes) == [0, 0, 2] and codes[1] == 0, texts
    assert "sweep: 'left' is being run already (process " in texts[codes.index(2)]
    trained_epochs = epochs_of(tmp_path)
    assert set(Counter(tuple(epoch[:3]) for epoch in trained_epochs).values()) == {1} and len(trained_epochs) == 26
    for name in ("left", "right"):
        assert table_of(bucket, name) == table_of(trained_storage(trained, tmp_path / name))
    root = storage_at(bucket)
    assert not (root / "claims").is_dir() and not (root / "locks").is_dir() and not (root / "damaged").is_dir()
    # What is said of them afterwards, and what no sweep refers to any more.
    assert re.search(r"left +completed +10 ", say("status", "--storage", bucket))
    assert json.loads(say("plan", tmp_path / "left.yaml", "--storage", bucket, "--json"))["epochs_left"] == 0
    say("export", "left", "--storage", bucket, "-o", tmp_path / "tickets")
    assert len(list((tmp_path / "tickets").glob("*.safetensors"))) == 10
    for name in ("left", "right"):
        for entry in SweepFolder(root, name).path.entries():
            entry.path.remove()
    assert "No sweep refers to 18 stages" in say("gc", "--storage", bucket)
    assert "Removed: 18 stages" in say("gc", "--storage", bucket, "--delete")
    assert not (root / "stages").is_dir()
    assert (tmp_path / "artifacts" / "left").is_dir(), "what MLflow keeps in files lies beside its database"


def test_a_search_goes_on_where_a_killed_launch_left_it(tmp_path, bucket, tracking, start):
    (tmp_path / "searched.yaml").write_text(
        """\
name: searched
recipe: {network: lenet, dataset: digits, preset: icml, method: slot_machine, width: 0.2}
budget_epochs: 2
search: {sampler: random, trials: 4, space: {options: {choice: [2, 4, 8, 16]}}}
rungs: {epochs: [1], rule: median, min_trials: 2}
seeds: 1
"""
    )
    flags = ["--storage", bucket, "--local", *tracking()]
    first = start("launch", tmp_path / "searched.yaml", *flags, out=tmp_path / "first")
    wait_until(lambda: len(stages_of(bucket)) >= 2, first)
    first.kill()
    first.wait()
    second = start("launch", tmp_path / "searched.yaml", *flags, out=tmp_path / "second")
    assert ending_of(second) == 0, (tmp_path / "second").read_text()
    rows = json.loads(say("runs", "searched", "--storage", bucket, "--json"))
    assert sorted(row["recipe"]["options"] for row in rows) == [2, 4, 8, 16], "each point once, although it was killed"


@pytest.mark.parametrize("url", ["s3://other/x", "s3://bucket/../x"])
def test_nothing_starts_on_a_storage_that_is_none(tiny, tmp_path, bucket, url):
    done = subprocess.run(
        [sys.executable, "-m", "sweeper", "launch", str(tiny), "--storage", url],
        cwd=tmp_path, env=environment(), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2 and done.stderr.startswith("sweeper: error: storage: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.yaml"]
