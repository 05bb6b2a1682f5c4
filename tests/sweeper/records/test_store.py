"""The store, with real files and real processes: whole or absent, whatever happens to it."""

import contextlib
import json
import math
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sweeper.records.stage_record import (
    FORMAT,
    Damaged,
    canonical,
    cut,
    decode,
    decode_partial,
    encode,
    encode_partial,
    joined,
    sha256,
)
from sweeper.records.store import RECORD, STATE, Store
from sweeper.stages.faults import StorageFault
from sweeper.stages.planting import plant
from sweeper.stages.points import point_key
from sweeper.storage.base import StoreError
from tests.sweeper.records.made_records import LINEAGE, a_record, a_state
from tests.waiting import PATIENCE_SECONDS
from trainers.costs import totals
from trainers.recipe.recipe import Recipe

# Fresh processes, forked from one that has imported torch and has no threads.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["safetensors.torch", "sweeper.records.store", "pytest"])


def folder_of(store, key):
    (folder,) = store.root.glob(f"stages/*/*/*-{key[:16]}")
    return folder


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "storage")


# Writing and reading


def test_what_is_written_is_read_back_exactly(store):
    record = a_record(epochs=[{"loss": 0.1 + 0.2}, {"loss": 1e-300}])
    assert store.write(record, a_state())
    assert store.has(record.key)
    assert store.read(record.key) == record
    read = store.read_state(record.key)
    assert read.keys() == a_state().keys()
    for name, tensor in a_state().items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)


def metered(*amounts, start=0):
    """A record of epochs with so much CPU time and energy; None: of none that is known."""
    known = [{} if each is None else {"train_cpu_seconds": each, "train_joules": 9 * each} for each in amounts]
    epochs = [{**epoch, "train_seconds": 1.0, "evaluation_seconds": 0.0} for epoch in known]
    return a_record(start, start + len(amounts), epochs=epochs, costs=totals.of_epochs(epochs, {}))


def test_cpu_time_and_energy_are_summed_where_every_epoch_has_them():
    both = joined(metered(1.0, 2.0), metered(4.0, start=2))
    assert both.costs == {"train_seconds": 3.0, "train_cpu_seconds": 7.0, "energy_joules": 63.0}
    later = cut(both, 1, "point")
    assert later.costs == {"train_seconds": 2.0, "train_cpu_seconds": 6.0, "energy_joules": 54.0}
    partly = joined(metered(1.0, None), metered(4.0, start=2))
    assert partly.costs == {"train_seconds": 3.0}
    assert cut(partly, 2, "point").costs["energy_joules"] == 36.0


def hashed_anew(record):
    content = {name: value for name, value in record.items() if name != "sha256"}
    return canonical({**content, "sha256": sha256(canonical(content))})


def test_a_record_from_before_cpu_time_was_kept_is_read_as_it_was(store):
    store.write(a_record(), a_state())
    path = folder_of(store, a_record().key) / RECORD
    _, state = decode(path.read_bytes())
    old = json.loads(encode(a_record(), state))
    for name in ("train_cpu_seconds", "energy_joules"):
        assert old["record"].pop(name, 0) is None
    old["format"] = 1
    path.write_bytes(hashed_anew(old))
    assert store.read(a_record().key) == a_record()


def test_numbers_that_are_not_finite_survive(store):
    store.write(a_record(test_loss=math.inf, epochs=[{"loss": math.nan}, {"loss": -math.inf}]), a_state())
    read = store.read(a_record().key)
    assert read.test_loss == math.inf
    assert math.isnan(read.epochs[0]["loss"])


def test_what_was_never_written_is_absent(store):
    assert store.read(a_record().key) is None
    assert not store.has(a_record().key)
    assert not store.has_state(a_record().key)
    assert store.spans(LINEAGE) == {}
    assert store.chain(a_record().key) is None
    with pytest.raises(StorageFault, match="no stage ends at"):
        store.read_state(a_record().key)
    assert store.damages == []
    assert not store.root.exists(), "looking makes nothing"


