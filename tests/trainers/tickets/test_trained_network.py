"""The network of a training state, built without data."""

from __future__ import annotations

import pytest
import torch

from trainers.data.splits import load_splits
from trainers.methods.base import attach, selected_weights
from trainers.methods.registry import METHOD_FIELDS, build_method
from trainers.networks.registry import build_network
from trainers.recipe.recipe import Recipe
from trainers.tickets.trained_network import trained_network
from trainers.training import TrainingRun

POSITION = {"position": torch.tensor([0, 1, 0])}


@pytest.mark.parametrize("method", METHOD_FIELDS)
def test_it_is_the_network_that_was_trained_in_either_phase(method):
    given = {"network": "lenet", "dataset": "digits", "method": method, "width": 0.2, "finetune_epochs": 1}
    evaluation = {"evaluation": "threshold"} if method == "supermask" else {}
    recipe = Recipe.complete({**given, **evaluation, "slot_epochs": 0 if method == "learned" else 1})
    run = TrainingRun(recipe, load_splits(recipe, None, "cpu"))
    images = run.data.test.images
    for _ in run.epochs():
        state = torch.get_rng_state()
        network = trained_network(recipe, {name: tensor.clone() for name, tensor in run.state_dict().items()})
        assert torch.equal(torch.get_rng_state(), state)
        with torch.no_grad():
            assert torch.equal(network(images), run.network.eval()(images))
        assert bool(list(selected_weights(network))) == (run.phase == "slot" and method != "learned")


@pytest.mark.parametrize("method", METHOD_FIELDS)
def test_the_classes_of_a_folder_of_images_are_those_of_the_state(method):
    given = {"network": "lenet", "dataset": "image_folder", "image_size": 8, "method": method, "width": 0.1}
    recipe = Recipe.complete({**given, **({} if method == "learned" else {"slot_epochs": 1})})
    network = build_network(recipe, (3, 8, 8), 7)
    attach(network, build_method(recipe), recipe.seed)
    state = {**POSITION, **{f"network.{name}": tensor for name, tensor in network.state_dict().items()}}
    assert trained_network(recipe, state)(torch.zeros(1, 3, 8, 8)).shape == (1, 7)


def test_a_state_of_another_network_is_refused():
    recipe = Recipe.complete({"network": "lenet", "dataset": "digits", "method": "learned", "width": 0.2})
    for state in (POSITION, {**POSITION, "network.fc1.weight": torch.zeros(3, 3)}):
        with pytest.raises(ValueError, match="state: it is of another network"):
            trained_network(recipe, state)
