"""Peak memory of training, estimated without data, device or memory: the network is only walked through on paper.

What is alive at once: the data, the parameters with what their method keeps beside them, and in a step the gradients
and the activations that the backward pass needs. What libraries take for themselves (workspaces, a CUDA context) is
not in it, as it is not in what `trainers.costs.memory` measures.
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from trainers.data.registry import DATA_SETS
from trainers.errors import InvalidInput
from trainers.networks.layers import InputShape
from trainers.networks.registry import build_network
from trainers.recipe.recipe import Recipe

FLOAT_BYTES, LABEL_BYTES = 4, 8
# Bytes of a connection: what is trained, its momentum and its gradient; in a slot phase the weight in use and four more
# bytes beside: for slot machines the interval in which it stays so, for masks the fixed weight.
WEIGHT_BYTES, SLOT_WEIGHT_BYTES = 12, 20
STREAMED_BATCHES = 4  # of a folder of images


def estimated_peak_bytes(recipe: Recipe, classes: int | None = None) -> int:
    """The most bytes of tensors that training this recipe keeps alive at once. `classes`: of image_folder."""
    if recipe.dataset in DATA_SETS:
        data_set = DATA_SETS[recipe.dataset]
        input_shape, classes = data_set.input_shape, data_set.classes
    elif recipe.image_size is None or classes is None:
        raise InvalidInput(f"dataset: the number of classes of {recipe.dataset} must be given")
    else:
        input_shape = (3, recipe.image_size, recipe.image_size)
    with torch.device("meta"):
        network = build_network(recipe, input_shape, classes)
    connections = sum(parameter.numel() for parameter in network.parameters())
    state = connections * (SLOT_WEIGHT_BYTES if recipe.slot_epochs else WEIGHT_BYTES)
    return data_bytes(recipe) + state + step_bytes(network, input_shape, recipe.batch_size)


def data_bytes(recipe: Recipe) -> int:
    """What the recipe's data take on the device, all three splits."""
    if recipe.dataset in DATA_SETS:
        data_set = DATA_SETS[recipe.dataset]
        examples, shape = data_set.train_examples + data_set.test_examples, data_set.input_shape
    else:
        examples, shape = STREAMED_BATCHES * recipe.batch_size, (3, recipe.image_size or 0, recipe.image_size or 0)
    return examples * (prod(shape) * FLOAT_BYTES + LABEL_BYTES)


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
