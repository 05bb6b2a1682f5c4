"""What an epoch asks of a machine, in FLOPs that its network would do in the same time.

Beside the FLOPs of training that are: selecting weights in every pass, which a method's card says by connection, and
the passes that evaluate. What a step takes whatever is in it comes on top. Measured on one CPU.
"""

from __future__ import annotations

from math import ceil

from trainers.costs.flops import data_shape
from trainers.costs.shapes import network_shape
from trainers.methods.registry import build_method
from trainers.networks.registry import network_arguments
from trainers.recipe.choices import Phase
from trainers.recipe.recipe import Recipe

EVALUATION_BATCH = 500  # images; small enough that activations stay in the cache of a CPU


def effort_per_epoch(recipe: Recipe, phase: Phase) -> float:
    """The effort of an epoch, evaluation included. Raises InvalidInput for image_folder, whose size is not known."""
    input_shape, examples, classes = data_shape(recipe)
    shape = network_shape(recipe.network, network_arguments(recipe), input_shape, classes, recipe.plugins)
    trained, evaluated = examples - recipe.validation_examples, recipe.validation_examples
    selection, passes = 0.0, 1
    if phase == "slot":
        method = build_method(recipe)
        selection, passes = method.selection_effort * shape.connections, method.evaluation_passes
    training = shape.training_flops * trained + selection * ceil(trained / recipe.batch_size)
    evaluation = shape.forward_flops * evaluated + selection * ceil(evaluated / EVALUATION_BATCH)
    return training + passes * evaluation
