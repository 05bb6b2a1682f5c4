"""What training takes in memory: tensors that stay, and what a step takes for a while."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, autograd, nn
from torch._C._profiler import _ExperimentalConfig

from trainers.optimization import FusedSGD


class TransientMemory:
    """The most bytes of tensors that were alive at once beyond those alive at the start."""

    peak_bytes = 0


@contextmanager
def transient_memory(device: torch.device) -> Iterator[TransientMemory]:
    """Measure what the body allocates on the device, as torch's allocator counts it: equal from process to process."""
    found = TransientMemory()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield found
        found.peak_bytes = torch.cuda.max_memory_allocated(device) - before
        return
    # The profiler without its Kineto part, which writes to stderr and takes a second to start.
    profiler: Any = autograd
    only_memory = (False, True, False, False, False, _ExperimentalConfig())
    profiler._enable_profiler_legacy(profiler.ProfilerConfig(profiler.ProfilerState.CPU, *only_memory))
    collects = gc.isenabled()
    gc.disable()  # or what an earlier step left in a cycle is freed meanwhile, and taken off
    try:
        yield found
    finally:
        if collects:
            gc.enable()
        alive = 0
        for thread in profiler._disable_profiler_legacy():
            for event in thread:
                if event.kind() == "memory_alloc":
                    alive += event.cpu_memory_usage()
                    found.peak_bytes = max(found.peak_bytes, alive)


def tensor_bytes(tensors: Iterable[Any]) -> int:
    """Bytes of these tensors' storages, each storage once; what is no tensor is passed over."""
    storages = {}
    for tensor in tensors:
        if isinstance(tensor, Tensor):
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def state_bytes(network: nn.Module, optimizer: FusedSGD) -> int:
    """Parameters, buffers and the optimizer's state (bytes)."""
    return tensor_bytes([*network.parameters(), *network.buffers(), *optimizer.momenta])
