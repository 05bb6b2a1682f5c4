"""Which exceptions mean what."""

import errno

import pytest
import torch

from sweeper.stages.faults import Failure, Fault, StorageFault, failure_of
from sweeper.storage.base import StoreError
from trainers.data.files import DataError
from trainers.training import TrainingFailed


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), Fault.INFRASTRUCTURE),
        (StoreError("storage: cannot write"), Fault.INFRASTRUCTURE),
        (ConnectionResetError(), Fault.INFRASTRUCTURE),
        (EOFError(), Fault.INFRASTRUCTURE),
        (StorageFault("no stage ends there"), Fault.INFRASTRUCTURE),
        (DataError("mnist: missing"), Fault.INFRASTRUCTURE),
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
        (ValueError("shapes differ"), Fault.BUG),
        (KeyError("B"), Fault.BUG),
    ],
    ids=lambda value: f"{type(value).__name__} {value}"[:50] if isinstance(value, Exception) else str(value),
)
def test_an_exception_is_of_the_class_that_says_whether_trying_again_helps(error, fault):
    assert failure_of(error).fault is fault


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
