"""The index of a store is a cache: whatever becomes of it or of the records, answers are those of the store."""

import shutil
from dataclasses import replace

import pytest

from sweeper.records.bucket_store import ObjectStore, open_store
from sweeper.records.index import Finished
from sweeper.records.store import Store
from sweeper.stages.forest import Stage
from sweeper.stages.points import point_key
from sweeper.storage.base import StoreError
from sweeper.storage.bucket import Bucket, ObjectPath
from tests.sweeper.records.made_records import LINEAGE, a_record, a_state

MANY = [f"{number:064x}" for number in range(20)]  # lineages: of few a bucket is asked one by one
EPOCHS = [
    {"epoch": epoch, "validation_accuracy": epoch / 10, "train_seconds": 1.0 * epoch, "evaluation_seconds": 0.5}
    for epoch in (1, 2)
]


def opened(root):
    """The store as another process sees it, with the index that lies in it."""
    if isinstance(root, ObjectPath):
        root = ObjectPath(Bucket(root.bucket.url, root.bucket.client), root.key)
    return open_store(root, root / "sweeps" / "many" / "index")


def stage_to(end, start):
    """The stage of LINEAGE between these epochs."""
    return Stage(point_key(LINEAGE, end), None, LINEAGE, None, "slot", start, end, turns=False)


def planted(store):
    """All that planting and launching ask, by key; {} where nothing is stored."""
    store.expect([LINEAGE, *MANY])
    keys = {point_key(LINEAGE, end): (start, end) for end, start in store.spans(LINEAGE).items()}
    records = Finished(store)
    for key, (start, end) in keys.items():
        records.take(key, store.brief(stage_to(end, start)))
    return dict(records)


def without_index(root):
    return planted(open_store(opened(root).root))


@pytest.fixture
def indexed(place):
    """A store of three stages that was planted, and its index saved."""
    store = opened(open_store(place).root)
    for start, end in ((0, 2), (2, 4), (4, 6)):
        epochs = [{**epoch, "epoch": start + epoch["epoch"]} for epoch in EPOCHS]
        assert store.write(a_record(start, end, epochs=epochs), a_state())
    planted(store)
    store.index.save()
    return opened(store.root)


def record_of(store, end):
    key = point_key(LINEAGE, end)
    return store._record(key) if isinstance(store, ObjectStore) else store._folder_of(key) / "record.json"


def state_of(store, end):
    key = point_key(LINEAGE, end)
    if isinstance(store, ObjectStore):
        return store._state(key, opened(store.root)._found(key)[1])
    return store._folder_of(key) / "state.safetensors"


def unread(monkeypatch):
    def refuse(*arguments):
        raise AssertionError("a record was read")

    monkeypatch.setattr(Store, "_read_folder", refuse)
    monkeypatch.setattr(ObjectStore, "_found", refuse)


def test_what_was_indexed_is_planted_again_without_reading_a_record(indexed, monkeypatch):
    whole = {key: (record.end, record.costs) for key, record in without_index(indexed.root).items()}
    unread(monkeypatch)
    found = planted(indexed)
    assert {key: (record.end, record.costs) for key, record in found.items()} == whole and len(whole) == 3
    assert [record.epochs[-1]["epoch"] for record in found.values()] == [2, 4, 6]


def test_what_an_index_holds_not_is_read_from_the_store_and_equal_to_it(indexed):
    for key, record in planted(indexed).items():
        whole = open_store(indexed.root).read(key)
        assert dict(record.recipe) == whole.recipe and record.epochs == list(whole.epochs)
        assert replace(record, recipe=whole.recipe) == whole
        assert len(record.epochs) == 2 and record.epochs[0] == whole.epochs[0]


@pytest.mark.parametrize("what", ["changed", "cut", "record deleted", "state deleted", "trained again"])
def test_a_stage_changed_behind_the_index_is_seen_as_it_is(indexed, what):
    path = record_of(indexed, 4)
    if what == "changed":
        path.put(path.read_bytes().replace(b'"test_accuracy":0.5', b'"test_accuracy":0.6'))
    elif what == "cut":
        path.put(path.read_bytes()[:-9])
    elif what == "record deleted":
        path.remove()
    elif what == "state deleted":
        state_of(indexed, 4).remove()
    else:
        other = opened(indexed.root)
        (stage,) = [stage for stage in other.stages() if stage.key == point_key(LINEAGE, 4)]
        other.remove(stage)
        other.write(a_record(2, 4, test_accuracy=0.75), a_state(2.0))
    seen = planted(indexed)
    assert seen.keys() == without_index(indexed.root).keys()
    assert [record.test_accuracy for record in seen.values()] == ([0.5, 0.75, 0.5] if "again" in what else [0.5, 0.5])


HARM = {
    "lost": lambda text: b"-",
    "cut": lambda text: text[:-1],
    "altered": lambda text: text[:99] + b"x" + text[100:],
    "of another hash": lambda text: b"x" + text[1:],
}


@pytest.mark.parametrize("harm", HARM)
def test_a_lost_or_damaged_index_is_made_anew(indexed, harm):
    place = indexed.index.place
    place.put(HARM[harm](place.read_bytes()))
    again = opened(indexed.root)
    assert len(again.index) == 0 and planted(again).keys() == planted(indexed).keys()
    again.index.save()
    assert len(opened(indexed.root).index) == 3


def test_an_index_that_cannot_be_written_costs_nothing_but_time(indexed, monkeypatch):
    indexed.index.put("0" * 64, "tag", (Finished(indexed) and None) or indexed.brief(stage_to(2, 0)))

    def full(*arguments, **more):
        raise StoreError("storage: no space left")

    monkeypatch.setattr(type(indexed.index.place), "put", full)
    indexed.index.save()
    assert len(planted(opened(indexed.root))) == 3


def test_the_index_of_a_copied_or_moved_storage_answers_for_what_lies_there(tmp_path):
    here = opened(open_store(tmp_path / "here").root)
    for start, end in ((0, 2), (2, 4)):
        here.write(a_record(start, end), a_state())
    planted(here)
    here.index.save()
    shutil.copytree(tmp_path / "here", tmp_path / "copy")
    (tmp_path / "here").rename(tmp_path / "moved")
    shutil.rmtree(open_store(tmp_path / "copy")._folder_of(point_key(LINEAGE, 4)))
    assert len(planted(opened(open_store(tmp_path / "copy").root))) == 1
    assert len(planted(opened(open_store(tmp_path / "moved").root))) == 2


def test_a_stage_replaced_while_it_is_read_is_read_anew_next_time(indexed, monkeypatch):
    if isinstance(indexed, ObjectStore):
        pytest.skip("an object is read together with its tag")
    read = Store._read_folder

    def slow(store, folder, key):
        found = read(store, folder, key)
        text = (folder / "record.json").read_bytes()
        (folder / "record.json").put(text)  # another writer's, right after this one was read
        return found

    fresh = open_store(indexed.root)
    monkeypatch.setattr(Store, "_read_folder", slow)
    planted(fresh)
    monkeypatch.undo()
    reads = []
    monkeypatch.setattr(Store, "_read_folder", lambda *given: reads.append(given) or read(*given))
    planted(fresh)
    assert len(reads) == 3


def test_a_record_that_is_gone_by_the_time_its_curve_is_wanted_is_named(indexed):
    records = planted(indexed)
    for end in (2, 4, 6):
        record_of(indexed, end).remove()
    if isinstance(indexed, ObjectStore):
        indexed.bucket.bucket.known.clear()
    with pytest.raises(StoreError, match="is gone, or damaged"):
        list(records[point_key(LINEAGE, 4)].epochs)
