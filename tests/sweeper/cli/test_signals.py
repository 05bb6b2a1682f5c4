"""Signals to a launch whose main thread does not come back to Python, which is where Python handles them."""

import os
import signal
import threading

import pytest

from sweeper.cli.signals import told_of_signals
from tests.sweeper.processes import start_sweeper
from tests.waiting import ending_of, wait_until

BOTH = (signal.SIGINT, signal.SIGTERM)
# Neither a signal nor Python's lock gets the main thread out of `stuck`.
STUCK = """
import ctypes, threading, time
from sweeper.launch import local
from sweeper.cli.main import main

libc = ctypes.CDLL(None)
mutex = ctypes.create_string_buffer(256)

def stuck(launch, refresh, give_up):
    def wait_for_the_end():
        open("waits", "w").close()
        while not launch.stop_requested:
            time.sleep(0.1)
        give_up("Ray's servers are gone (killed, or out of memory?)")

    libc.pthread_mutex_lock(mutex)
    threading.Thread(target=wait_for_the_end, daemon=True).start()
    libc.pthread_mutex_lock(mutex)

local.run_local = stuck
raise SystemExit(main())
"""


@pytest.mark.cluster
def test_a_launch_that_is_told_to_end_while_it_is_stuck_stops_and_says_so(tiny, storage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out"
    launch = start_sweeper("launch", tiny, "--storage", storage, "--local", out=out, program=STUCK)
    try:
        wait_until((tmp_path / "waits").exists, launch)
        launch.send_signal(signal.SIGTERM)
        assert ending_of(launch) == 130, out.read_text()
    finally:
        launch.kill()
        launch.wait()
    assert "\nStopped. What is trained is kept; to go on: sweeper resume tiny" in out.read_text()
    assert "Broken off" not in out.read_text()


def test_a_signal_is_told_in_another_thread_and_the_second_ends_the_main_one_at_once():
    told, threads = [], []

    def tell(number):
        told.append(number)
        threads.append(threading.current_thread())

    with pytest.raises(KeyboardInterrupt), told_of_signals(BOTH, tell):
        os.kill(os.getpid(), signal.SIGTERM)
        wait_until(lambda: told == [signal.SIGTERM])
        os.kill(os.getpid(), signal.SIGINT)
        wait_until(lambda: False)
    assert threads[0] is not threading.main_thread()
    assert not threads[0].is_alive()


def test_signals_are_handled_as_before_once_nobody_listens():
    handlers = [signal.getsignal(number) for number in BOTH]
    woken = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(woken)
    with told_of_signals(BOTH, lambda number: None):
        assert [signal.getsignal(number) for number in BOTH] != handlers
    assert [signal.getsignal(number) for number in BOTH] == handlers
    assert signal.set_wakeup_fd(woken) == woken


def test_other_signals_are_nobodys_business():
    told, others = [], []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: others.append(number))
    try:
        with told_of_signals(BOTH, told.append):
            os.kill(os.getpid(), signal.SIGUSR1)
            wait_until(lambda: others)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert (told, others) == ([], [signal.SIGUSR1])
