"""Seconds, CPU time and energy of an epoch."""

import sys
import threading
import time
from types import SimpleNamespace

import pytest
import torch

from tests.trainers.tiny import data_for, tiny_recipe
from trainers.costs import meters as energy
from trainers.costs.meters import joules_so_far, metered
from trainers.training import TrainingRun

CPU, GPU = torch.device("cpu"), torch.device("cuda", 1)


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def a_run(monkeypatch, meanwhile=lambda: None):
    """A run in whose epochs something else happens, too."""
    recipe = tiny_recipe(method="slot_machine")
    run = TrainingRun(recipe, data_for(recipe))
    train = run._train_all_batches

    def train_all_batches():
        meanwhile()
        return train()

    monkeypatch.setattr(run, "_train_all_batches", train_all_batches)
    return run


def burn(cpu_seconds=1.0):
    until = time.thread_time() + cpu_seconds
    while time.thread_time() < until:
        sum(range(1000))


def burn_in_another_thread():
    burner = threading.Thread(target=burn)
    burner.start()
    burner.join()


def test_waiting_is_none_of_the_cpu_time(monkeypatch, one_thread):
    record = a_run(monkeypatch, lambda: time.sleep(1.0)).train_epoch()
    assert record.train_seconds > 1.0
    assert 0.0 < record.metered["train_cpu_seconds"] < 1.0
    assert record.metered["train_joules"] is None


def test_what_training_takes_is(monkeypatch, one_thread):
    record = a_run(monkeypatch, burn).train_epoch()
    assert record.metered["train_cpu_seconds"] > 1.0


def test_what_other_threads_take_is_not_where_one_thread_trains(monkeypatch, one_thread):
    before = time.process_time()
    record = a_run(monkeypatch, burn_in_another_thread).train_epoch()
    assert record.metered["train_cpu_seconds"] < 1.0 < time.process_time() - before


def test_what_other_threads_take_is_where_several_train(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert a_run(monkeypatch, burn_in_another_thread).train_epoch().metered["train_cpu_seconds"] > 1.0


def test_the_cpu_time_of_other_processes_is_not_known():
    with metered(CPU, one_process=False) as taken:
        pass
    assert taken["train_seconds"] > 0
    assert taken["train_cpu_seconds"] is None


# Energy, by a stand-in for NVML: one GPU, whose counter goes up by 250 J from look to look


class Unsupported(Exception):
    pass


class Nvml(SimpleNamespace):
    NVMLError = Unsupported
    processes = 1
    fails_at = ""
    millijoules = 1_000_000

    def __getattr__(self, name):
        def called(*arguments):
            if name == self.fails_at:
                raise Unsupported(name)
            return self.answer(name, arguments)

        return called

    def answer(self, name, arguments):
        if name == "nvmlDeviceGetHandleByUUID":
            return {"GPU-6f1a": "the second"}[arguments[0]]
        if name == "nvmlDeviceGetComputeRunningProcesses":
            return [object()] * self.processes
        if name == "nvmlDeviceGetTotalEnergyConsumption":
            assert arguments == ("the second",)
            self.millijoules += 250_000
            return self.millijoules
        return None


@pytest.fixture
def nvml(monkeypatch):
    stand_in = Nvml()
    monkeypatch.setitem(sys.modules, "pynvml", stand_in)
    monkeypatch.setattr(torch.cuda, "get_device_properties", {1: SimpleNamespace(uuid="6f1a")}.__getitem__)
    energy._library.cache_clear()
    yield stand_in
    energy._library.cache_clear()


def test_energy_is_what_the_counter_of_the_gpu_went_up_by(nvml):
    with metered(GPU, one_process=True) as taken:
        pass
    assert taken["train_joules"] == 250.0
    assert taken["train_cpu_seconds"] is None


def test_energy_of_a_gpu_that_others_compute_on_is_not_known(nvml):
    with metered(GPU, one_process=True) as taken:
        nvml.processes = 2  # one came while it was measured
    assert taken["train_joules"] is None
    assert joules_so_far(GPU) is None


@pytest.mark.parametrize(
    "call",
    [
        "nvmlInit",
        "nvmlDeviceGetHandleByUUID",
        "nvmlDeviceGetComputeRunningProcesses",
        "nvmlDeviceGetTotalEnergyConsumption",
    ],
)
def test_energy_is_not_known_where_nvml_refuses(nvml, call):
    nvml.fails_at = call
    assert joules_so_far(GPU) is None


def test_energy_is_not_known_without_the_package(nvml, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert joules_so_far(GPU) is None


def test_no_cpu_has_a_counter_of_its_own(nvml):
    assert joules_so_far(CPU) is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="of machines without a GPU")
def test_the_real_library_says_that_there_is_no_gpu():
    energy._library.cache_clear()
    assert energy._library() is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_real_gpu_draws_energy():
    device = torch.device("cuda")
    matrix = torch.randn(4096, 4096, device=device)
    with metered(device, one_process=True) as taken:
        for _ in range(2000):
            matrix @ matrix
        torch.cuda.synchronize()
    if joules_so_far(device) is None:
        pytest.skip("this GPU has no counter of its own, or is shared")
    assert 10 < taken["train_joules"] / taken["train_seconds"] < 2000  # watts
