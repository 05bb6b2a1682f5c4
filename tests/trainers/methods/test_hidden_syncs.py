"""A training step on another device asks nothing of the host and gives it nothing to wait for.

On the meta device every tensor that a step makes is there, so one of the CPU came from the host; and what waits for the
device, such as `item`, is an error there.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from trainers.data.splits import DataSplits, Split
from trainers.kernels import torch_kernels as kernels
from trainers.kernels.options import LayerOptions
from trainers.methods.slot_machine.weight import SlotWeight
from trainers.recipe.recipe import Recipe
from trainers.training import TrainingRun

FIELDS = {
    "greedy": {"method": "slot_machine"},
    "values of a layer": {"method": "slot_machine", "sharing": "layer"},
    "values of the network": {"method": "slot_machine", "sharing": "network"},
    "probabilistic": {"method": "slot_machine", "selection": "probabilistic"},
    "probabilistic, values of a layer": {"method": "slot_machine", "selection": "probabilistic", "sharing": "layer"},
    "edge-popup": {"method": "edge_popup"},
    "supermask": {"method": "supermask", "rescale": True},
    "learned": {"method": "learned"},
}


class OnTheHost(TorchDispatchMode):
    """The operations that a tensor of the CPU goes into or comes out of, or that make one of Python's numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        name = function.overloadpacket.__name__
        tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)]
        if name == "lift_fresh" or any(tensor.is_cpu for tensor in tensors):
            self.found.append(name)
        return result


def split(examples: int) -> Split:
    images = torch.empty(examples, 1, 28, 28, device="meta")
    return Split(images, torch.empty(examples, dtype=torch.int64, device="meta"))


@pytest.mark.parametrize("method", FIELDS)
def test_a_step_copies_nothing_from_the_host_and_waits_for_nothing(method):
    recipe = Recipe.complete({"network": "lenet", "dataset": "mnist", "batch_size": 20, "width": 0.1, **FIELDS[method]})
    run = TrainingRun(recipe, DataSplits(split(20), split(20), split(20), 10, "", (1, 28, 28)), "meta")
    # The fused one knows no meta device.
    run._step.optimizer = torch.optim.SGD(run._optimizer.parameters, lr=0.1, momentum=0.9, foreach=True)
    run.network.train()
    with OnTheHost() as seen:
        run._step(run.data.train.images, run.data.train.labels)
    assert seen.found == []


class Launched:
    """A kernel that is not launched."""

    def __getitem__(self, grid: Any) -> Any:
        return lambda *given, **named: None


@pytest.mark.parametrize("probabilistic", [False, True])
def test_a_launch_of_triton_copies_shared_values_once(probabilistic, monkeypatch):
    pytest.importorskip("triton", reason="Triton comes with torch on Linux only")
    from trainers.kernels import triton_kernels

    monkeypatch.setattr(kernels, "fused", lambda accumulated, options: triton_kernels)
    monkeypatch.setattr(triton_kernels, "_select", Launched())
    monkeypatch.setattr(triton_kernels, "_sample", Launched())
    weight = torch.empty(5, 4, device="meta")
    machine = SlotWeight(LayerOptions(8, 20, 0.07, 0.05, 1, 2, shared=True), weight, probabilistic=probabilistic)
    for copies in (1, 0):
        with OnTheHost() as seen:
            machine(weight)
        assert seen.found.count("_to_copy") == len(set(seen.found) - {"lift_fresh", "detach"}) == copies
