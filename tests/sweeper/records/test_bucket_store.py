"""The store's promises, over every kind of place that it may lie in: a folder, memory, a local S3 behind HTTP."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import torch

from sweeper.records.bucket_store import ObjectStore, check_promises, open_store
from sweeper.records.store import StateLeftOut
from sweeper.records.sweep_folder import SweepFile, SweepFolder
from sweeper.stages.faults import Fault, StorageFault, failure_of
from sweeper.stages.planting import plant
from sweeper.stages.points import point_key
from sweeper.storage.base import StoreError
from sweeper.storage.bucket import Bucket, ObjectPath, bucket_at
from sweeper.storage.journal import ObjectLog
from sweeper.storage.place import storage_at, storage_that_answers
from tests.sweeper.records.made_records import LINEAGE, a_record, a_state
from tests.sweeper.storage.object_server import a_service
from trainers.errors import InvalidInput
from trainers.recipe.recipe import Recipe

KEY = a_record().key


@pytest.fixture
def store(place):
    return open_store(place)


def again(store):
    """The same place, seen by another process."""
    root = store.root
    if not isinstance(root, ObjectPath):
        return open_store(root)
    return open_store(ObjectPath(Bucket(root.bucket.url, root.bucket.client), root.key))


def paths(store, key=KEY):
    """Where the record and the state of a stage lie."""
    if isinstance(store, ObjectStore):
        return store._record(key), store._state(key, again(store)._found(key)[1])
    folder = store._folder_of(key)
    return folder / "record.json", folder / "state.safetensors"


# Writing and reading


def test_what_is_written_is_read_back_exactly(store):
    store.prepare()
    assert store.write(a_record(), a_state())
    other = again(store)
    assert other.has(KEY) and other.has_state(KEY) and other.read(KEY) == a_record()
    read = other.read_state(KEY)
    assert read.keys() == a_state().keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in a_state().items())


def test_what_was_never_written_is_absent(store):
    assert store.read(KEY) is None and not store.has_state(KEY) and store.chain(KEY) is None
    assert store.spans(LINEAGE) == {} and list(store.newest(5)) == [] and store.failures() == {}
    assert store.read_partial(KEY) is None and store.partial_record(KEY) is None
    with pytest.raises(StorageFault, match="no stage ends at"):
        store.read_state(KEY)
    assert store.damages == []


def test_a_lineage_knows_its_stages_however_many_are_expected(store):
    for start, end in [(0, 2), (2, 5), (5, 9)]:
        store.write(a_record(start, end), a_state())
    other = again(store)
    for lineages in ([LINEAGE], [LINEAGE, *(f"{number:064x}" for number in range(40))]):
        other.expect(lineages)
        assert other.spans(LINEAGE) == {2: 0, 5: 2, 9: 5}
    assert other.spans(LINEAGE) == {2: 0, 5: 2, 9: 5}
    assert [record.end for record in other.chain(point_key(LINEAGE, 9))] == [2, 5, 9]
    joined = other.read_span(point_key(LINEAGE, 9), 2)
    assert (joined.start, [epoch["epoch"] for epoch in joined.epochs]) == (2, [3, 4, 5, 6, 7, 8, 9])
    assert [record.end for record in other.newest(3)][:1] == [9]


def test_the_first_writer_wins_and_the_second_changes_nothing(store):
    assert store.write(a_record(), a_state(1.0))
    assert not again(store).write(a_record(test_accuracy=0.9), a_state(2.0))
    assert again(store).read(KEY).test_accuracy == 0.5
    assert torch.equal(again(store).read_state(KEY)["B.0"], a_state(1.0)["B.0"])
    assert store.damages == []
    (stage,) = open_store(store.root).stages()
    assert stage.key == KEY
    if isinstance(store, ObjectStore):
        assert len((store.root / "stages").entries()) == 2, "nothing is left of the second's state"


def test_of_many_writers_at_once_exactly_one_wins(store):
    barrier = threading.Barrier(6)

    def write(number):
        mine = again(store)
        barrier.wait()
        return mine.write(a_record(test_accuracy=number / 10), a_state(float(number)))

    with ThreadPoolExecutor(6) as pool:
        won = list(pool.map(write, range(6)))
    assert won.count(True) == 1
    assert again(store).read(KEY).test_accuracy == won.index(True) / 10
    assert again(store).read_state(KEY)["B.0"][0, 0] == won.index(True)


def test_planting_leaves_only_what_is_new(store):
    def recipes(*budgets):
        fields = {"network": "lenet", "dataset": "digits", "method": "slot_machine"}
        return [Recipe.complete({**fields, "slot_epochs": epochs}) for epochs in budgets]

    for stage in plant(recipes(2, 4), {"digits": "d"}, store).stages.values():
        store.write(a_record(stage.start, stage.end, stage.lineage, key=stage.key, parent=stage.parent), a_state())
    forest = plant(recipes(2, 4, 7), {"digits": "d"}, again(store))
    assert forest.epochs_left == 3
    state = paths(store, sorted(forest.stages.values(), key=lambda stage: stage.end)[1].key)[1]
    state.put(state.read_bytes()[:-1] + b"x")
    other = again(store)
    assert plant(recipes(2, 4, 7), {"digits": "d"}, other).epochs_left == 5
    assert len(other.damages) == 1


# Damage


@pytest.mark.parametrize("what", ["record", "other record", "state", "cut state", "no state"])
def test_whatever_is_damaged_is_set_aside_told_and_written_again(store, what):
    store.write(a_record(), a_state())
    store.write(a_record(0, 3), a_state())
    record, state = paths(store)
    if what == "record":
        record.put(record.read_bytes()[:-2])
    elif what == "other record":
        record.put(paths(store, point_key(LINEAGE, 3))[0].read_bytes())
    elif what == "state":
        state.put(state.read_bytes()[:-1] + b"x")
    elif what == "cut state":
        state.put(state.read_bytes()[:-1])
    else:
        state.remove()
    reader = again(store)
    with pytest.raises(StorageFault):
        reader.read_state(KEY)
    assert reader.read(KEY) is None
    assert reader.damages and reader.damages[0].moved_to is not None
    assert (store.root / "damaged").is_dir()
    assert again(store).spans(LINEAGE) == {3: 0}
    assert reader.write(a_record(), a_state())
    assert again(store).read(KEY) == a_record() and again(store).has_state(KEY)


@pytest.mark.parametrize("moment", ["before it is taken away", "while it is taken away"])
def test_what_another_has_mended_meanwhile_is_not_set_aside(in_bucket, monkeypatch, moment):
    store = open_store(in_bucket)
    store.write(a_record(), a_state())
    record, _ = paths(store)
    record.put(b"{}")
    slow, quick = again(store), again(store)
    owner, name = (ObjectStore, "_set_aside") if moment.startswith("before") else (ObjectPath, "replace_if")
    original = getattr(owner, name)

    def late(self, *arguments):
        monkeypatch.undo()
        assert quick.read(KEY) is None and quick.write(a_record(), a_state())
        return original(self, *arguments)

    monkeypatch.setattr(owner, name, late)
    assert slow.read(KEY) == a_record()
    assert (len(quick.damages), slow.damages) == (1, [])
    assert again(store).read(KEY) == a_record()
    assert len((in_bucket / "damaged").entries()) == 2, "what was damaged, and the reason"


# Unfinished


def test_partials_and_failures_are_kept_replaced_and_forgotten(store):
    store.write_failure(KEY, {"fault": "bug"})
    for end in (1, 2):
        store.write_partial(KEY, a_record(0, end), a_state(float(end)))
    other = again(store)
    assert other.failures() == {KEY: {"fault": "bug"}} and other.partial_record(KEY) == a_record()
    assert other.read_partial(KEY)[1]["B.0"][0, 0] == 2.0 and other.read_partial(KEY, start=1) is None
    store.write(a_record(), a_state())
    other = again(store)
    assert other.failures() == {} and other.partial_record(KEY) is None and other.read_partial(KEY) is None
    store.clear_failure(KEY)
    store.remove_partial(KEY)


def test_a_damaged_partial_or_failure_is_as_good_as_none(store):
    store.write_partial(KEY, a_record(), a_state())
    store.write_failure(KEY, {"fault": "bug"})
    store._partial(KEY).put(store._partial(KEY).read_bytes()[:-1])
    store._failure(KEY).put(b"{")
    assert store.read_partial(KEY) is None and store.read_failure(KEY) is None and again(store).failures() == {}
    assert len(store.damages) == 2
    store.write_partial(KEY, a_record(), a_state())
    assert again(store).read_partial(KEY)[0] == a_record()


def test_a_result_without_its_state_counts_and_gives_way_to_one_that_has_it(store):
    assert store.write(a_record(), {})
    other = again(store)
    assert other.has(KEY) and other.spans(LINEAGE) == {2: 0} and other.read(KEY) == a_record()
    assert other.is_left_out(KEY) and not other.has_state(KEY)
    with pytest.raises(StateLeftOut, match="was left out"):
        other.read_state(KEY)
    assert not again(store).write(a_record(test_accuracy=0.9), {})
    assert again(store).write(a_record(), a_state())
    assert not again(store).is_left_out(KEY) and again(store).read_state(KEY).keys() == a_state().keys()
    assert not again(store).write(a_record(test_accuracy=0.9), {})
    assert again(store).has_state(KEY) and store.damages == []


# What lies in it


def test_what_is_removed_is_absent_and_can_be_written_again(store):
    for end in (2, 3):
        store.write(a_record(0, end), a_state())
    inventory = open_store(store.root)
    stages = {stage.key: stage for stage in inventory.stages()}
    assert stages.keys() == {KEY, point_key(LINEAGE, 3)}
    assert {stage.lineage for stage in stages.values()} == {LINEAGE} and all(
        stage.size > 500 for stage in stages.values()
    )
    inventory.remove(stages[KEY])
    assert again(store).read(KEY) is None and again(store).spans(LINEAGE) == {3: 0}
    assert again(store).write(a_record(), a_state())
    assert again(store).read(KEY) == a_record()


def test_states_that_crashed_writers_left_go_once_they_are_old(in_bucket, monkeypatch):
    store = open_store(in_bucket)
    store.write(a_record(), a_state())
    orphan = in_bucket / "stages" / "cd" / ("cd" * 32) / f"{'0' * 64}.safetensors"
    orphan.put(b"half")
    assert open_store(in_bucket).remove_leftovers() == 0 and orphan.is_file()
    monkeypatch.setattr("sweeper.records.bucket_store.DRAFTS_ARE_OLD_AFTER_SECONDS", -1.0)
    assert open_store(in_bucket).remove_leftovers() == 1 and not orphan.is_file()
    assert again(store).has_state(KEY)


def test_sweeps_are_found_by_name(place):
    for name in ("b", "a"):
        SweepFolder(place, name).write(SweepFile(name, "", "sqlite:///x.db", {}), "name: x\n")
    assert SweepFolder.names(place) == ["a", "b"]
    assert SweepFolder.find(place, "a").read().name == "a"
    with pytest.raises(InvalidInput, match=r"'\.\./a' is not in .*; there are a, b"):
        SweepFolder.find(place, "../a")


def test_a_log_of_two_writers_holds_what_both_appended_in_one_order(in_bucket):
    def append(name):
        log = ObjectLog(in_bucket / "log")
        for number in range(8):
            log.append(f"{name}{number}".encode())

    assert not ObjectLog(in_bucket / "log").exists()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(append, "ab"))
    entries = ObjectLog(in_bucket / "log").entries()
    assert [entry for entry in entries if entry[:1] == b"a"] == [f"a{number}".encode() for number in range(8)]
    assert len(entries) == 16 and ObjectLog(in_bucket / "log").exists()
    reader = ObjectLog(in_bucket / "log")
    assert reader.entries() == entries
    append("c")
    assert len(reader.entries()) == 24


# Places that will not do


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("hdfs://bucket/prefix", "hdfs:// is none that is understood"),
        ("s3a://bucket/prefix", "did you mean s3"),
        ("s3://", "is not s3://BUCKET/PREFIX"),
        ("s3://bucket/../other", "where no part begins with a dot"),
        ("s3://bucket/%2e%2e/other", "is not s3://BUCKET/PREFIX"),
        ("s3://bucket//x", "is not s3://BUCKET/PREFIX"),
        ("s3://bucket/x?endpoint=http://elsewhere", "is not s3://BUCKET/PREFIX"),
        ("s3://bucket/a\nb", "is not s3://BUCKET/PREFIX"),
        ("s3://AKIA123:hunter2@bucket/prefix", "credentials come from the environment"),
    ],
)
def test_a_url_that_will_not_do_is_refused_and_no_key_in_it_is_repeated(url, reason):
    with pytest.raises(InvalidInput, match=r"^storage: ") as refused:
        storage_at(url)
    assert reason in str(refused.value)
    assert "hunter2" not in str(refused.value) and "AKIA123" not in str(refused.value)


@pytest.mark.parametrize("text", ["s3", "./s3:/x", "/tmp/x", "file:///tmp/x"])
def test_everything_that_is_no_url_is_a_folder(text):
    assert isinstance(storage_at(text), Path)


def test_a_bucket_that_does_not_exist_is_named(bucket):
    with pytest.raises(
        StoreError, match=r"^storage: cannot read s3://other/x: NoSuchBucket: The specified bucket does"
    ):
        storage_that_answers("s3://other/x")
    with pytest.raises(StoreError, match=r"^storage: cannot write to s3://other/x/.*: NoSuchBucket: "):
        open_store(storage_at("s3://other/x")).prepare()


def test_an_endpoint_where_nobody_listens_is_named_within_seconds(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(
        StoreError, match=r"^storage: cannot read s3://.*: http://127.0.0.1:1 does not answer as it should"
    ):
        storage_that_answers(bucket)
    away = open_store(bucket_at(bucket, timedelta(seconds=0.2)))
    with pytest.raises(StoreError) as error:
        away.write(a_record(), a_state())
    assert failure_of(error.value).fault is Fault.INFRASTRUCTURE


def test_credentials_that_are_not_taken_are_told_without_being_repeated(tmp_path, bucket, monkeypatch):
    with a_service(tmp_path, INITIAL_NO_AUTH_ACTION_COUNT="1") as service:
        monkeypatch.setenv("AWS_ENDPOINT_URL", service.endpoint)
        with pytest.raises(StoreError, match=r"cannot read s3://bucket.*: (InvalidAccessKeyId|AccessDenied)") as error:
            storage_that_answers(bucket)
    assert "AKIATHISISNOREALKEY0" not in str(error.value) and "not-a-real-secret" not in str(error.value)


def test_a_service_that_lets_two_create_the_same_object_is_refused_before_anything_starts(in_bucket, monkeypatch):
    check_promises(in_bucket)
    monkeypatch.setattr(ObjectPath, "create", lambda self, content: self.put(content) is None)
    with pytest.raises(StoreError, match=r"both succeed .If-None-Match"):
        open_store(in_bucket).prepare()
    monkeypatch.setattr(ObjectPath, "replace_if", lambda self, tag, content: self.put(content) is None)
    with pytest.raises(StoreError, match="If-Match"):
        open_store(in_bucket).prepare()
