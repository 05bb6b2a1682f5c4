"""FLOPs of training, known without data or memory: 1 multiply-add is 2 FLOPs.

Only the forward pass is counted, by the formulas of `torch.utils.flop_counter` on the meta device: they take the
backward pass of grouped convolutions for many times what it is. The backward pass is the forward one twice, once for
the weights and once for the inputs, but for layers that see the images themselves: nobody computes the gradient of
those. Nothing else that a step does is counted: the loss, the optimizer, selecting options, scores or masks,
augmentation, evaluation. Loads no torch where the network's counts are known (`trainers.costs.shapes`).
"""

from __future__ import annotations

from typing import Any

from trainers.costs.shapes import network_shape
from trainers.data.registry import IMAGE_FOLDER, data_set_named, image_shape
from trainers.errors import InvalidInput
from trainers.networks.layers import InputShape
from trainers.networks.registry import network_arguments, network_named
from trainers.recipe.recipe import Recipe

BACKWARD_AND_FORWARD = 3  # what training was taken for before it was counted
CLASSES = 1000  # of image_folder where nobody says: ImageNet's; only the share of the last layer hangs on it


def recounted(flops: float, recipe: Recipe) -> float:
    """FLOPs of training by this recipe that were taken for 3 times those of the forward pass, counted as here."""
    shape = image_shape(recipe.dataset, recipe.image_size, recipe.plugins)
    classes = CLASSES if recipe.dataset == IMAGE_FOLDER else data_set_named(recipe.dataset, recipe.plugins).classes
    counts = network_shape(recipe.network, network_arguments(recipe), shape, classes, recipe.plugins)
    before = BACKWARD_AND_FORWARD * counts.forward_flops
    if isinstance(flops, int) and flops % before == 0:
        return flops // before * counts.training_flops
    return flops / before * counts.training_flops


def training_flops_per_epoch(recipe: Recipe, train_examples: int | None = None, classes: int | None = None) -> int:
    """FLOPs of one epoch of training, without any data at hand.

    For image_folder give the number of training images (before the validation split) and of classes.
    """
    input_shape, examples, classes = data_shape(recipe, train_examples, classes)
    counts = network_shape(recipe.network, network_arguments(recipe), input_shape, classes, recipe.plugins)
    return counts.training_flops * (examples - recipe.validation_examples)


def connections_of(network: str, dataset: str, **fields: Any) -> int:
    """The weights of a network for the images of a data set. Raises InvalidInput for one that is not registered."""
    data_set = data_set_named(dataset)
    taken = {name: fields[name] for name in network_named(network).fields}
    return network_shape(network, taken, data_set.input_shape, data_set.classes).connections


def data_shape(
    recipe: Recipe, train_examples: int | None = None, classes: int | None = None
) -> tuple[InputShape, int, int]:
    """The shape of an image, and how many training images and classes there are.

    Raises InvalidInput for image_folder where the two numbers are not given.
    """
    if recipe.dataset != IMAGE_FOLDER:
        data_set = data_set_named(recipe.dataset, recipe.plugins)
        return data_set.input_shape, data_set.train_examples, data_set.classes
    if train_examples is None or classes is None or recipe.image_size is None:
        raise InvalidInput(f"dataset: the numbers of images and classes of {recipe.dataset} must be given")
    return (3, recipe.image_size, recipe.image_size), train_examples, classes
