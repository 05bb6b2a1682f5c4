"""How the trials of a sweep share a machine: so many on a GPU as it takes, and no more threads than cores."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

from trainers.costs.units import BYTE
from trainers.errors import InvalidInput

# Over the estimated peak of tensors: a graph keeps the activations of a step to itself, so that a short last batch and
# evaluation need others; and the allocator's gaps.
MARGIN = 2.0
CONTEXT_BYTES = 600 * 2**20  # what CUDA and its libraries take for every process
HOST_BYTES = 3 * 2**30  # of the machine's memory, for a process with torch and CUDA that reads its data
USABLE = 0.95  # of a memory
MOST_ON_A_GPU = 16  # more slow each other down more than they gain
RAY_STEPS = 10_000  # Ray counts shares of a GPU in ten-thousandths


@dataclass(frozen=True)
class Hardware:
    """The CPU cores, GPUs and memory of a machine."""

    cpus: int
    gpus: int = 0
    gpu_memory_bytes: int = 0  # of the smallest
    idle_gpus: str = ""  # why GPUs that are counted are none of them
    memory_bytes: int = 0  # of the machine; 0: not known

    @property
    def processes(self) -> int:
        """How many of those that use a GPU the machine's memory takes; at least one."""
        return max(1, int(USABLE * self.memory_bytes // HOST_BYTES)) if self.memory_bytes else self.cpus


@dataclass(frozen=True)
class Packing:
    """The share of a machine that every trial gets, and the reasons."""

    cpus_per_trial: float
    gpus_per_trial: float
    at_once: int  # trials
    why: str

    @property
    def threads(self) -> int:
        return max(1, int(self.cpus_per_trial))


def pack(
    hardware: Hardware,
    peak_memory_bytes: int | None,
    width: int,
    *,
    cpus: float | None = None,
    gpus: float | None = None,
    max_parallel: int | None = None,
    fill: int | None = None,
) -> Packing:
    """Shares the machine out among trials. A trial's `cpus` and `gpus` are taken as given, chosen where None.

    `peak_memory_bytes` is that of the dearest trial; `width`: how many stages of the sweep can run at the same time;
    `fill`: how many keep a GPU busy, so that more gain nothing.
    Raises InvalidInput where a trial is to get more than there is.
    """
    check_shares(hardware, cpus, gpus)
    wanted_at_once = min(width, max_parallel or width)
    by_cpu = int(hardware.cpus / cpus + 1e-6) if cpus else hardware.cpus
    reasons = [hardware.idle_gpus] if hardware.idle_gpus else []
    if gpus is None:
        by_cpu = min(by_cpu, hardware.processes) if hardware.gpus else by_cpu
        gpus, reason = _share_of_a_gpu(hardware, peak_memory_bytes, min(wanted_at_once, by_cpu), fill)
        reasons += [reason] if reason else []
    by_gpu = int(hardware.gpus / gpus + 1e-6) if gpus else by_cpu
    at_once = max(1, min(wanted_at_once, by_cpu, by_gpu))
    if cpus is None:
        cpus = float(max(1, hardware.cpus // at_once))
        reasons.append(f"{hardware.cpus} cores for {at_once} at once")
    because = f": {'; '.join(reasons)}" if reasons else ""
    return Packing(cpus, gpus, at_once, _in_words(at_once, cpus, gpus) + because)


def check_shares(hardware: Hardware, cpus: float | None, gpus: float | None) -> None:
    """Raises InvalidInput where a trial is to get more than there is."""
    for flag, wanted, there, unit in (
        ("--cpus-per-trial", cpus, hardware.cpus, "CPU"),
        ("--gpus-per-trial", gpus, hardware.gpus, "GPU"),
    ):
        if wanted and wanted > there:
            idle = f" ({hardware.idle_gpus})" if unit == "GPU" and hardware.idle_gpus else ""
            raise InvalidInput(f"{flag}: {wanted:g} is more than the {there} {unit}s of this machine{idle}")


def check_memory(hardware: Hardware, peak_memory_bytes: int | None, gpus: float) -> None:
    """Raises InvalidInput where one trial alone is estimated at more memory than its GPU, or the machine, has."""
    there, where = (hardware.gpu_memory_bytes, "a GPU of") if gpus else (hardware.memory_bytes, "")
    if there and peak_memory_bytes is not None and peak_memory_bytes > there:
        raise InvalidInput(
            f"memory: one trial is estimated at {BYTE.print(peak_memory_bytes)}, more than the {BYTE.print(there)} "
            f"that {where + ' ' if where else ''}this machine has: a smaller width or batch_size takes less, and "
            "--despite-memory starts it all the same"
        )


def _in_words(at_once: int, cpus: float, gpus: float) -> str:
    threads = max(1, int(cpus))
    share = f"{gpus:g} GPUs and " if gpus else ""
    plural = "" if at_once == 1 else "s"
    return f"{at_once} trial{plural} at once, each with {share}{threads} thread{'' if threads == 1 else 's'}"


def _share_of_a_gpu(
    hardware: Hardware, peak_memory_bytes: int | None, at_once: int, fill: int | None
) -> tuple[float, str]:
    if not hardware.gpus:
        return 0.0, ""
    if peak_memory_bytes is None:
        return 1.0, "one on a GPU, as the memory of a trial cannot be told"
    need = peak_memory_bytes * MARGIN + CONTEXT_BYTES
    fit = int(USABLE * hardware.gpu_memory_bytes // need)
    memory = f"{BYTE.print(need)} a trial with margin, of {BYTE.print(hardware.gpu_memory_bytes)}"
    if fit < 2:
        return 1.0, f"one on a GPU ({memory})" if fit else f"one on a GPU, and it may not fit ({memory})"
    most = min(MOST_ON_A_GPU, fill or MOST_ON_A_GPU)
    on_each = max(1, min(fit, most, ceil(at_once / hardware.gpus)))
    reason = f"{on_each} on a GPU, {fit} would fit ({memory})"
    if hardware.memory_bytes and at_once == hardware.processes:
        host = f"{BYTE.print(HOST_BYTES)} a process, of {BYTE.print(hardware.memory_bytes)}"
        reason += f", the machine's memory takes {at_once} in all ({host})"
    elif fill and on_each == fill:
        reason += f", and {fill} keep{'s' if fill == 1 else ''} it busy"
    return floor(RAY_STEPS / on_each) / RAY_STEPS, reason
