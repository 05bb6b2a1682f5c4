"""Claims on stages and the locks of sweeps, in a folder, in memory, and in a local S3 behind HTTP."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from sweeper.records.sweep_folder import SweepFolder, planting, sweeping_up
from sweeper.storage import claims
from sweeper.storage import locks as leases
from sweeper.storage.bucket import ObjectPath
from sweeper.storage.claims import Claims
from sweeper.storage.locks import Lease
from tests.sweeper.storage.claiming import KEYS, Clock
from tests.waiting import PATIENCE_SECONDS, wait_until
from trainers.errors import InvalidInput

WITHOUT_LOCK_SECONDS = 1.5  # by then it would be done if it did not wait


def test_a_stage_is_claimed_by_one_until_it_lets_go(place):
    first, second = Claims(place), Claims(place)
    assert first.take(KEYS[0]) and second.take(KEYS[1]) and not second.take(KEYS[0])
    first.release(KEYS[0])
    second._taken = (-1e9, frozenset())
    assert second.take(KEYS[0]) and not first.take(KEYS[0])
    second.release_all()
    assert not Claims(place).others()


def test_of_many_that_claim_at_once_no_two_get_the_same_stage(place):
    barrier, rivals = threading.Barrier(4), [Claims(place) for _ in range(4)]

    def take_all(mine):
        barrier.wait()
        return [key for key in KEYS[:6] if mine.take(key)]

    with ThreadPoolExecutor(4) as pool:
        taken = [key for keys in pool.map(take_all, rivals) for key in keys]
    assert taken and len(set(taken)) == len(taken)
    for rival in rivals:
        rival.release_all()


def test_the_claim_of_another_machine_holds_as_long_as_its_owner_writes_it_anew(in_bucket):
    clock = Clock()
    card = in_bucket / "claims" / "owners" / ("a" * 32)
    (in_bucket / "claims" / f"{KEYS[0]}.{'a' * 32}").put(b"-")
    observer = Claims(in_bucket, clock)
    for beat in range(4):
        card.put(b'{"kernel": "another", "beats": %d}' % beat)
        clock.now += claims.PATIENCE_SECONDS - 1
        assert not observer.take(KEYS[0])
        assert observer.surely_lives("a" * 32) is (beat > 0), "seen once, it may have died long ago"
    clock.now += claims.PATIENCE_SECONDS - 1
    assert not observer.take(KEYS[0])
    clock.now += 2
    assert observer.take(KEYS[0])
    assert not card.is_file()
    observer.release_all()


def test_nobody_is_taken_for_dead_because_the_storage_was_away(in_bucket, monkeypatch):
    clock, look = Clock(), ObjectPath.sign_of_life
    (in_bucket / "claims" / "owners" / ("a" * 32)).put(b'{"kernel": "another"}')
    (in_bucket / "claims" / f"{KEYS[0]}.{'a' * 32}").put(b"-")
    observer = Claims(in_bucket, clock)
    assert not observer.take(KEYS[0])

    def answered_late(card):
        clock.now += 10 * claims.PATIENCE_SECONDS
        return look(card)

    monkeypatch.setattr(ObjectPath, "sign_of_life", answered_late)
    clock.now += 1
    assert not observer.take(KEYS[0]), "its owner could not write either"
    monkeypatch.undo()
    clock.now += claims.PATIENCE_SECONDS + 1
    assert observer.take(KEYS[0])
    observer.release_all()


def test_an_owner_writes_its_card_anew_and_stops_when_it_lets_go(in_bucket, monkeypatch):
    monkeypatch.setattr(claims, "TOUCH_SECONDS", 0.02)
    before = threading.enumerate()
    owner = Claims(in_bucket)
    owner.take(KEYS[0])
    (touching,) = (thread for thread in threading.enumerate() if thread.name == "claims" and thread not in before)
    card = owner._card(owner.owner)
    seen = {card.read_text()}
    while len(seen) < 3:
        seen.add(card.read_text())
    owner.release_all()
    assert not card.is_file()
    touching.join(PATIENCE_SECONDS)
    assert not touching.is_alive()
    assert not card.is_file(), "a last touch does not bring it back"


def test_a_sweep_is_locked_for_others_as_long_as_its_launch_lives(place):
    folder = SweepFolder(place, "one")
    assert not folder.is_running()
    with folder.lock():
        assert SweepFolder(place, "one").is_running()
        with (
            pytest.raises(InvalidInput, match=r"'one' is being run already \(process "),
            SweepFolder(place, "one").lock(),
        ):
            pass
        with SweepFolder(place, "two").lock():
            pass
    assert not folder.is_running()
    with folder.lock():
        pass


def test_the_lock_of_a_launch_on_another_machine_is_taken_over_only_once_nothing_of_it_changes(in_bucket, monkeypatch):
    clock = Clock()
    owners = in_bucket / "lock" / "claims" / "owners"
    (in_bucket / "lock" / "claims" / f"{leases.WHOLE}.{'a' * 32}").put(b"-")
    beats = iter(range(1000))

    def touch(_seconds):
        clock.now += 1
        (owners / ("a" * 32)).put(b'{"kernel": "another", "beats": %d}' % next(beats))

    touch(0)
    monkeypatch.setattr(leases.time, "sleep", touch)
    assert not Lease(in_bucket / "lock", clock).take()
    assert Lease(in_bucket / "lock", clock).is_held()
    monkeypatch.setattr(leases.time, "sleep", lambda seconds: setattr(clock, "now", clock.now + seconds))
    assert not Lease(in_bucket / "lock", clock).is_held(), "those who only look do not wait so long"
    began = clock.now
    heir = Lease(in_bucket / "lock", clock)
    assert heir.take() and clock.now - began >= claims.PATIENCE_SECONDS
    heir.release()


def test_who_finds_a_lock_taken_hears_by_whom_however_soon_it_asks(in_bucket, monkeypatch):
    put, waits = ObjectPath.put, threading.Event()

    def put_once_waited_for(path, content, **how):
        if path == in_bucket / "holder":
            assert waits.wait(PATIENCE_SECONDS)
        return put(path, content, **how)

    first, second = (Lease(in_bucket / "lock", note=in_bucket / "holder") for _ in range(2))
    with ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(ObjectPath, "put", put_once_waited_for)
        taking = pool.submit(first.take, "the first")
        wait_until(lambda: second._claims.others(leases.WHOLE))
        monkeypatch.setattr(leases.time, "sleep", lambda seconds: (waits.set(), taking.result(PATIENCE_SECONDS)))
        try:
            assert not second.take("the second")
            assert second.holder() == "the first"
        finally:
            waits.set()
        assert taking.result()
    first.release()


def test_a_holder_that_never_says_who_it_is_is_waited_for_only_so_long(in_bucket, monkeypatch):
    first, second = Lease(in_bucket / "lock"), Lease(in_bucket / "lock", note=in_bucket / "holder")
    assert first.take()
    looks = []
    monkeypatch.setattr(leases.time, "sleep", looks.append)
    assert not second.take() and second.holder() == ""
    assert len(looks) == leases.NAMELESS_LOOKS
    first.release()


def test_nothing_is_swept_up_while_a_launch_plants(place):
    swept = threading.Event()

    def sweep():
        with sweeping_up(place):
            swept.set()

    with planting(place), planting(place):
        thread = threading.Thread(target=sweep)
        thread.start()
        assert not swept.wait(WITHOUT_LOCK_SECONDS)
    assert swept.wait(PATIENCE_SECONDS)
    thread.join()
    with planting(place):
        pass