def test_a_lineage_knows_its_stages(store):
    for start, end in [(0, 2), (2, 5), (5, 9)]:
        store.write(a_record(start, end), a_state())
    assert store.spans(LINEAGE) == {2: 0, 5: 2, 9: 5}
    assert [record.end for record in store.chain(point_key(LINEAGE, 9))] == [2, 5, 9]


def test_a_chain_with_a_missing_link_is_none(store):
    for start, end in [(0, 2), (2, 5)]:
        store.write(a_record(start, end), a_state())
    shutil.rmtree(folder_of(store, point_key(LINEAGE, 2)))
    assert store.chain(point_key(LINEAGE, 5)) is None


def test_the_first_writer_wins_and_the_second_changes_nothing(store):
    assert store.write(a_record(), a_state(1.0))
    assert not store.write(a_record(test_accuracy=0.9), a_state(2.0))
    assert store.read(a_record().key).test_accuracy == 0.5
    assert torch.equal(store.read_state(a_record().key)["B.0"], a_state(1.0)["B.0"])
    assert store.damages == []
    assert os.listdir(store.root / "incoming") == []


@pytest.mark.parametrize(
    "change", [{"key": point_key(LINEAGE, 3)}, {"lineage": "cd" * 32}, {"epochs": []}, {"end": 3, "epochs": [{}] * 3}]
)
def test_a_record_that_contradicts_itself_is_refused(store, change):
    with pytest.raises(ValueError, match="does not agree with itself"):
        store.write(replace(a_record(), **change), a_state())


@pytest.mark.parametrize("key", ["", "../../etc/passwd", "ab" * 31, "AB" * 32, "ab" * 32 + "\n"])
def test_only_keys_become_part_of_a_path(store, key):
    with pytest.raises(ValueError, match="not a key"):
        store.read(key)


def test_planting_on_a_real_store_leaves_only_what_is_new(store):
    def recipes(*budgets):
        return [
            Recipe.complete({"network": "lenet", "dataset": "digits", "method": "slot_machine", "slot_epochs": epochs})
            for epochs in budgets
        ]

    for stage in plant(recipes(2, 4), {"digits": "d"}, store).stages.values():
        store.write(a_record(stage.start, stage.end, stage.lineage, key=stage.key, parent=stage.parent), a_state())
    forest = plant(recipes(2, 4, 7), {"digits": "d"}, store)
    assert forest.epochs_left == 3
    # The state that training would go on from is checked before anything is planned on it.
    state = folder_of(store, sorted(forest.stages.values(), key=lambda stage: stage.end)[1].key) / STATE
    state.write_bytes(state.read_bytes()[:-1] + b"x")
    assert plant(recipes(2, 4, 7), {"digits": "d"}, store).epochs_left == 5
    assert [damage.reason for damage in store.damages] == [f"{STATE} does not match its SHA-256"]


# Damage


def assert_set_aside(store, key, reason):
    assert store.read(key) is None
    (damage,) = store.damages
    assert reason in damage.reason
    assert damage.moved_to.exists()
    assert reason in Path(f"{damage.moved_to}.reason.txt").read_text()
    assert store.write(a_record(), a_state()), "and it can be written again"
    assert store.read(key) == a_record()


def test_a_record_is_damaged_whichever_of_its_bytes_is_changed(store):
    store.write(a_record(test_loss=1e-9), a_state())  # which 1E-9 equals, in JSON
    text = (folder_of(store, a_record().key) / RECORD).read_bytes()
    for position in range(len(text)):
        for flip in (0x01, 0x20):
            damaged = bytes([*text[:position], text[position] ^ flip, *text[position + 1 :]])
            with pytest.raises(Damaged):
                decode(damaged)


def test_a_record_is_damaged_at_whatever_length_it_is_cut(store):
    store.write(a_record(), a_state())
    text = (folder_of(store, a_record().key) / RECORD).read_bytes()
    for length in range(len(text)):
        with pytest.raises(Damaged):
            decode(text[:length])
    with pytest.raises(Damaged):
        decode(text + b"\n")


