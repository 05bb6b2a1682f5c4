"""The effort of an epoch: training, selecting weights and evaluating, told apart without data and torch."""

import pytest

from trainers.costs.effort import effort_per_epoch
from trainers.costs.flops import training_flops_per_epoch
from trainers.errors import InvalidInput
from trainers.recipe.recipe import Recipe

CONNECTIONS = 784 * 300 + 300 * 100 + 100 * 10
STEPS, EVALUATED = 399, 18  # of 51,000 and 9,000 images


def recipe(**fields: object) -> Recipe:
    given = {"network": "lenet", "dataset": "mnist", "slot_epochs": 2, "finetune_epochs": 1, "batch_size": 128}
    return Recipe.complete({**given, "method": "slot_machine", "validation_examples": 9000, **fields})


@pytest.mark.parametrize(
    "fields, passes, of_a_connection",
    [
        ({"options": 64}, 1, 200),
        ({"options": 64, "selection": "probabilistic"}, 2, 400 + 150 * 64),
        ({"selection": "probabilistic", "options": 2, "evaluation": "sampled", "evaluation_samples": 5}, 6, 700),
        ({"method": "supermask"}, 10, 600),
        ({"method": "supermask", "evaluation": "threshold"}, 1, 600),
    ],
)
def test_selection_and_every_pass_of_an_evaluation_count_beside_training(fields, passes, of_a_connection):
    one = recipe(**fields)
    forward = 2 * CONNECTIONS * 9000
    selected = of_a_connection * CONNECTIONS
    expected = training_flops_per_epoch(one) + selected * STEPS + passes * (forward + selected * EVALUATED)
    assert effort_per_epoch(one, "slot") == expected
    assert effort_per_epoch(one, "finetune") == training_flops_per_epoch(one) + forward


def test_how_large_a_folder_of_images_is_nobody_knows():
    with pytest.raises(InvalidInput, match="dataset: the numbers of images"):
        effort_per_epoch(recipe(dataset="image_folder", image_size=16, validation_examples=10), "slot")
