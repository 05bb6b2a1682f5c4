"""What a run costs as it stands at the end of a stage: a function per cost that no meter measures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from torch import nn

from trainers.costs.flops import training_flops_per_epoch
from trainers.costs.memory import state_bytes, tensor_bytes
from trainers.costs.meters import METERS
from trainers.costs.registry import COSTS, Cost
from trainers.data.splits import DataSplits, Split
from trainers.optimization import FusedSGD
from trainers.recipe.recipe import Recipe
from trainers.tickets.tickets import connections, encode_ticket


@dataclass(frozen=True)
class Trained:
    """A run as far as it has come, for those who measure it."""

    recipe: Recipe
    data: DataSplits
    network: nn.Module
    optimizer: FusedSGD
    transient_bytes: int  # what a step takes for a while, of the dearest phase

    @cached_property
    def ticket_bytes(self) -> int:
        """The size of the network's ticket, all of its file (bytes)."""
        return len(encode_ticket(self.network, self.recipe, self.data.input_shape))


def flops_per_epoch(run: Trained) -> int:
    """FLOPs of an epoch."""
    if isinstance(run.data.train, Split):
        return training_flops_per_epoch(run.recipe)
    return training_flops_per_epoch(run.recipe, len(run.data.train) + len(run.data.validation), run.data.classes)


def peak_memory_bytes(run: Trained) -> int:
    """Tensors alive at once (bytes): data, parameters, gradients, momenta, activations."""
    splits = (run.data.train, run.data.validation, run.data.test)
    resident = [split for split in splits if isinstance(split, Split)]
    data = tensor_bytes(tensor for split in resident for tensor in (split.images, split.labels))
    return data + state_bytes(run.network, run.optimizer) + run.transient_bytes


MEASURES: dict[str, Callable[[Trained], float]] = {
    "flops_per_epoch": flops_per_epoch,
    "peak_memory_bytes": peak_memory_bytes,
    "state_bytes": lambda run: state_bytes(run.network, run.optimizer),
    "stored_bits_per_weight": lambda run: 8 * run.ticket_bytes / connections(run.network),
    "ticket_bytes": lambda run: run.ticket_bytes,
}


def unmatched(costs: Mapping[str, Cost], meters: Iterable[str], measures: Iterable[str]) -> str:
    """What keeps costs and that which measures them apart, in a sentence; nothing where every one has the other."""
    wanted = {("METERS", cost.metered) if cost.metered else ("MEASURES", cost.of_run) for cost in costs.values()}
    there = {("METERS", name) for name in meters} | {("MEASURES", name) for name in measures}
    faults = [f"{name!r}, which a cost names, is not in {registry}" for registry, name in sorted(wanted - there)]
    faults += [f"{name!r} of {registry} is named by no cost" for registry, name in sorted(there - wanted)]
    return "; ".join(faults)


if found := unmatched(COSTS, METERS, MEASURES):
    raise LookupError(f"trainers.costs: {found}")
