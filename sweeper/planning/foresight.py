"""What a launch will take: how trials are packed, and how long all of it lasts."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from search_spaces.spec import Limits, Spec
from sweeper.planning.caps import Spent, cap_of
from sweeper.planning.estimates import Estimates
from sweeper.planning.forecast import START_SECONDS, dearest, forecast, width
from sweeper.planning.packing import Hardware, Packing, check_memory, check_shares, pack
from sweeper.planning.plan import Plan, make_plan
from sweeper.planning.samples import Sample, machine_here, measured, read_calibrations
from sweeper.records.store import Store
from sweeper.stages.faults import Failure, first_line
from sweeper.stages.forest import Forest
from trainers.errors import InvalidInput
from trainers.recipe.recipe import Recipe

AUTO = "auto"


MORE_AT_ONCE = "one trial at once; the cluster takes more (--max-parallel says for how many to estimate)"


@dataclass(frozen=True)
class RequestedShares:
    """The shares of a machine that trials are to get: numbers, `auto`, or None where nothing is said."""

    cpus_per_trial: float | str | None = None
    gpus_per_trial: float | str | None = None
    max_parallel: int | None = None
    elsewhere: bool = False  # in a Ray cluster, whose machines cannot be looked at from here
    start_seconds: float = START_SECONDS

    def given(self) -> tuple[float | None, float | None]:
        """The CPUs and GPUs of a trial, None where they are to be chosen. Raises InvalidInput for too many."""
        shares = {"--cpus-per-trial": self.cpus_per_trial, "--gpus-per-trial": self.gpus_per_trial}
        for flag, share in shares.items():
            if self.elsewhere and share == AUTO:
                raise InvalidInput(f"{flag}: auto looks at this machine, and --ray-address names others; give a number")
        cpus, gpus = (share if isinstance(share, float | int) else None for share in shares.values())
        if not self.elsewhere:
            check_shares(hardware_here(), cpus, gpus)
        return cpus, gpus


@dataclass(frozen=True)
class Foresight:
    """The plan of a sweep on this machine, with the estimates and the packing behind it."""

    plan: Plan
    estimates: Estimates
    packing: Packing

    def check_memory(self, forest: Forest) -> None:
        """Raises InvalidInput where this machine could not hold one of these trials."""
        check_memory(hardware_here(), self.memory_bytes(forest) or None, self.packing.gpus_per_trial)

    def memory_bytes(self, forest: Forest) -> int:
        """The most memory that one of these trials takes; 0 where that is not known."""
        memory = dearest(forest, self.estimates)
        return memory.bytes if memory else 0


def foresee(spec: Spec, forest: Forest, store: Store, shares: RequestedShares, notes: Sequence[str] = ()) -> Foresight:
    """The plan of a planted sweep on this machine, packed as is requested."""
    packing, estimates = _look_ahead(forest, store, shares)
    failed = lasting_failures(store, forest)
    devices = packing.gpus_per_trial or 1.0
    cap = cap_of(spec, forest, estimates.seconds, estimates.flops, _spent(spec, forest, store), devices)
    estimate = forecast(forest, estimates, packing.at_once, packing.why, shares.start_seconds, failed, cap)
    return Foresight(make_plan(spec, forest, estimates, estimate, failed, notes), estimates, packing)


def calibrate_here(forest: Forest, store: Store, shares: RequestedShares, data_dir: Path | None) -> None:
    """Times what no stored epoch was measured for, on the device of a launch, and stores the results."""
    from sweeper.planning.calibration import calibrate, keep_calibrations

    _, estimates = _look_ahead(forest, store, shares)
    samples = calibrate(forest, estimates, data_dir, tell=lambda line: print(f"sweeper: {line}", file=sys.stderr))
    keep_calibrations(store.root, samples)


def _look_ahead(forest: Forest, store: Store, shares: RequestedShares) -> tuple[Packing, Estimates]:
    samples = [*measured(store, forest), *read_calibrations(store.root)]
    packing = _packing(forest, samples, shares)
    machine = machine_here("cuda" if packing.gpus_per_trial else "cpu", packing.threads)
    return packing, Estimates(samples, machine)


def _spent(spec: Spec, forest: Forest, store: Store) -> Spent:
    """What this sweep has trained itself; looked for only where it has limits."""
    if spec.limits == Limits():
        return Spent()
    records = {key: record for key in forest.stored & forest.stages.keys() if (record := store.read(key))}
    own = {key: record for key, record in records.items() if record.environment.get("sweep") == spec.name}
    return Spent(
        sum(len(record.epochs) for record in own.values()),
        sum(record.costs["flops"] for record in own.values()),
        sum(record.seconds for record in own.values()),
        sum(trial.stages[-1] in own for trial in forest.trials),
    )


def lasting_failures(store: Store, forest: Forest) -> dict[str, Failure]:
    """The failed stages of this sweep that launching again does not retry."""
    failures = {
        key: Failure.from_dict(fields)
        for key, fields in store.failures().items()
        if key in forest.stages and key not in forest.stored
    }
    return {key: failure for key, failure in failures.items() if not failure.fault.retried_next_launch}


def digests_to_plan_with(recipes: Sequence[Recipe], data_dir: Path | None) -> tuple[dict[str, str], list[str]]:
    """The digest of every data set: of the data themselves, or of the published files where they are not here."""
    from trainers.data.digests import check_held_out, data_digest, published_digest
    from trainers.data.registry import IMAGE_FOLDER

    digests: dict[str, str] = {}
    notes = []
    for name, plugins in {recipe.dataset: recipe.plugins for recipe in recipes}.items():
        try:
            digests[name] = data_digest(name, data_dir, plugins)
        except InvalidInput as error:
            why = str(error).splitlines()[0]
            if name != IMAGE_FOLDER:
                digests[name] = published_digest(name, plugins)
                notes.append(f"Planned with {name} as it was published, without looking at it: {why}")
            else:
                digests[name] = ""
                notes.append(f"What is already stored cannot be told without the data: {why}")
        else:
            check_held_out(
                name, max(recipe.validation_examples for recipe in recipes if recipe.dataset == name), data_dir
            )
    return digests, notes


def _packing(forest: Forest, samples: Sequence[Sample], shares: RequestedShares) -> Packing:
    """How trials share this machine; in a cluster they get what they are given, and one CPU if they are given nothing.

    Without a word about it trials run on GPUs where there are any. On CPUs a trial has one thread, so that its numbers
    are the same on a machine with more cores.
    """
    cpus, gpus = shares.given()
    if shares.elsewhere:
        why = "" if shares.max_parallel else MORE_AT_ONCE
        return Packing(cpus or 1.0, gpus or 0.0, shares.max_parallel or 1, why)
    hardware = hardware_here()
    on_gpus = hardware.gpus if gpus is None else gpus
    if shares.cpus_per_trial is None and not on_gpus:
        cpus = 1.0
    peak = fill = None
    if on_gpus and gpus is None:
        estimates = Estimates(samples, machine_here("cuda", 1))
        memory = dearest(forest, estimates)
        peak, fill = memory.bytes if memory else None, estimates.trials_that_fill_a_gpu(forest)
    return pack(hardware, peak, width(forest), cpus=cpus, gpus=gpus, max_parallel=shares.max_parallel, fill=fill)


def hardware_here() -> Hardware:
    """The cores and CUDA devices of this machine; devices that are counted and do not start are none."""
    cores = os.cpu_count() or 1
    if not may_have_gpus():
        return Hardware(cores, memory_bytes=_memory_here())
    import torch

    count = torch.cuda.device_count()
    try:
        memory = min((torch.cuda.get_device_properties(device).total_memory for device in range(count)), default=0)
    except (RuntimeError, AssertionError) as error:  # a driver that is too old, a torch without CUDA
        why = f"{count} GPU{'' if count == 1 else 's'} counted, which CUDA does not start"
        return Hardware(cores, memory_bytes=_memory_here(), idle_gpus=f"{why}: {first_line(error)}")
    return Hardware(cores, count, memory, memory_bytes=_memory_here())


def may_have_gpus() -> bool:
    """Whether a driver of GPUs is there: without one torch counts none, and loading it takes seconds."""
    if sys.platform != "linux" or Path("/dev/kfd").exists():  # AMD's
        return True
    for library in ("libcuda.so.1", "libnvidia-ml.so.1"):  # torch counts by either
        with contextlib.suppress(OSError):
            ctypes.CDLL(library)
            return True
    return False


def _memory_here() -> int:
    """Bytes of memory that this machine has, or that a container may take of it."""
    has = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(has, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no container, or "max"
        return has