@pytest.mark.parametrize("position", [0, 1, 40, -1])
def test_a_record_with_a_changed_byte_is_set_aside_and_reported(store, position):
    store.write(a_record(), a_state())
    path = folder_of(store, a_record().key) / RECORD
    text = bytearray(path.read_bytes())
    text[position] ^= 0x01
    path.write_bytes(text)
    assert_set_aside(store, a_record().key, RECORD)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b'{"record": 3}', b"\xff\xfe"])
def test_a_record_that_is_something_else_is_set_aside(store, content):
    store.write(a_record(), a_state())
    (folder_of(store, a_record().key) / RECORD).write_bytes(content)
    assert_set_aside(store, a_record().key, RECORD)


@pytest.mark.parametrize("name", [RECORD, STATE])
def test_a_stage_without_one_of_its_files_is_half_written(store, name):
    store.write(a_record(), a_state())
    (folder_of(store, a_record().key) / name).unlink()
    assert_set_aside(store, a_record().key, f"half written: {name} is missing")


def test_a_cut_state_shows_when_the_record_is_read(store):
    store.write(a_record(), a_state())
    path = folder_of(store, a_record().key) / STATE
    path.write_bytes(path.read_bytes()[:-1])
    assert_set_aside(store, a_record().key, f"{STATE} has")


@pytest.mark.parametrize("position", [0, 7, 30, -30, -1])
def test_a_state_with_a_changed_byte_is_never_handed_out(store, position):
    store.write(a_record(), a_state())
    path = folder_of(store, a_record().key) / STATE
    content = bytearray(path.read_bytes())
    content[position] ^= 0x80
    path.write_bytes(content)
    with pytest.raises(StorageFault, match="was damaged"):
        store.read_state(a_record().key)
    assert_set_aside(store, a_record().key, f"{STATE} does not match its SHA-256")


def test_a_stage_copied_from_elsewhere_is_foreign(store):
    store.write(a_record(0, 2), a_state())
    store.write(a_record(0, 3), a_state())
    two, three = (folder_of(store, point_key(LINEAGE, end)) for end in (2, 3))
    shutil.rmtree(two)
    shutil.copytree(three, two)
    assert_set_aside(store, a_record().key, f"{RECORD} is that of another stage")


def test_a_folder_that_is_no_stage_is_set_aside_when_its_lineage_is_listed(store):
    store.write(a_record(), a_state())
    parent = folder_of(store, a_record().key).parent
    (parent / "000007-0123456789abcdef").mkdir()
    (parent / "notes.txt").write_text("mine")
    assert store.spans(LINEAGE) == {2: 0}
    assert len(store.damages) == 2


def test_a_file_where_a_stage_should_be_gives_way(store):
    store.write(a_record(), a_state())
    folder = folder_of(store, a_record().key)
    shutil.rmtree(folder)
    folder.write_text("not a folder")
    assert store.write(a_record(), a_state())
    assert store.read(a_record().key) == a_record()


@pytest.mark.parametrize("content", ["", "x", "../.. 2", f"{LINEAGE} two", f"{LINEAGE} 3"])
def test_a_damaged_pointer_makes_a_stage_absent_until_it_is_written_again(store, content):
    store.write(a_record(), a_state())
    (store.root / "keys" / a_record().key[:2] / a_record().key).write_text(content)
    assert store.read(a_record().key) is None
    assert not store.write(a_record(), a_state())
    assert store.read(a_record().key) == a_record()


def test_a_record_of_a_newer_version_is_left_alone_and_named(store):
    store.write(a_record(), a_state())
    path = folder_of(store, a_record().key) / RECORD
    path.write_bytes(hashed_anew({**json.loads(path.read_text()), "format": FORMAT + 1}))
    with pytest.raises(StoreError, match="newer version"):
        store.read(a_record().key)
    assert path.exists()


# Two that find the same damage


