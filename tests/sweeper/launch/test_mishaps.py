"""Launches in processes of their own that things happen to: what is lost (nothing), what is said, how they go on."""

import ctypes.util
import json
import os
import re
import shutil
import subprocess
import sys
import time

import pytest

from sweeper.records.store import Store
from sweeper.tracking.mlflow_client import client
from tests.sweeper.processes import start_sweeper
from tests.sweeper.small_sweeps import TINY, table_of, trained_storage
from tests.waiting import ending_of

pytestmark = pytest.mark.cluster

# Runs commands one after the other in one process, in which things happen when so many epochs have been trained.
EVENTFUL = """
import json, os, resource, sys
from pathlib import Path
from sweeper.launch import worker as execution
from sweeper.cli.main import main
events, *commands = map(json.loads, sys.argv[1:])
train, count = execution.TrainingRun.train_epoch, 0
def train_epoch(run):
    global count
    count += 1
    exec(events.get(str(count), ""), globals())
    return train(run)
execution.TrainingRun.train_epoch = train_epoch
exec(events.get("0", ""), globals())
print("exit codes:", *[main(command) for command in commands])
"""


@pytest.fixture
def run(tmp_path):
    """Exit codes and output of commands, in a process in which these events happen."""

    def until_done(*commands, events=None, **how):
        arguments = [json.dumps(events or {}), *(json.dumps([str(word) for word in command]) for command in commands)]
        out = tmp_path / f"out-{time.time_ns()}"
        ending_of(start_sweeper(*arguments, out=out, program=EVENTFUL, **how))
        found = re.search(r"^exit codes: (.*)$", out.read_text(), re.MULTILINE)
        assert found, out.read_text()
        return [int(code) for code in found[1].split()], out.read_text()

    return until_done


def spec_of(folder, name, text):
    path = folder / f"{name}.yaml"
    path.write_text(f"name: {name}\n{text}")
    return path


def shown(storage, sweep):
    """Status and failure of every trial in MLflow."""
    mlflow = client(f"sqlite:///{storage}/mlflow.db")
    experiment = mlflow.get_experiment_by_name(sweep)
    runs = mlflow.search_runs([experiment.experiment_id])
    return {run.info.run_name: (run.info.status, run.data.tags.get("sweeper.failure", "")) for run in runs}


LENET = "recipe: {network: lenet, dataset: digits, method: learned, width: 0.2}\nbudget_epochs: 1\n"
# Addresses enough for what is loaded, for small networks and for the arenas of many threads (64 MB each); the launches
# take 0.7 GB of them, and the network that is too large asks for 19 GB at once. A method with a mistake in it.
POOR = """
import mlflow, sweeper.tracking.projection
from trainers.methods.slot_machine.card import SlotMachine
used = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize")) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used + 6 * 2**30,) * 2)
def attach(*_):
    raise ValueError("no such layer")
SlotMachine.attach = attach
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the memory of a process is limited on Linux only")
def test_memory_that_runs_out_not_a_number_and_bugs_end_their_own_trials_only(run, tmp_path, storage):
    mixed = spec_of(tmp_path, "mixed", LENET + (
        "arms: [{width: 0.2}, {width: 400.0}, {finetune_learning_rate: 5.0e+18}, {method: slot_machine, options: 2}]\n"
    ))  # fmt: skip
    broken = spec_of(tmp_path, "broken", LENET.replace("learned", "slot_machine, options: 2") + "seeds: 9\n")
    local = ["--storage", storage, "--local"]
    large = ["launch", mixed, *local, "--despite-memory"]
    codes, text = run(large, [*large, "--max-retries", "0"], ["launch", broken, *local], events={"0": POOR})
    first, again, last = re.split(r"(?=^(?:mixed|broken): \d+ trials)", text, flags=re.MULTILINE)[1:]
    assert codes == [1, 1, 1]
    assert "1 of 4 trials completed, 3 failed" in first
    causes = dict(re.findall(r"^FAILED  ([\w ]+): (.*)$", first, re.MULTILINE))
    assert causes.keys() == {"out of memory", "not a number", "bug"}
    assert "can't allocate memory" in causes["out of memory"]
    assert "in epoch 1 of the finetune phase" in causes["not a number"]
    assert "ValueError: no such layer" in causes["bug"]
    assert re.findall(r"will be tried again: ([\w ]+):", first) == ["out of memory"]
    assert "sweeper retry mixed" in first
    # By themselves later launches try again what may have passed, and only that.
    assert [kind for kind in causes if f": failed: {kind}" in again] == ["out of memory"]
    assert "1 of 4 trials completed, 3 failed" in again
    assert "The sweep stopped early: 5 stages died of the same bug, ValueError: no such layer" in last
    assert "will be tried again" not in last
    found = shown(storage, "mixed")
    assert sorted(status for status, _ in found.values()) == ["FAILED"] * 4 + ["FINISHED"]
    assert {why.partition(":")[0] for status, why in found.values()} == {"", *causes}
    # Seed 0 is a trial of both, so it was known; five more, and the sweep itself. The other three were never started.
    assert [status for status, _ in shown(storage, "broken").values()] == ["FAILED"] * 7


# Where files can be made to run out of room


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 4 MB, which can be filled and made read-only."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = shutil.which("mount") and os.geteuid() == 0
    if not mounted or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", disk]).returncode:
        pytest.skip("needs root that may mount, for a small disk of its own")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


FILL = """
with open({0!r}, "wb", buffering=0) as file:
    try:
        while True:
            file.write(bytes(4096))
    except OSError as full:
        print("the disk is full:", full.strerror)
