"""What one step of a network takes, counted on torch's meta device: FLOPs by 1 multiply-add is 2, and bytes.

`trainers.costs.shapes` remembers the counts, so that most plans are made without torch, which takes seconds to load.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from trainers.networks.layers import InputShape
from trainers.networks.registry import network_named

BACKWARD_AND_FORWARD = 3
BATCH = 2  # batch normalisation needs more than one value per channel
LABEL_BYTES = 8


def counted(
    network: str, fields: Mapping[str, Any], input_shape: InputShape, classes: int, plugins: str | None = None
) -> dict[str, int]:
    """The counts of a registered network, by the names of the fields of `trainers.costs.shapes.NetworkShape`."""
    with torch.device("meta"):
        built = network_named(network, plugins)(input_shape, classes, **fields)
    few, more = (step_bytes(built, input_shape, batch) for batch in (BATCH, BATCH + 1))
    return {
        "connections": sum(parameter.numel() for parameter in built.parameters()),
        "forward_flops": forward_flops(built, input_shape, BATCH) // BATCH,
        "training_flops": training_flops(built, input_shape, BATCH) // BATCH,
        "bytes_of_an_image": more - few,
        "bytes_of_a_step": few - BATCH * (more - few),
    }


def forward_flops(network: nn.Module, input_shape: InputShape, batch: int) -> int:
    """FLOPs of one forward pass of a batch, in training mode. The network itself is left as it is."""
    copy = deepcopy(network).to("meta").train()
    counter = _Counted()
    with torch.no_grad(), counter:
        copy(torch.empty(batch, *input_shape, device="meta"))
    return counter.flops


def training_flops(network: nn.Module, input_shape: InputShape, batch: int) -> int:
    """FLOPs of one step on a batch: forward, backward to the weights, and backward to all inputs but the images."""
    copy = deepcopy(network).to("meta").train()
    counter = _Counted()
    begun: dict[nn.Module, int] = {}
    of_images = 0  # forward FLOPs of layers whose input has no gradient

    def before(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if not any(tensor.requires_grad for tensor in inputs):
            begun[layer] = counter.flops

    def after(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal of_images
        if layer in begun:
            of_images += counter.flops - begun.pop(layer)

    copy.requires_grad_(True)
    for module in copy.modules():
        if not list(module.children()):
            module.register_forward_pre_hook(before)
            module.register_forward_hook(after)
    with torch.enable_grad(), counter:
        copy(torch.empty(batch, *input_shape, device="meta"))
    return BACKWARD_AND_FORWARD * counter.flops - of_images


def step_bytes(network: nn.Module, input_shape: InputShape, batch: int) -> int:
    """Activations of a training step: those kept for the backward pass, and the two largest gradients of activations.

    The network must be on the meta device, where tensors have shapes and nothing else.
    """
    own = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if (storage := tensor.untyped_storage()._cdata) not in own:
            kept[storage] = tensor  # held, so that no other storage gets this number
        return tensor

    largest = _Largest(own)
    network.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), largest:
        outputs: Tensor = network(torch.empty(batch, *input_shape, device="meta"))
    # The loss keeps probabilities and labels; on the meta device it would load torch's compiler, which takes seconds.
    loss: int = outputs.untyped_storage().nbytes() + batch * LABEL_BYTES
    activations = sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) + loss
    return activations + 2 * largest.nbytes


class _Counted(TorchDispatchMode):
    """The sum of the formulas. Torch's own `FlopCounterMode` loads torch's compiler, which takes seconds."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops: int = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:  # to skip the compiler, torch loads it
        return False

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if formula := flop_registry.get(function.overloadpacket):
            self.flops += int(formula(*args, **(kwargs or {}), out_val=result))
        return result


class _Largest(TorchDispatchMode):
    """The largest tensor that an operation makes, other than another look at a parameter."""

    def __init__(self, parameters: set[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.parameters = parameters
        self.nbytes = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:  # to skip the compiler, torch loads it, which takes seconds
        return False

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, Tensor) and tensor.untyped_storage()._cdata not in self.parameters:
                self.nbytes = max(self.nbytes, tensor.nbytes)
        return result