def damage(store, what):
    """Damages a stored stage, and says what reading it calls and what it gives when all is well again."""
    store.write(a_record(), a_state())
    if what == "partial":
        store.write_partial(a_record().key, a_record(), a_state())
        path = store.root / "partials" / a_record().key[:2] / a_record().key
        path.write_bytes(path.read_bytes()[:-1])
        return "sweeper.records.unfinished.decode_partial", lambda reader: reader.read_partial(a_record().key)[0]
    path = folder_of(store, a_record().key) / {"record": RECORD, "state": STATE}[what]
    content = path.read_bytes()
    path.write_bytes(content[:-2] + b"x" + content[-1:])
    if what == "record":
        return "sweeper.records.store.decode", lambda reader: reader.read(a_record().key)
    return "sweeper.records.store.sha256", lambda reader: reader.read_state(a_record().key) and a_record()


@pytest.mark.parametrize("moment", ["before it is moved", "while it is moved"])
@pytest.mark.parametrize("what", ["record", "state", "partial"])
def test_a_good_one_written_while_another_finds_the_damage_too_is_not_set_aside(store, monkeypatch, what, moment):
    called, read = damage(store, what)
    quicker, slow = Store(store.root), Store(store.root)

    def mend():
        monkeypatch.undo()
        with contextlib.suppress(StorageFault, TypeError):
            read(quicker)
        quicker.write(a_record(), a_state())
        if what == "partial":
            quicker.write_partial(a_record().key, a_record(), a_state())

    if moment == "before it is moved":
        module, _, name = called.rpartition(".")
        original = getattr(sys.modules[module], name)

        def meanwhile(content):
            mend()
            return original(content)

        monkeypatch.setattr(called, meanwhile)
    else:
        rename = Path.rename

        def meanwhile(path, target):
            mend()
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", meanwhile)
    assert read(slow) == a_record()
    assert read(store) == a_record()
    assert (len(quicker.damages), slow.damages) == (1, [])
    assert len(list((store.root / "damaged").glob("*.reason.txt"))) == 1


# Many processes at once


def write_all(root, barrier, worker, keys):
    store = Store(root)
    barrier.wait()
    wins = [store.write(a_record(0, end, test_accuracy=worker / 10), a_state(float(worker))) for end in keys]
    assert store.damages == []
    return wins


def _in_process(queue, call, *arguments):
    try:
        queue.put(("returned", call(*arguments)))
    except BaseException as error:
        queue.put((type(error).__name__, str(error)))


def in_processes(calls):
    """What each call returned, or the name and text of what it raised, run side by side in fresh processes."""
    queues = [processes.Queue() for _ in calls]
    started = [
        processes.Process(target=_in_process, args=(queue, *call)) for queue, call in zip(queues, calls, strict=True)
    ]
    for process in started:
        process.start()
    answers = [queue.get(timeout=PATIENCE_SECONDS) for queue in queues]
    for process in started:
        process.join()
    return answers


def test_of_many_writers_of_one_stage_exactly_one_wins(store):
    barrier = processes.Barrier(3)
    ends = list(range(1, 21))
    answers = in_processes([(write_all, store.root, barrier, worker, ends) for worker in range(3)])
    assert [kind for kind, _ in answers] == ["returned"] * 3, answers
    for number, end in enumerate(ends):
        winners = [worker for worker, (_, wins) in enumerate(answers) if wins[number]]
        assert len(winners) == 1
        key = point_key(LINEAGE, end)
        assert store.read(key).test_accuracy == winners[0] / 10
        assert store.read_state(key)["B.0"][0, 0] == winners[0]
    assert store.damages == []
    assert os.listdir(store.root / "incoming") == []


def die_while_writing(root, at):
    """Write a stage, and be killed at the `at`-th system call that touches the disk."""
    calls = 0

    def counted(original):
        def call(*arguments, **named):
            nonlocal calls
            calls += 1
            if calls == at:
                os.kill(os.getpid(), 9)
            return original(*arguments, **named)

        return call

    for name in ("fsync", "rename", "replace", "mkdir", "open"):
        setattr(os, name, counted(getattr(os, name)))
    Store(root).write(a_record(), a_state())
    os._exit(7)  # it was written before the call where it should have died


