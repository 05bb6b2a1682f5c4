"""Launches that are stopped from elsewhere, and go on as they were launched."""

import json
from types import SimpleNamespace

import pytest

from sweeper.cli.commands.launch import LAUNCH_SETTINGS
from sweeper.launch.ray_session import quiet
from sweeper.records.store import Store
from sweeper.records.sweep_folder import SweepFolder
from tests.sweeper.cli.answers import said, wrong
from tests.sweeper.processes import claimed, start_sweeper
from tests.sweeper.small_sweeps import a_launch, table_of, trained_storage
from tests.waiting import ending_of, wait_until


def trained_stages(storage):
    return len(list((storage / "stages").glob("*/*/*/record.json")))


@pytest.mark.cluster
def test_stop_ends_a_launch_and_resume_goes_on_as_it_was_launched(capsys, tiny, storage, tmp_path):
    process = start_sweeper(
        "launch", tiny, "--storage", storage, "--local", "--save-seconds", "7", "--set", "seeds=8",
        out=tmp_path / "out",
    )  # fmt: skip
    try:
        wait_until(lambda: trained_stages(storage) > 0, process)
        assert f"is being run already (process {process.pid} on " in wrong(
            capsys, "resume", "tiny", "--storage", storage
        )
        code, out, _ = said(capsys, "stop", "tiny", "--storage", storage)
        assert ending_of(process) == 130, (tmp_path / "out").read_text()
    finally:
        process.kill()
        process.wait()
    assert code == 0
    again = f"What is trained is kept; to go on: sweeper resume tiny --storage {storage}"
    assert out.startswith("tiny: asked to stop after the epochs that run now (process ")
    assert out.endswith(f"\ntiny: stopped. {again}\n")
    text = (tmp_path / "out").read_text()
    assert "stopping after the running epochs, as process " in text
    assert text.endswith(f"\nStopped. {again}\n")
    assert trained_stages(storage) < 18 * 4
    assert said(capsys, "stop", "tiny", "--storage", storage)[1] == (
        f"tiny: nothing runs; its last launch: stopped. {again}\n"
    )
    file = SweepFolder(storage, "tiny").read()
    assert file.launch_settings == LAUNCH_SETTINGS | {"local": True, "save_seconds": 7.0}
    code, out, _ = said(
        capsys, "resume", "tiny", "--storage", storage
    )  # what was asked of the last one does not stop it
    assert code == 0, out
    assert "40 of 40 trials completed" in out
    assert SweepFolder(storage, "tiny").read().launch_settings == file.launch_settings
    assert said(capsys, "stop", "tiny", "--storage", storage)[1] == "tiny: nothing runs; it is completed.\n"


def test_stop_says_so_where_the_launch_has_died(capsys, trained, tmp_path):
    storage = trained_storage(trained, tmp_path)
    folder = SweepFolder(storage, "tiny")
    file = folder.read()
    file.launches.append({"started_at": "2026-01-01T00:00:00+00:00", "pid": 4_000_000, "outcome": "running"})
    folder.write(file)
    (folder.path / "lock").write_text("process 4000000 on elsewhere since 2026-01-01T00:00:00+00:00\n")
    code, out, _ = said(capsys, "stop", "tiny", "--storage", storage)
    assert code == 0
    assert "(process 4000000 on elsewhere since 2026-01-01" in out
    assert "is gone and did not say how it ended. What is trained is kept; to go on: sweeper resume tiny" in out


def test_who_does_not_wait_has_asked_all_the_same(capsys, trained, tmp_path):
    storage = trained_storage(trained, tmp_path)
    folder = SweepFolder(storage, "tiny")
    with folder.lock():
        code, out, _ = said(capsys, "stop", "tiny", "--no-wait", "--storage", storage)
        assert (code, len(out.splitlines())) == (0, 1)
        assert folder.asked_to_stop().startswith("process ")


def test_resume_starts_what_was_launched_and_nothing_else(capsys, tiny, storage, tmp_path, trained, monkeypatch):
    assert said(capsys, "launch", tiny, "--storage", storage, "--local", "--set", "seeds=1")[0] == 0
    file = json.loads((storage / "sweeps" / "tiny" / "sweep.json").read_text())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # another shell, and another day
    monkeypatch.setenv("SWEEPER_DATA_DIR", "/nowhere")
    tiny.unlink()
    code, out, _ = said(capsys, "resume", "tiny", "--storage", storage)
    assert code == 0, out
    assert "0 epochs are left" in out
    now = json.loads((storage / "sweeps" / "tiny" / "sweep.json").read_text())
    assert [now[name] for name in ("tracking", "data_dir", "options", "manner", "spec_hash")] == [
        file[name] for name in ("tracking", "data_dir", "options", "manner", "spec_hash")
    ]
    assert len(table_of(storage)) == 5
    refused = wrong(capsys, "resume", "tiny", "--storage", storage, "--set", "limits.epochs=9", "--set", "seeds=2")
    assert refused.startswith("--set seeds=2: a sweep goes on with other limits at most (limits.trials, ")
    for command in ("resume", "retry"):
        unknown = wrong(capsys, command, "tiny", "--storage", storage, "--set", "limits.epoch=9")
        assert unknown == "--set limits.epoch=9: limits has no field epoch (did you mean epochs?)"


