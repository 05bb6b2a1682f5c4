"""Which exceptions mean what."""

import errno

import pytest
import torch

from sweeper.stages.faults import Failure, Fault, StorageFault, failure_of
from sweeper.storage.base import StoreError
from trainers.data.files import DamagedData, DataError
from trainers.training import TrainingFailed

# What torch, cuBLAS, cuDNN and Triton say, word for word.
OUT_OF_MEMORY = [
    "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
    "GET was unable to find an engine to execute this computation",
    "FIND was unable to find an engine to execute this computation",
    "Triton Error [CUDA]: out of memory",
]
INFRASTRUCTURE = [
    "CUDA error: an illegal memory access was encountered",
    "CUDA error: all CUDA-capable devices are busy or unavailable",
    "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
    "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU",
    "The NVIDIA driver on your system is too old (found version 12020). Please update your GPU driver",
    "No CUDA GPUs are available",
    "Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling NumCudaDevices()",
]
BUG = [
    "CUDA error: no kernel image is available for execution on the device",
    "CUDA error: operation not permitted when stream is capturing",
    "CUDA error: operation failed due to a previous error during capture",
    "Triton Error [CUDA]: device kernel image is invalid",
    "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!",
]


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), Fault.INFRASTRUCTURE),
        (StoreError("storage: cannot write"), Fault.INFRASTRUCTURE),
        (ConnectionResetError(), Fault.INFRASTRUCTURE),
        (EOFError(), Fault.INFRASTRUCTURE),
        (StorageFault("no stage ends there"), Fault.INFRASTRUCTURE),
        (DataError("mnist: missing"), Fault.INFRASTRUCTURE),
        (DamagedData("a.jpg cannot be decoded"), Fault.DAMAGED_DATA),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), Fault.INFRASTRUCTURE),
        (MemoryError(), Fault.OUT_OF_MEMORY),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), Fault.OUT_OF_MEMORY),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes"),
            Fault.OUT_OF_MEMORY,
        ),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), Fault.OUT_OF_MEMORY),
        (TrainingFailed("not a number", "slot", 3), Fault.NOT_A_NUMBER),
        (TrainingFailed("infinite loss", "slot", 3), Fault.NOT_A_NUMBER),
        (RuntimeError("CUDA error: device-side assert triggered"), Fault.BUG),
        *[(RuntimeError(said), Fault.OUT_OF_MEMORY) for said in OUT_OF_MEMORY],
        *[(RuntimeError(said), Fault.INFRASTRUCTURE) for said in INFRASTRUCTURE],
        *[(RuntimeError(said), Fault.BUG) for said in BUG],
        (torch.AcceleratorError("CUDA error: unspecified launch failure"), Fault.INFRASTRUCTURE),
        (ValueError("shapes differ"), Fault.BUG),
        (KeyError("B"), Fault.BUG),
    ],
    ids=lambda value: f"{type(value).__name__} {value}"[:50] if isinstance(value, Exception) else str(value),
)
def test_an_exception_is_of_the_class_that_says_whether_trying_again_helps(error, fault):
    assert failure_of(error).fault is fault


@pytest.mark.parametrize(
    ("error", "ends"),
    [
        *[(RuntimeError(said), True) for said in INFRASTRUCTURE],
        (RuntimeError("CUDA error: device-side assert triggered"), True),
        (OSError(errno.EIO, "Input/output error"), True),
        *[(RuntimeError(said), False) for said in OUT_OF_MEMORY],
        (TrainingFailed("not a number", "slot", 3), False),
        (ValueError("shapes differ"), False),
    ],
)
def test_a_process_ends_with_what_leaves_it_unfit_and_goes_on_after_the_rest(error, ends):
    assert failure_of(error).ends_its_process is ends


def test_the_real_allocator_running_out_of_memory_is_recognised():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60)
    assert failure_of(raised.value).fault is Fault.OUT_OF_MEMORY


def test_a_failure_says_where_it_happened_so_that_equal_causes_are_seen_to_be_equal():
    def fails(value):
        raise ValueError(f"no good: {value}")

    found = []
    for value in (1, 2):
        try:
            fails(value)
        except ValueError as error:
            found.append(failure_of(error))
    assert found[0].reason == "ValueError: no good: 1"
    assert found[0].place == found[1].place
    assert "test_faults.py" in found[0].place
    assert "raise ValueError" in found[0].traceback


def test_a_failure_survives_being_written_down():
    failure = Failure(Fault.BUG, "ValueError: no", "a.py:3", "Traceback …")
    assert Failure.from_dict(failure.as_dict()) == failure
    assert str(failure) == "bug: ValueError: no"