def test_a_writer_killed_at_any_moment_leaves_a_whole_stage_or_none(tmp_path):
    at, exit_code = 0, -9
    while exit_code == -9:
        at += 1
        store = Store(tmp_path / str(at))
        process = processes.Process(target=die_while_writing, args=(store.root, at))
        process.start()
        process.join()
        exit_code = process.exitcode
        assert store.read(a_record().key) in (None, a_record())
        assert store.spans(LINEAGE) in ({}, {2: 0})
        store.write(a_record(), a_state())
        assert store.read(a_record().key) == a_record()
        assert store.damages == []
    assert exit_code == 7
    assert at > 10, "it was killed at every one of its steps"


# A disk that refuses


def with_small_files(root):
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    Store(root).write(a_record(), {"B": torch.zeros(100_000)})


def test_a_disk_that_takes_no_more_is_named_with_the_path_and_the_cause(store):
    ((kind, text),) = in_processes([(with_small_files, store.root)])
    assert kind == "StoreError"
    assert text.startswith(f"storage: cannot write {store.root}/stages/ab/{LINEAGE}/000002-")
    assert text.endswith(": File too large")
    assert store.read(a_record().key) is None
    assert os.listdir(store.root / "incoming") == []


def as_nobody(root, action):
    # Whatever is imported late is imported now: nobody may be unable to read the folder that it is installed in.
    with tempfile.TemporaryDirectory() as scratch:
        Store(Path(scratch)).write(a_record(), a_state())
    if os.getuid() == 0:
        os.setuid(65534)
    store = Store(root)
    if action == "prepare":
        store.prepare()
    elif action == "write":
        store.write(a_record(end=3), a_state())
    elif action == "read partial":
        return store.read_partial(a_record().key), [damage.reason for damage in store.damages]
    elif action == "read damaged":
        return store.read(a_record().key), [damage.reason for damage in store.damages]
    return store.read(a_record().key) == a_record()


@pytest.fixture
def locked_store():
    """A store that others may read and not write, with one stage in it."""
    root = Path(tempfile.mkdtemp(prefix="sweeper-locked-"))
    root.chmod(0o755)
    store = Store(root / "storage")
    store.write(a_record(), a_state())
    for folder in [store.root, *(path for path in store.root.rglob("*") if path.is_dir())]:
        folder.chmod(0o555)
    yield store
    for folder in [store.root, *(path for path in store.root.rglob("*") if path.is_dir())]:
        folder.chmod(0o755)
    shutil.rmtree(root)


def test_a_store_that_may_not_be_written_says_so_and_can_still_be_read(locked_store):
    prepared, written, read = in_processes(
        [(as_nobody, locked_store.root, action) for action in ("prepare", "write", "")]
    )
    assert prepared[0] == written[0] == "StoreError"
    assert prepared[1].startswith(f"storage: cannot write to {locked_store.root}/incoming")
    assert prepared[1].endswith("Permission denied")
    assert written[1].endswith("Permission denied")
    assert read == ("returned", True)


def test_damage_that_cannot_be_moved_away_is_absent_and_reported_all_the_same(locked_store):
    path = folder_of(locked_store, a_record().key) / RECORD
    path.write_bytes(b"{}")
    ((kind, (record, reasons)),) = in_processes([(as_nobody, locked_store.root, "read damaged")])
    assert (kind, record) == ("returned", None)
    assert "cannot be moved away: Permission denied" in reasons[0]


def test_a_record_that_may_not_be_read_is_an_error_and_not_an_absence(locked_store):
    path = folder_of(locked_store, a_record().key) / RECORD
    path.chmod(0)
    ((kind, text),) = in_processes([(as_nobody, locked_store.root, "read damaged")])
    assert kind == "StoreError"
    assert text == f"storage: cannot read {path.parent}: Permission denied"


def test_a_partial_that_may_not_be_read_is_reported_and_done_without(locked_store):
    locked_store.root.chmod(0o755)
    locked_store.write_partial(a_record().key, a_record(), a_state())
    (locked_store.root / "partials" / a_record().key[:2] / a_record().key).chmod(0)
    ((kind, (partial, reasons)),) = in_processes([(as_nobody, locked_store.root, "read partial")])
    assert (kind, partial, reasons) == ("returned", None, ["cannot be read: Permission denied"])


