"""Energy by the counter of an NVIDIA GPU (NVML). It counts for a whole device: for who has it alone.

CPUs have counters too, but they count all that the machine does, and none says which process it was.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch


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
