"""Claims on stages: launches that share a storage never train the same stage twice, whoever dies meanwhile."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from sweeper.cli.progress import Progress
from sweeper.launch.local import run_local
from sweeper.launch.orders import Step
from sweeper.records.store import Store
from sweeper.stages.faults import Failure, Fault
from sweeper.stages.points import point_key
from sweeper.storage import claims
from sweeper.storage.claims import Claims
from sweeper.storage.folder import Folder
from tests.sweeper.small_sweeps import TINY, a_launch, facts, table_of, train, trained_storage
from tests.sweeper.storage.claiming import KEYS, Clock, Recorded, epochs_of
from tests.waiting import PATIENCE_SECONDS, ending_of, wait_until


@pytest.fixture
def clock():
    return Clock()


def files(root):
    return sorted(path.name for path in (root / "claims").rglob("*") if path.is_file())


def somebody(root, key, **process):
    """A claim as another process has made it."""
    owner = "a" * 32
    (root / "claims" / "owners").mkdir(parents=True, exist_ok=True)
    card = root / "claims" / "owners" / owner
    card.write_text(json.dumps({"host": "there", "kernel": "another", "pid": 1, "born": "1", **process}))
    (root / "claims" / f"{key}.{owner}").touch()
    return card


def test_a_stage_is_claimed_by_one_until_it_lets_go_and_then_nothing_is_left(tmp_path):
    threads = set(threading.enumerate())
    first, second = Claims(Folder(tmp_path)), Claims(Folder(tmp_path))
    assert first.take(KEYS[0]) and first.take(KEYS[0]) and second.take(KEYS[1])
    assert not second.take(KEYS[0])
    first.release(KEYS[0])
    second._taken = (-1e9, frozenset())  # half a second later
    assert second.take(KEYS[0])
    assert not first.take(KEYS[0])
    second.release_all()
    first.release(KEYS[0])  # which is not its own any more
    assert files(tmp_path) == []
    wait_until(lambda: set(threading.enumerate()) <= threads)


def test_the_claim_of_a_process_that_is_gone_is_taken_over_at_once(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    born = claims._born(gone.pid)
    gone.wait()
    somebody(tmp_path, KEYS[0], kernel=claims._kernel(), pid=gone.pid, born=born)
    assert Claims(Folder(tmp_path)).take(KEYS[0])
    somebody(tmp_path, KEYS[1], kernel=claims._kernel(), pid=os.getpid(), born="1")  # a later one of the same number
    assert Claims(Folder(tmp_path)).take(KEYS[1])
    somebody(tmp_path, KEYS[2], kernel=claims._kernel(), pid=os.getpid(), born=claims._born(os.getpid()))
    assert not Claims(Folder(tmp_path)).take(KEYS[2])


@pytest.mark.parametrize("skew", [-1e6, 0.0, 1e6], ids=["their clock is behind", "is alike", "is ahead"])
def test_the_claim_of_another_machine_holds_as_long_as_its_owner_touches_it_whatever_the_clocks_say(
    tmp_path, clock, skew
):
    card = somebody(tmp_path, KEYS[0])
    observer = Claims(Folder(tmp_path), clock)
    for beat in range(5):
        os.utime(card, (time.time() + skew + beat, time.time() + skew + beat))
        clock.now += claims.PATIENCE_SECONDS - 1
        assert not observer.take(KEYS[0])
    clock.now += claims.PATIENCE_SECONDS - 1
    assert not observer.take(KEYS[0])
    clock.now += 2
    assert observer.take(KEYS[0])
    assert not card.exists()
    observer.release_all()


def test_a_claim_without_a_readable_owner_is_given_the_same_time(tmp_path, clock):
    somebody(tmp_path, KEYS[0]).write_text("")  # the disk was full
    observer = Claims(Folder(tmp_path), clock)
    assert not observer.take(KEYS[0])
    clock.now += claims.PATIENCE_SECONDS + 1
    assert observer.take(KEYS[0])
    observer.release_all()


def test_whoever_was_taken_for_dead_comes_back_under_another_name(tmp_path):
    sleeper = Claims(Folder(tmp_path))
    assert sleeper.take(KEYS[0])
    name = sleeper.owner
    for path in [*(tmp_path / "claims").glob("*.*"), *(tmp_path / "claims" / "owners").iterdir()]:
        path.unlink()  # as another machine does that has seen it untouched for minutes
    assert Claims(Folder(tmp_path)).take(KEYS[0])
    assert sleeper.take(KEYS[1])
    assert sleeper.owner != name
    sleeper.release_all()
    assert len(files(tmp_path)) == 2, "the other's claim stays"


def test_of_many_that_claim_at_once_no_two_get_the_same_stage(tmp_path):
    barrier, rivals = threading.Barrier(4), [Claims(Folder(tmp_path)) for _ in range(4)]

    def take_all(mine):
        barrier.wait()
        return [key for key in KEYS if mine.take(key)]

    with ThreadPoolExecutor(4) as pool:
        taken = [key for keys in pool.map(take_all, rivals) for key in keys]
    assert taken and len(set(taken)) == len(taken)
    for rival in rivals:
        rival.release_all()
    assert files(tmp_path) == []


# In a launch


def test_a_stage_that_another_launch_trains_is_waited_for_and_then_used(tiny, tmp_path, clock):
    one, other = (a_launch(tiny, tmp_path / "storage", clock=clock) for _ in range(2))
    orders = []
    while (order := one.next_order()) is not None:
        orders.append(order.stage["key"])
    assert other.next_order() is None  # all that could start is being trained
    assert other.elsewhere == set(orders) and not other.is_over
    assert f", 0 running, {len(orders)} elsewhere" in Progress(other).stand().counts()
    train(one, orders[0])
    one.take(orders[0], Step([], one.forest.stages[orders[0]].end, done=True))
    one.fail(orders[1], Failure(Fault.BUG, "ValueError: no", "a.py:1"))
    clock.now += 2.0
    other.next_order()
    assert orders[0] in other.records and orders[0] not in other.schedule.running
    assert other.schedule.failure(orders[1]).reason == "ValueError: no"  # found out once, known to both
    one.let_go()
    clock.now += 2.0
    while other.next_order() is not None:
        pass
    assert other.elsewhere == set()
    assert set(orders[2:]) <= other.schedule.running
    other.let_go()
    assert files(tmp_path / "storage") == []


def test_a_lineage_that_another_launch_cut_elsewhere_is_read_as_if_it_were_cut_here(trained, tmp_path):
    launch = a_launch(*trained, read_only=True)
    whole = max(launch.records.values(), key=lambda record: len(record.epochs))
    store = launch.store
    later = store.read_span(whole.key, 1)
    assert (later.start, later.parent, later.epochs) == (1, point_key(whole.lineage, 1), whole.epochs[1:])
    assert later.costs["flops"] == whole.costs["flops"] // 3 * 2
    assert later.test_accuracy == whole.test_accuracy
    assert store.read_span(whole.key, 0) == whole
    pieces = Store(tmp_path / "pieces")
    state = store.read_state(whole.key)
    middle = replace(later, key=point_key(whole.lineage, 2), start=0, end=2, parent=None, epochs=whole.epochs[:2])
    last = replace(store.read_span(whole.key, 2))
    pieces.write(replace(middle, costs={**middle.costs, "flops": whole.costs["flops"] // 3 * 2}), state)
    pieces.write(last, state)
    assert facts(pieces.read_span(whole.key, 0)) == facts(whole)
    assert pieces.read_span(whole.key, 2) == last
    (pieces.root / "keys" / middle.key[:2] / middle.key).unlink()
    assert pieces.read_span(whole.key, 0) is None


# With real processes

# Writes down every epoch that is trained; waits for a file before it starts, and hangs in an epoch if it is told to.


@pytest.mark.cluster
def test_two_sweeps_that_share_stages_train_each_once_at_the_same_time_and_one_sweep_is_launched_once(
    tmp_path, storage, trained
):
    specs = {}
    for name in ("left", "right"):
        specs[name] = tmp_path / f"{name}.yaml"
        specs[name].write_text(TINY.replace("name: tiny", f"name: {name}"))
    tracking = {name: ["--tracking", f"sqlite:///{tmp_path}/{name}.db"] for name in specs}
    for name in specs:
        (tmp_path / f"{name}.db").write_bytes((storage / "mlflow.db").read_bytes())
    launches = [
        Recorded(tmp_path, specs[name], "--storage", storage, *tracking[name]) for name in ("left", "right", "left")
    ]
    wait_until(lambda: len(list(tmp_path.glob("ready-*"))) == 3, *(launch.process for launch in launches))
    (tmp_path / "go").touch()
    codes = [ending_of(launch.process) for launch in launches]
    texts = [launch.out.read_text() for launch in launches]
    assert sorted(codes) == [0, 0, 2], texts
    assert codes[1] == 0
    refused = texts[codes.index(2)]
    assert "sweep: 'left' is being run already (process " in refused
    trained_epochs = epochs_of(tmp_path)
    assert {count for count in Counter(tuple(epoch[:3]) for epoch in trained_epochs).values()} == {1}
    assert len({epoch[3] for epoch in trained_epochs}) == 2, "both worked"
    said = [
        int(re.search(r"(\d+) epochs trained", text)[1]) for text, code in zip(texts, codes, strict=True) if code == 0
    ]
    assert sum(said) == len(trained_epochs) == 26
    for name in specs:
        assert table_of(storage, name) == table_of(trained_storage(trained, tmp_path / name))
    assert files(storage) == [] and not (storage / "damaged").exists()


@pytest.mark.cluster
def test_what_a_killed_launch_was_training_another_one_takes_over_from_its_last_saved_epoch(tmp_path, storage):
    spec = tmp_path / "tiny.yaml"
    spec.write_text(TINY.replace("seeds: 2", "seeds: 1").replace("budget_epochs: 3", "budget_epochs: 4"))
    (tmp_path / "go").touch()
    dying = Recorded(tmp_path, spec, "--storage", storage, "--save-seconds", "0", hang="3")
    wait_until((tmp_path / "hanging").exists, dying.process)
    other = a_launch(spec, storage)
    heir = threading.Thread(target=run_local, args=(other,), daemon=True)
    heir.start()
    wait_until(lambda: len(other.elsewhere) == 1 and other.schedule.epochs_left() == 4)  # it waits for the last one
    assert not other.schedule.running
    saved = other.store.partial_record(*other.elsewhere)
    dying.process.send_signal(signal.SIGKILL)
    dying.process.wait()
    heir.join(PATIENCE_SECONDS)
    assert {result.status for result in other.results()} == {"COMPLETED"}
    (learned,) = [record for record in other.records.values() if record.recipe["method"] == "learned"]
    assert [epoch["epoch"] for epoch in learned.epochs] == [1, 2, 3, 4]
    assert learned.started_at == saved.started_at, "it went on from what was saved"
    assert files(storage) == []
