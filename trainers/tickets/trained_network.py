"""The network of a training state, without the data that trained it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from trainers.data.registry import IMAGE_FOLDER, data_set_named, image_shape
from trainers.methods.base import attach, bake, weighted_layers
from trainers.methods.registry import build_method
from trainers.networks.layers import InputShape
from trainers.networks.registry import build_network
from trainers.recipe.choices import IN_ORDER
from trainers.recipe.recipe import Recipe


def input_shape_of(recipe: Recipe) -> InputShape:
    """The shape of the images that the recipe's data set gives."""
    return image_shape(recipe.dataset, recipe.image_size, recipe.plugins)


def trained_network(recipe: Recipe, state: Mapping[str, Tensor]) -> nn.Module:
    """The network as it stood when `TrainingRun.state_dict` gave this state. On the CPU.

    Raises ValueError for a state of another network.
    """
    own = {name.removeprefix("network."): tensor for name, tensor in state.items() if name.startswith("network.")}
    with torch.random.fork_rng(devices=[]):
        network = build_network(recipe, input_shape_of(recipe), _classes(recipe, own))
        attach(network, build_method(recipe), recipe.seed)
    if IN_ORDER[int(state["position"][0])] != "slot":
        bake(network)
    try:
        network.load_state_dict(own)
    except RuntimeError as error:
        raise ValueError(f"state: it is of another network: {error}") from None
    return network.eval()


def _classes(recipe: Recipe, state: Mapping[str, Tensor]) -> int:
    if recipe.dataset != IMAGE_FOLDER:
        return data_set_named(recipe.dataset, recipe.plugins).classes
    with torch.device("meta"):
        *_, (last, _) = weighted_layers(build_network(recipe, input_shape_of(recipe), classes=1))
    names = (f"{last}.weight", f"{last}.parametrizations.weight.original")
    return next((state[name].shape[0] for name in names if name in state), 1)
