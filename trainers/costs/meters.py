"""What an epoch of training takes, measured while it runs: seconds by the clock, CPU time, energy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from types import MappingProxyType
from typing import Any

import torch

Counter = Callable[[], float | None]  # what it has counted up to now; None where that cannot be told
# Makes the counter of a device, or None where there is none. `one_process`: that no other process works for training.
Meter = Callable[[torch.device, bool], Counter | None]
Metered = dict[str, float | None]  # by the names of METERS and of a plug-in's costs; None: it cannot be measured here


@contextmanager
def metered(
    device: torch.device, own: Mapping[str, Meter] = MappingProxyType({}), *, one_process: bool
) -> Iterator[Metered]:
    """Measure the body; what it took is known when it has ended, which it should with what it asked of the device.

    `own`: those of plug-ins, begun first and read last. `one_process`: that no other process works for it, whose CPU
    time would be missed.
    """
    meters = {**METERS, **own}
    taken: Metered = dict.fromkeys(meters)
    counters = {name: counter for name, meter in meters.items() if (counter := meter(device, one_process))}
    # Begun last and read first is the first: the clock times no other meter.
    before = {name: counters[name]() for name in reversed(counters)}
    yield taken
    for name, counter in counters.items():
        after, earlier = counter(), before[name]
        taken[name] = None if after is None or earlier is None else after - earlier


def clock(device: torch.device, one_process: bool) -> Counter:
    """Seconds by a clock that nobody sets."""
    return time.perf_counter


def cpu_clock(device: torch.device, one_process: bool) -> Counter | None:
    """Seconds of CPU time: of a thread that trains alone, not of its process, which tracks trials besides."""
    if device.type != "cpu" or not one_process:
        return None
    return time.thread_time if torch.get_num_threads() == 1 else time.process_time


def energy(device: torch.device, one_process: bool) -> Counter:
    """Joules of a GPU that nobody else uses."""
    return partial(joules_so_far, device)


METERS: dict[str, Meter] = {
    "train_seconds": clock,
    "train_cpu_seconds": cpu_clock,
    "train_joules": energy,
}


def joules_so_far(device: torch.device) -> float | None:
    """What the GPU has drawn since its driver was loaded (J), if no other process computes on it now.

    None where nobody knows: on other devices, without NVML or `nvidia-ml-py`, before Volta, on a slice of a GPU (MIG).
    """
    if device.type != "cuda" or (library := _library()) is None:
        return None
    index = torch.cuda.current_device() if device.index is None else device.index
    try:
        # By UUID: NVML's numbers know nothing of CUDA_VISIBLE_DEVICES.
        gpu = library.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(index).uuid}")
        if len(library.nvmlDeviceGetComputeRunningProcesses(gpu)) > 1:
            return None
        return float(library.nvmlDeviceGetTotalEnergyConsumption(gpu)) / 1000
    except library.NVMLError:
        return None


@cache
def _library() -> Any:
    """NVML, set up; None where there is none."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml
