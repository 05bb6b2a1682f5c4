"""What went wrong with a stage, and whether to try it again."""

from __future__ import annotations

import errno
import traceback
from dataclasses import asdict, dataclass
from enum import StrEnum

from trainers.errors import InvalidInput


class Retry(StrEnum):
    """How a stage is tried again within one launch."""

    NEVER = "never"
    LATER = "later"  # after a pause, as often as the launch's rule says
    ALONE = "alone"  # once, while nothing else runs


class Fault(StrEnum):
    """What went wrong. Retried faults are transient; the others are deterministic and wait for `sweeper retry`.

    This is the one place that says what is tried again: at once (within the launch), and by the next launch.
    """

    INFRASTRUCTURE = "infrastructure"
    OUT_OF_MEMORY = "out of memory"
    NOT_A_NUMBER = "not a number"
    DAMAGED_DATA = "damaged data"
    BUG = "bug"

    @property
    def retried_at_once(self) -> Retry:
        return {Fault.INFRASTRUCTURE: Retry.LATER, Fault.OUT_OF_MEMORY: Retry.ALONE}.get(self, Retry.NEVER)

    @property
    def retried_next_launch(self) -> bool:
        # A launch looks at all data before it starts: damage that it does not find any more is mended.
        return self.retried_at_once is not Retry.NEVER or self is Fault.DAMAGED_DATA


@dataclass(frozen=True)
class RetryRule:
    """How often a fault that may pass is tried again, and after how long; the pause doubles each time."""

    max_retries: int = 3  # in a row, with no further epoch saved between them
    back_off_seconds: float = 2.0
    same_bug_limit: int = 5  # stages that die at the same place, and more than come through, stop the sweep


DEVICE_ASSERT = "device-side assert"  # what CUDA says of code of ours that indexes out of bounds
# What libraries say in RuntimeErrors. The first of these groups that has a message's words decides.
OUT_OF_MEMORY_WORDS = (
    "can't allocate memory", "out of memory", "STATUS_ALLOC_FAILED", "ALLOCATION_FAILED", "unable to find an engine",
    "STATUS_NOT_INITIALIZED when calling `cublasCreate",  # which allocates
)  # fmt: skip
BUG_WORDS = (DEVICE_ASSERT, "no kernel image", "kernel image is invalid", "captur")  # of a stream into a graph
INFRASTRUCTURE_WORDS = ("CUDA", "cudaGetDeviceCount", "CUDNN_STATUS", "NVIDIA driver")


@dataclass(frozen=True)
class Failure:
    """Why a stage failed. `place` is where its code stood: failures at the same place have the same cause."""

    fault: Fault
    reason: str  # one line for people
    place: str = ""
    traceback: str = ""
    last_words: str = ""  # the end of what its process wrote to its standard error, where that died

    def __str__(self) -> str:
        return f"{self.fault}: {self.reason}"

    @property
    def ends_its_process(self) -> bool:
        """Whether the process that it happened in must train nothing more: a CUDA context stays broken once it is."""
        is_of_a_device = "CUDA" in self.reason or DEVICE_ASSERT in self.reason
        return self.fault is Fault.INFRASTRUCTURE or (self.fault is Fault.BUG and is_of_a_device)

    def as_dict(self) -> dict[str, str]:
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, str]) -> Failure:
        told = {name: fields.get(name, "") for name in ("place", "traceback", "last_words")}
        return cls(Fault(fields["fault"]), fields["reason"], **told)


def failure_of(error: BaseException) -> Failure:
    """The failure that an exception of a stage's code means."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{type(error).__name__} at {frames[-1].filename}:{frames[-1].lineno}" if frames else type(error).__name__
    said = first_line(error)
    fault = _fault_of(error)
    named = fault is not Fault.BUG or isinstance(error, InvalidInput)
    reason = said if named else f"{type(error).__name__}: {said}"
    return Failure(fault, reason, place, "".join(traceback.format_exception(error)))


def first_line(error: BaseException) -> str:
    """What an exception says, in one line; its class where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _fault_of(error: BaseException) -> Fault:
    name, text = type(error).__name__, str(error)
    if name == "TrainingFailed":
        return Fault.NOT_A_NUMBER
    # torch.OutOfMemoryError and Ray's OutOfMemoryError by name: this module is read where neither is imported.
    if isinstance(error, MemoryError) or name == "OutOfMemoryError":
        return Fault.OUT_OF_MEMORY
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return Fault.OUT_OF_MEMORY
    if isinstance(error, OSError | EOFError | StorageFault):
        return Fault.INFRASTRUCTURE
    if name == "DamagedData":
        return Fault.DAMAGED_DATA
    if name == "DataError":  # checked before the launch, so this machine lost it or never had it
        return Fault.INFRASTRUCTURE
    return _fault_said(text) if isinstance(error, RuntimeError) else Fault.BUG


def _fault_said(text: str) -> Fault:
    groups = {
        Fault.OUT_OF_MEMORY: OUT_OF_MEMORY_WORDS,
        Fault.BUG: BUG_WORDS,
        Fault.INFRASTRUCTURE: INFRASTRUCTURE_WORDS,
    }
    return next((fault for fault, words in groups.items() if any(word in text for word in words)), Fault.BUG)


class StorageFault(RuntimeError):
    """The store does not hold what it should: a parent's state is gone or damaged."""