# A launch whose workers note each step that they begin.
NOTED = """
import sys
from pathlib import Path
from sweeper.cli.main import main
from sweeper.launch import ray_session
ray_session.quiet()
from sweeper.launch import ray_tune

class Noted(ray_tune.StageTrainable):
    def step(self):
        with Path({begun!r}).open("a") as file:
            file.write(".")
        return super().step()

ray_tune.StageTrainable = Noted
sys.exit(main())
"""


@pytest.mark.cluster
def test_stop_and_resume_on_ray(capsys, tmp_path, storage):
    spec = tmp_path / "slow.yaml"
    spec.write_text(
        "name: slow\n"
        "recipe: {network: lenet, dataset: digits, method: slot_machine, options: 4}\n"
        "budget_epochs: 80\nslot_epochs: [30, 50]\narms: [{method: learned}]\n"
    )
    store = Store(storage)

    def saved():
        """The epochs that are saved of each stage on its way."""
        records = [store.partial_record(path.name) for path in storage.glob("partials/*/*")]
        return {record.key: record.end for record in records if record is not None}

    begun = tmp_path / "begun"
    process = start_sweeper(
        "launch", spec, "--storage", storage, "--max-parallel", 1, "--save-seconds", 0.3, out=tmp_path / "out",
        program=NOTED.format(begun=str(begun)),
    )  # fmt: skip
    try:
        wait_until(lambda: trained_stages(storage) > 0 and claimed(storage) and saved(), process)
        known, steps = saved(), begun.stat().st_size
        wait_until(lambda: begun.stat().st_size > steps, process)  # an epoch runs that is not among those
        code, out, _ = said(capsys, "stop", "slow", "--storage", storage)
        assert ending_of(process) == 130, (tmp_path / "out").read_text()
    finally:
        process.kill()
        process.wait()
    assert code == 0
    assert "\nslow: stopped. " in out
    before = trained_stages(storage)
    assert 0 < before < 5
    kept = saved()
    for key, epochs in known.items():
        assert kept.get(key, 0) > epochs or store.read(key), "the epoch that ran when it was asked is kept"
    started = {key: store.partial_record(key).started_at for key in kept}
    process = start_sweeper("resume", "slow", "--storage", storage, out=tmp_path / "again")
    code = ending_of(process)
    text = (tmp_path / "again").read_text()
    assert code == 0, text
    assert f"{before} stages are stored already" in text
    assert "3 of 3 trials completed; 210 epochs trained" in text
    assert {key: store.read(key).started_at for key in kept} == started, "it went on from what was saved"
    assert SweepFolder(storage, "slow").read().options["max_parallel"] == 1


def test_on_ray_each_stage_ends_after_its_epoch_before_all_is_stopped(tiny, storage):
    quiet()
    from sweeper.launch.cluster.nodes import Nodes
    from sweeper.launch.cluster.workforce import Workforce
    from sweeper.launch.hung_workers import Silence
    from sweeper.launch.ray_tune import _StopWhenAsked, _TuneCallback

    launch = a_launch(tiny, storage)
    workforce = Workforce(launch, Nodes(launch, lambda: []), Silence(launch, None))
    attendant = _TuneCallback(workforce, lambda: None)
    asked = _StopWhenAsked(workforce)
    actor = SimpleNamespace(assign=SimpleNamespace(remote=lambda order: None))
    trial = SimpleNamespace(trial_id="a", temporary_state=SimpleNamespace(ray_actor=actor))
    workforce.expected("a")
    attendant.on_trial_start(0, [trial], trial)
    attendant.on_trial_result(0, [trial], trial, {"node": "here", "faults": None, "done": False})
    assert len(launch.schedule.running) == 1
    assert not asked("a", {}) and not asked.stop_all()
    launch.stop()
    assert asked("a", {}) and not asked.stop_all()  # all at once would kill an epoch that takes longer than 15 s
    launch.put_back(*launch.schedule.running, "it was stopped")
    attendant.on_trial_complete(0, [trial], trial)
    assert asked.stop_all()
