"""What a stretch of training takes, measured: seconds by the clock, CPU time, energy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch


@dataclass
class Taken:
    """What was measured; None where it cannot be."""

    seconds: float = 0.0
    cpu_seconds: float | None = None
    joules: float | None = None


@contextmanager
def metered(device: torch.device, *, one_process: bool) -> Iterator[Taken]:
    """Measure the body; what it took is known when it has ended, which it should with what it asked of the device.

    `one_process`: that no other process works for it, whose CPU time would be missed.
    """
    taken, clock = Taken(), time.perf_counter  # a clock that nobody sets
    cpu_clock = _cpu_clock() if device.type == "cpu" and one_process else None
    joules, start, cpu_start = joules_so_far(device), clock(), cpu_clock() if cpu_clock else 0.0
    yield taken
    taken.seconds = clock() - start
    if cpu_clock:
        taken.cpu_seconds = cpu_clock() - cpu_start
    if joules is not None and (later := joules_so_far(device)) is not None:
        taken.joules = later - joules


def _cpu_clock() -> Callable[[], float]:
    """What CPU time is read from: of a thread that trains alone, not of its process, which tracks trials besides."""
    return time.thread_time if torch.get_num_threads() == 1 else time.process_time


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
