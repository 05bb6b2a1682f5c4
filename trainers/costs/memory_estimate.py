"""Peak memory of training, estimated without data, device or memory: the network is only walked through on paper.

What is alive at once: the data, the parameters with what their method keeps beside them, and in a step the gradients
and the activations that the backward pass needs. What libraries take for themselves (workspaces, a CUDA context) is
not in it, as it is not in what `trainers.costs.memory` measures.
"""

from __future__ import annotations

from math import prod

from trainers.costs.shapes import network_shape
from trainers.data.registry import IMAGE_FOLDER, data_set_named
from trainers.errors import InvalidInput
from trainers.networks.registry import check_network
from trainers.recipe.recipe import Recipe

FLOAT_BYTES, LABEL_BYTES = 4, 8
# Bytes of a connection: what is trained, its momentum and its gradient; in a slot phase the weight in use and four more
# bytes beside: for slot machines the interval in which it stays so, for masks the fixed weight.
WEIGHT_BYTES, SLOT_WEIGHT_BYTES = 12, 20
STREAMED_BATCHES = 4  # of a folder of images


def estimated_peak_bytes(recipe: Recipe, classes: int | None = None) -> int:
    """The most bytes of tensors that training this recipe keeps alive at once. `classes`: of image_folder."""
    if recipe.dataset != IMAGE_FOLDER:
        data_set = data_set_named(recipe.dataset, recipe.plugins)
        input_shape, classes = data_set.input_shape, data_set.classes
    elif recipe.image_size is None or classes is None:
        raise InvalidInput(f"dataset: the number of classes of {recipe.dataset} must be given")
    else:
        input_shape = (3, recipe.image_size, recipe.image_size)
    shape = network_shape(recipe.network, check_network(recipe, input_shape), input_shape, classes, recipe.plugins)
    state = shape.connections * (SLOT_WEIGHT_BYTES if recipe.slot_epochs else WEIGHT_BYTES)
    return data_bytes(recipe) + state + shape.step_bytes(recipe.batch_size)


def data_bytes(recipe: Recipe) -> int:
    """What the recipe's data take on the device, all three splits."""
    if recipe.dataset != IMAGE_FOLDER:
        data_set = data_set_named(recipe.dataset, recipe.plugins)
        examples, shape = data_set.train_examples + data_set.test_examples, data_set.input_shape
    else:
        examples, shape = STREAMED_BATCHES * recipe.batch_size, (3, recipe.image_size or 0, recipe.image_size or 0)
    return examples * (prod(shape) * FLOAT_BYTES + LABEL_BYTES)