def test_damage_in_the_way_that_cannot_be_moved_is_named(store):
    store.write(a_record(), a_state())
    folder = folder_of(store, a_record().key)
    (folder / RECORD).write_bytes(b"{}")
    (store.root / "damaged").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match=f"cannot write {folder}: what lies there is damaged and cannot be moved away"):
        store.write(a_record(), a_state())


def test_a_file_where_the_storage_should_be_is_a_clear_error(tmp_path):
    (tmp_path / "storage").write_text("")
    with pytest.raises(StoreError, match=r"cannot write to .*storage.*: (Not a directory|File exists)"):
        Store(tmp_path / "storage").prepare()


# Leftovers


@pytest.mark.parametrize("skew", [-1e6, 0, 1e6], ids=["our clock is behind", "is right", "is ahead"])
def test_drafts_of_crashed_writers_go_once_they_are_old(store, monkeypatch, skew):
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + skew)
    store.prepare()
    old, young = (store.root / "incoming" / name for name in ("old", "young"))
    for draft in (old, young):
        draft.mkdir()
        (draft / STATE).write_bytes(b"half")
    (store.root / "incoming" / "old-file").write_bytes(b"half")
    long_ago = right() - 48 * 3600
    for path in (old, store.root / "incoming" / "old-file"):
        os.utime(path, (long_ago, long_ago))
    store.prepare()
    assert {path.name for path in (store.root / "incoming").iterdir()} - {"probe"} == {"young"}


# Stages on their way


def test_a_partial_is_replaced_and_goes_when_its_stage_is_written(store):
    key = a_record(end=5).key
    assert store.read_partial(key) is None
    for done in (1, 3):
        store.write_partial(key, a_record(0, done), a_state(float(done)))
    record, state = store.read_partial(key)
    assert record == a_record(0, 3)
    assert torch.equal(state["B.0"], a_state(3.0)["B.0"])
    assert not store.has(key)
    store.write(a_record(end=5), a_state())
    assert store.read_partial(key) is None


def test_a_partial_of_a_stage_with_another_start_is_not_used(store):
    key = a_record(end=5).key
    store.write_partial(key, a_record(2, 4), a_state())
    assert store.read_partial(key, start=0) is None
    assert store.read_partial(key, start=2)[0].end == 4


def test_a_partial_is_damaged_whichever_byte_is_changed_and_wherever_it_is_cut():
    content = encode_partial(a_record(), b"some state")
    assert decode_partial(content) == (a_record(), b"some state")
    for position in range(len(content)):
        with pytest.raises(Damaged):
            decode_partial(bytes([*content[:position], content[position] ^ 0x01, *content[position + 1 :]]))
        with pytest.raises(Damaged):
            decode_partial(content[:position])


def test_a_damaged_partial_is_set_aside_and_the_stage_starts_again(store):
    key = a_record(end=5).key
    store.write_partial(key, a_record(), a_state())
    path = store.root / "partials" / key[:2] / key
    path.write_bytes(path.read_bytes()[:-1])
    assert store.read_partial(key) is None
    assert not path.exists()
    assert len(store.damages) == 1


# Stages that failed


def test_a_failure_is_kept_until_it_is_cleared(store):
    key = a_record().key
    failure = {"fault": "bug", "reason": "KeyError: 'x'", "traceback": "…", "attempts": 2}
    assert store.read_failure(key) is None
    assert store.failures() == {}
    store.write_failure(key, failure)
    assert store.read_failure(key) == failure
    assert store.failures() == {key: failure}
    store.clear_failure(key)
    assert store.failures() == {}
    store.clear_failure(key)


def test_a_failure_is_forgotten_when_its_stage_succeeds(store):
    store.write_failure(a_record().key, {"fault": "infrastructure"})
    store.write(a_record(), a_state())
    assert store.failures() == {}


def test_a_damaged_failure_is_as_good_as_none(store):
    store.write_failure(a_record().key, {"fault": "bug"})
    (store.root / "failures" / f"{a_record().key}.json").write_text("{")
    (store.root / "failures" / "notes.json").write_text("{}")
    assert store.failures() == {}
    assert len(store.damages) == 1
