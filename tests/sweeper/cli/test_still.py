"""What a display says while nothing moves: since when, and why, not a rate that sinks."""

import re

import pytest

from sweeper.cli.progress import STILL_SECONDS, STILL_WHILE_TRAINING_SECONDS, TIMES_AS_LONG, Progress
from sweeper.launch.orders import Step
from sweeper.stages.faults import Failure, Fault, RetryRule
from tests.sweeper.small_sweeps import a_launch

FLAKY = Failure(Fault.INFRASTRUCTURE, "its worker process died")


class Shown:
    """A launch that is looked at, at times that the test says."""

    def __init__(self, spec, storage):
        self.now = 0.0
        rule = RetryRule(back_off_seconds=1000.0)
        self.launch = a_launch(spec, storage, clock=lambda: self.now, rule=rule)
        self.progress = Progress(self.launch, lambda: self.now)
        self.launch.watchers.append(self.progress)

    def later(self, seconds):
        self.now += seconds
        return self.progress.stand().line().partition("; ")[2]

    def train(self, key, seconds=1.0):
        self.now += seconds
        self.launch.take(key, Step([{"train_seconds": 1.0, "evaluation_seconds": 0.1}], 0))


@pytest.fixture
def display(tiny, tmp_path):
    return Shown(tiny, tmp_path / "storage")


def test_while_it_waits_the_display_says_since_when_and_for_what(display):
    assert display.later(STILL_SECONDS - 1) == "starting"
    assert re.fullmatch(r"nothing has moved since \d\d:\d\d:\d\d \(30 s\): no worker has started yet", display.later(1))
    display.launch.waits_for = "a node with 1 GPU for a trial"
    display.progress._moved = display.now
    assert display.later(1) == "waits for a node with 1 GPU for a trial"  # said at once, where it is known
    assert display.later(240).endswith(" (4 min): waits for a node with 1 GPU for a trial")


def test_while_stages_train_the_display_waits_for_as_long_as_their_epochs_take(display):
    key = display.launch.next_order().stage["key"]
    assert display.later(STILL_WHILE_TRAINING_SECONDS - 1) == "starting"
    assert display.later(1).endswith(" (60 s): 1 stage trains, and no epoch has ended")
    display.train(key, 40.0)
    assert display.later(TIMES_AS_LONG * 100.0 - 1).startswith("0.12 epochs/min, ")
    assert display.later(1).endswith(" (8 min): 1 stage trains, and no epoch has ended")


def test_what_waits_to_be_tried_again_or_is_trained_elsewhere_is_said(display):
    while display.launch.schedule.ready(display.now):
        display.launch.fail(display.launch.next_order().stage["key"], FLAKY)
    assert display.later(0) == "the next try is due in 17 min"
    assert display.later(STILL_SECONDS).endswith(": the next try is due in 16 min")
    display.launch.elsewhere.add("another")
    assert display.later(1).endswith(": another launch trains what is left")


def test_after_a_standstill_the_speed_is_that_of_what_moves_again(display):
    key = display.launch.next_order().stage["key"]
    for _ in range(2):
        display.train(key)
    display.launch.put_back(key, "its node is about to go")
    assert "nothing has moved since" in display.later(600)
    key = display.launch.next_order().stage["key"]
    display.train(key)
    assert display.later(0).startswith("1 epochs/s, ")
