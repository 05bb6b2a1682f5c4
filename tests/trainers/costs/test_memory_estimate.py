"""Estimated memory against measured memory: near enough to pack trials by."""

import pytest
import torch

from trainers.costs.memory_estimate import data_bytes, estimated_peak_bytes
from trainers.data.registry import DATA_SETS
from trainers.data.splits import DataSplits, Split
from trainers.errors import InvalidInput
from trainers.networks.registry import NETWORKS
from trainers.recipe.recipe import Recipe
from trainers.training import TrainingRun


def recipe(**changes) -> Recipe:
    given = {"network": "lenet", "dataset": "mnist", "method": "slot_machine", "slot_epochs": 1, "finetune_epochs": 0}
    return Recipe.complete({**given, **changes})


def small(facts, examples) -> DataSplits:
    split = Split(torch.rand(examples, *facts.input_shape), torch.randint(facts.classes, (examples,)))
    tiny = Split(split.images[:10].clone(), split.labels[:10].clone())
    return DataSplits(split, tiny, tiny, facts.classes, "", facts.input_shape)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"options": 64, "selection": "probabilistic"},
        {"method": "edge_popup"},
        {"method": "supermask"},
        {"method": "learned", "slot_epochs": 0, "finetune_epochs": 1},
        {"network": "conv2", "dataset": "cifar10", "batch_size": 32},
        {"network": "conv6", "dataset": "cifar10", "batch_size": 32},
        {"network": "resnet18", "dataset": "cifar10", "batch_size": 16, "method": "edge_popup"},
    ],
    ids=lambda changes: " ".join(map(str, changes.values())) or "lenet",
)
def test_the_estimate_is_near_what_training_measures(changes):
    stated = recipe(**changes)
    data = small(DATA_SETS[stated.dataset], 2 * stated.batch_size)
    run = TrainingRun(stated, data)
    run.train_epoch()
    splits = (data.train, data.validation, data.test)
    its_data = sum(split.images.nbytes + split.labels.nbytes for split in splits)
    measured = run.costs()["peak_memory_bytes"] - its_data
    estimated = estimated_peak_bytes(stated) - data_bytes(stated)
    assert 0.6 < estimated / measured < 1.7


def test_data_take_what_all_their_splits_take():
    assert data_bytes(recipe()) == 70_000 * (28 * 28 * 4 + 8)
    assert data_bytes(recipe(validation_examples=100)) == data_bytes(recipe())


@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_has_an_estimate_that_grows_with_the_batch(network):
    small_batch = recipe(network=network, dataset="cifar10", batch_size=16)
    large_batch = recipe(network=network, dataset="cifar10", batch_size=64)
    assert estimated_peak_bytes(large_batch) > estimated_peak_bytes(small_batch) > data_bytes(small_batch)


def test_of_a_folder_of_images_the_number_of_classes_must_be_said():
    folder = recipe(network="resnet18", dataset="image_folder", image_size=64, method="edge_popup")
    with pytest.raises(InvalidInput, match="the number of classes of image_folder must be given"):
        estimated_peak_bytes(folder)
    assert estimated_peak_bytes(folder, classes=10) > data_bytes(folder)
