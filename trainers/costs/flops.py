"""FLOPs of training, counted without data or memory: 1 multiply-add is 2 FLOPs.

Only the forward pass is counted, by the formulas of `torch.utils.flop_counter` on the meta device: they take the
backward pass of grouped convolutions for many times what it is. The backward pass is the forward one twice, once for
the weights and once for the inputs, but for layers that see the images themselves: nobody computes the gradient of
those. Nothing else that a step does is counted: the loss, the optimizer, selecting options, scores or masks,
augmentation, evaluation.
"""

from __future__ import annotations

from copy import deepcopy
from functools import lru_cache
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from trainers.data.registry import DATA_SETS, image_shape
from trainers.errors import InvalidInput
from trainers.methods.registry import build_method
from trainers.networks.layers import InputShape
from trainers.networks.registry import NETWORKS, network_arguments
from trainers.recipe.recipe import Recipe

BACKWARD_AND_FORWARD = 3
CLASSES = 1000  # of image_folder where nobody says: ImageNet's; only the share of the last layer hangs on it
BATCH = 2  # batch normalisation needs more than one value per channel


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


def recounted(flops: float, recipe: Recipe) -> float:
    """FLOPs of training by this recipe that were taken for 3 times those of the forward pass, counted as here."""
    shape = image_shape(recipe.dataset, recipe.image_size)
    classes = DATA_SETS[recipe.dataset].classes if recipe.dataset in DATA_SETS else CLASSES
    arguments = tuple(network_arguments(recipe).items())
    forward, training = _flops_per_image(recipe.network, arguments, shape, classes)
    before = BACKWARD_AND_FORWARD * forward
    if isinstance(flops, int) and flops % before == 0:
        return flops // before * training
    return flops / before * training


def training_flops_per_epoch(recipe: Recipe, train_examples: int | None = None, classes: int | None = None) -> int:
    """FLOPs of one epoch of training, without any data at hand.

    For image_folder give the number of training images (before the validation split) and of classes.
    """
    input_shape, examples, classes = _data(recipe, train_examples, classes)
    arguments = tuple(network_arguments(recipe).items())
    _, training = _flops_per_image(recipe.network, arguments, input_shape, classes)
    return training * (examples - recipe.validation_examples)


def options_weighed_per_epoch(recipe: Recipe, train_examples: int | None = None, classes: int | None = None) -> int:
    """How often probabilistic selection weighs an option in an epoch of the slot phase: batches x connections x K.

    Zero for everything else. These are no FLOPs of the network, and are not counted as such, but take time: at large K
    more than the network does.
    """
    weighed = build_method(recipe).options_weighed
    if not weighed:
        return 0
    input_shape, examples, classes = _data(recipe, train_examples, classes)
    arguments = tuple(network_arguments(recipe).items())
    connections = _connections(recipe.network, arguments, input_shape, classes)
    batches = ceil((examples - recipe.validation_examples) / recipe.batch_size)
    return batches * connections * weighed


def connections_of(network: str, dataset: str, **fields: Any) -> int:
    """The weights of a network for the images of a data set. Raises KeyError for one that is not registered."""
    data_set = DATA_SETS[dataset]
    taken = {name: fields[name] for name in NETWORKS[network].fields}
    return _connections(network, tuple(taken.items()), data_set.input_shape, data_set.classes)


def _data(recipe: Recipe, train_examples: int | None, classes: int | None) -> tuple[InputShape, int, int]:
    """The shape of an image, and how many training images and classes there are."""
    if recipe.dataset in DATA_SETS:
        data_set = DATA_SETS[recipe.dataset]
        return data_set.input_shape, data_set.train_examples, data_set.classes
    if train_examples is None or classes is None or recipe.image_size is None:
        raise InvalidInput(f"dataset: the numbers of images and classes of {recipe.dataset} must be given")
    return (3, recipe.image_size, recipe.image_size), train_examples, classes


@lru_cache(maxsize=1024)
def _flops_per_image(
    network: str, arguments: tuple[tuple[str, Any], ...], input_shape: InputShape, classes: int
) -> tuple[int, int]:
    """Of the forward pass, and of training."""
    built = _built_on_meta(network, arguments, input_shape, classes)
    counted = forward_flops(built, input_shape, BATCH), training_flops(built, input_shape, BATCH)
    return counted[0] // BATCH, counted[1] // BATCH


@lru_cache(maxsize=1024)
def _connections(network: str, arguments: tuple[tuple[str, Any], ...], input_shape: InputShape, classes: int) -> int:
    built = _built_on_meta(network, arguments, input_shape, classes)
    return sum(parameter.numel() for parameter in built.parameters())


def _built_on_meta(
    network: str, arguments: tuple[tuple[str, Any], ...], input_shape: InputShape, classes: int
) -> nn.Module:
    with torch.device("meta"):
        return NETWORKS[network](input_shape, classes, **dict(arguments))


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