"""


def test_a_disk_that_is_full_or_read_only_loses_nothing_and_is_named(run, tmp_path, storage, small_disk, trained):
    spec = tmp_path / "tiny.yaml"
    spec.write_text(TINY)
    place = small_disk / "storage"
    local = ["launch", spec, "--storage", place, "--local", "--tracking", f"sqlite:///{storage}/mlflow.db"]
    codes, text = run([*local, "--max-retries", "1"], events={"8": FILL.format(str(small_disk / "filler"))})
    assert codes == [1]
    assert text.index("the disk is full: No space left on device") < text.index("will be tried again: infrastructure")
    assert re.search(
        r"^FAILED  infrastructure: storage: cannot write .*: No space left on device: ", text, re.MULTILINE
    )
    assert "Traceback" not in text
    finished = {path: path.read_bytes() for path in place.glob("stages/*/*/*/*")}
    assert 0 < len(finished) < 2 * 18

    (small_disk / "filler").unlink()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    codes, text = run(local)
    assert codes == [2]
    assert re.search(r"^sweeper: error: storage: cannot write to .*: Read-only file system$", text, re.MULTILINE)
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)

    codes, text = run(local)
    assert codes == [0], text
    assert f"{len(finished) // 2} stages are stored already" in text
    assert all(path.read_bytes() == content for path, content in finished.items())
    assert table_of(place) == table_of(trained_storage(trained, tmp_path))
    assert Store(place).failures() == {}
    assert {status for status, _ in shown(storage, "tiny").values()} == {"FINISHED"}


def test_records_cut_altered_or_half_written_are_told_set_aside_and_trained_again(run, tmp_path, storage, trained):
    spec, whole = trained
    shutil.copytree(whole / "stages", storage / "stages")
    shutil.copytree(whole / "keys", storage / "keys")
    cut, altered, half, *others = sorted(storage.glob("stages/*/*/*"))
    (cut / "record.json").write_bytes((cut / "record.json").read_bytes()[:-100])
    (altered / "record.json").write_bytes(
        (altered / "record.json").read_bytes().replace(b"validation", b"validatiom", 1)
    )
    (half / "state.safetensors").unlink()
    untouched = {path: path.read_bytes() for folder in others for path in folder.iterdir()}
    codes, text = run(["launch", spec, "--storage", storage, "--local"])
    assert codes == [0], text
    told = dict(re.findall(r"^Damaged, so it was set aside and trained again: (\S+) \((.*)\)$", text, re.MULTILINE))
    assert told.pop(str(cut)).startswith("record.json: not JSON: ")
    assert told.pop(str(altered)) == "record.json: it does not match its own SHA-256"
    assert told == {str(half): "half written: state.safetensors is missing"}
    assert "15 stages are stored already" in text
    assert all(path.read_bytes() == content for path, content in untouched.items())
    assert table_of(storage) == table_of(trained_storage(trained, tmp_path))
    assert len(list((storage / "damaged").glob("*.reason.txt"))) == 3


# A clock that jumps: the real one of the process, by a library that stands before the system's.
CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long offset(void) {
    long seconds = 0;
    FILE *file = fopen(getenv("CLOCK_OFFSET"), "r");
    if (file) { if (fscanf(file, "%ld", &seconds) != 1) seconds = 0; fclose(file); }
    return seconds;
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (clock == CLOCK_REALTIME) now->tv_sec += offset();
    return result;
}
time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
"""


JUMP = """
import time
def jump(run, train=execution.TrainingRun._train_all_batches):
    execution.TrainingRun._train_all_batches = train
    Path(os.environ["CLOCK_OFFSET"]).write_text("{}")
    print("it is now", time.ctime())
    return train(run)
execution.TrainingRun._train_all_batches = jump  # in the midst of what is timed
"""


def test_a_clock_that_jumps_changes_no_result_and_no_duration(run, tmp_path, storage, trained):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler or not ctypes.util.find_library("c"):
        pytest.skip("needs a C compiler, for a clock that can be made to jump")
    (tmp_path / "clock.c").write_text(CLOCK)
    library = tmp_path / "clock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", tmp_path / "clock.c", "-o", library, "-ldl"], check=True)
    spec = tmp_path / "tiny.yaml"
    spec.write_text(TINY)
    codes, text = run(
        ["launch", spec, "--storage", storage, "--local", "--save-seconds", "0"],
        events={"5": JUMP.format(-30 * 86_400), "12": JUMP.format(400 * 86_400)},
        anew=True, LD_PRELOAD=str(library), CLOCK_OFFSET=str(tmp_path / "offset"),
    )  # fmt: skip
    assert codes == [0], text
    years = [int(line[-4:]) for line in re.findall(r"^it is now .*$", text, re.MULTILINE)]
    assert years[1] - years[0] in (1, 2), "the clock did jump"
    assert "10 of 10 trials completed; 26 epochs trained" in text
    assert table_of(storage) == table_of(trained_storage(trained, tmp_path))
    store = Store(storage)
    for path in storage.glob("stages/*/*/*/record.json"):
        record = store.read(json.loads(path.read_text())["record"]["key"])
        for epoch in record.epochs:
            assert 0 < epoch["train_seconds"] < 3600 and 0 < epoch["evaluation_seconds"] < 3600
    file = json.loads((storage / "sweeps" / "tiny" / "sweep.json").read_text())
    assert 0 < file["launches"][-1]["seconds"] < 3600
    mlflow = client(f"sqlite:///{storage}/mlflow.db")
    experiment = mlflow.get_experiment_by_name("tiny")
    for tracked in mlflow.search_runs([experiment.experiment_id], "tags.`sweeper.kind` = 'trial'"):
        assert tracked.info.status == "FINISHED"
        assert 0 <= tracked.info.end_time - tracked.info.start_time < 3_600_000
