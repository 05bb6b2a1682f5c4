"""Calibration keeps to its minute, also with networks of which a batch takes seconds. The clock is made up."""

from types import SimpleNamespace

import pytest
import torch

from sweeper.planning import calibration
from sweeper.planning.calibration import calibrate
from sweeper.planning.estimates import Estimates
from sweeper.planning.samples import Machine
from sweeper.stages.planting import plant
from trainers.recipe.recipe import Recipe


class SlowRun:
    """Trains nothing: its batches and images take as long as they are said to on the clock of the test."""

    now = 0.0
    seconds_a_batch = 0.0
    seconds_to_start = 0.0  # that the first batch of all takes beside

    def __init__(self, recipe, data, device):
        self.recipe, self.data, self.phase, self.device = recipe, data, "slot", torch.device(device)

    def turn_to(self, phase):
        self.phase = phase

    def train_epoch(self):
        training = len(self.data.train) / self.recipe.batch_size * self.seconds_a_batch + SlowRun.seconds_to_start
        SlowRun.seconds_to_start = 0.0
        evaluation = len(self.data.validation) / self.recipe.batch_size * self.seconds_a_batch / 3
        SlowRun.now += training + evaluation
        return SimpleNamespace(train_seconds=training, evaluation_seconds=evaluation)

    def costs(self):
        return {"flops_per_epoch": 1000, "peak_memory_bytes": 10**9}


@pytest.fixture
def calibrated(monkeypatch):
    """Calibrates four kinds of epochs whose batches take so long; what was found, what was said, how long it took."""

    def calibrated(seconds_a_batch, seconds, seconds_to_start=0.0):
        monkeypatch.setattr(calibration, "TrainingRun", SlowRun)
        monkeypatch.setattr(calibration.torch, "set_num_threads", lambda threads: None)
        monkeypatch.setattr(SlowRun, "now", 0.0)
        monkeypatch.setattr(SlowRun, "seconds_a_batch", seconds_a_batch)
        monkeypatch.setattr(SlowRun, "seconds_to_start", seconds_to_start)
        base = {"network": "lenet", "dataset": "digits", "method": "slot_machine", "slot_epochs": 2, "batch_size": 64}
        recipes = [Recipe.complete({**base, "options": options}) for options in (2, 4, 8, 16)]
        said = []
        samples = calibrate(
            plant(recipes, {"digits": "d"}), Estimates([], Machine("cpu", "", 1)), None, seconds, said.append,
            lambda: SlowRun.now,
        )  # fmt: skip
        return samples, said, SlowRun.now

    return calibrated


def test_every_kind_of_epochs_keeps_to_its_share(calibrated):
    samples, said, took = calibrated(0.5, 20.0)
    assert len(samples) == 4 and said == []
    assert 10.0 < took <= 20.0
    digits_batches = 20  # less than that would be no estimate of an epoch of the 1,347 images that are trained on
    assert all(sample.seconds >= digits_batches * 0.5 for sample in samples)


def test_first_batches_that_take_longer_than_their_share_are_taken_and_told(calibrated):
    samples, said, took = calibrated(9.0, 60.0)  # two batches, and one evaluated: 21 s of a share of 15
    assert len(samples) == 3
    assert took <= 60.0 + 21.0
    assert said[0] == (
        "lenet on digits, slot_machine: took 21.0 s of its share of 15.0 s, loading and evaluation included"
    )
    assert said[-1] == "1 of 4 kinds of epochs are left out: 60 s are over"


def test_nothing_is_begun_after_the_last_second(calibrated):
    samples, said, _ = calibrated(100.0, 60.0)
    assert len(samples) == 1
    assert said[-1] == "3 of 4 kinds of epochs are left out: 60 s are over"


def test_on_a_gpu_a_slow_start_is_not_taken_for_the_time_of_an_epoch(calibrated, monkeypatch):
    monkeypatch.setattr(calibration, "REPLAYED", ("cpu",), raising=False)
    samples, _, _ = calibrated(0.001, 20.0, seconds_to_start=5.0)
    assert all(sample.seconds < 0.05 for sample in samples), "22 batches of a millisecond, and evaluation"
