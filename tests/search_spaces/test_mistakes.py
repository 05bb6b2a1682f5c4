"""What somebody who begins writes by mistake, and that the message says how it is written."""

import pytest

from search_spaces.loading import spec_of
from trainers.errors import InvalidInput
from trainers.recipe.recipe import Recipe

HEAD = "name: mine\nbudget_epochs: 2\n"
RECIPE = "recipe: {network: lenet, dataset: digits, method: slot_machine}\n"
SPEC = HEAD + RECIPE
POPUP = HEAD + "recipe: {network: lenet, dataset: digits, method: edge_popup, keep_fraction: 50}\n"
SPACE = "search: {sampler: random, trials: 2, space: {slot_learning_rate: "
WITHOUT_NETWORK = HEAD + "recipe: {dataset: digits, method: slot_machine}\naxes: {network: [lenet, vgg19]}\n"


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        (POPUP, [], "recipe.keep_fraction: should be less than or equal to 1, not 50 (did you mean 0.5, for 50 %?)"),
        ("name: mine\nepochs: 5\n" + RECIPE, [], "mine.yaml: epochs: unknown field (did you mean budget_epochs?)"),
        (SPEC.replace("}", ", epochs: 5}"), [], "recipe.epochs: no field of a recipe (did you mean budget_epochs?); "
         "budget_epochs stands beside recipe"),
        (SPEC.replace("}", ", budget_epochs: 5}"), [], "recipe.budget_epochs: no field of a recipe; budget_epochs sta"),
        (SPEC + "axes: {epochs: [5]}", [], "axes.epochs: unknown field (did you mean budget_epochs?)"),
        (SPEC, ["epochs=5"], "--set epochs=5: epochs is no field of a spec or a recipe (did you mean budget_epochs?)"),
        (SPEC.replace("}", ", K: 5}"), [], "recipe.K: unknown field (did you mean options?)"),
        (SPEC + "axes: {options: 2}", [], "axes.options: should be a valid list, not 2 (a list is written [2]; one of"),
        (SPEC + "axes:\n  options: 2, 4\n", [], "not '2, 4' (a list is written [2, 4]; one of two values [2, 4])"),
        (SPEC.replace("}", ", options: '2,4'}"), [], "recipe.options: one value, not '2,4' (lists go under axes, in"),
        (SPEC, ["options=2,4"], "--set options=2,4: a list stands in brackets: --set 'options=[2,4]'"),
        (SPEC, ["seeds=0,1"], "--set seeds=0,1: a list stands in brackets: --set 'seeds=[0,1]'"),
        (SPEC + SPACE + "{uniform: [1, 0.1]}}}", [],
         "mine.yaml: search.space.slot_learning_rate: low 1 is above high 0.1 (uniform)"),
        (SPEC + SPACE + "{}}}", [], "search.space.slot_learning_rate: exactly one of uniform, log_uniform, integer"),
        (SPEC.replace("mine", "my sweep"), [], "name: letters, digits, '_', '-', '.', at most 100 of them, beginning "
         "with a letter or digit, such as my-sweep, not 'my sweep'"),
        (WITHOUT_NETWORK + "arms: [{method: learned}]", [], "arms[0].network: missing: network is an axis of the grid, "
         "and arms stand beside the grid, so the arm says its own, such as lenet, or [lenet, vgg19]"),
        (SPEC.replace("}", ", validation_examples: 5000}"), [],
         "recipe.validation_examples: must be below 1438, the number of training images, so that some train, not 5000"),
        (SPEC.replace("}", ", width: 1e9}"), [], "recipe.width: should be less than or equal to 1000, not 1000000000"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_what_was_meant(text, overrides, message):
    with pytest.raises(InvalidInput) as caught:
        spec_of(text, "mine.yaml", overrides)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["epochs", "budget_epochs"])
def test_a_recipe_of_a_program_is_told_what_its_epochs_are_called(name):
    with pytest.raises(InvalidInput, match=f"{name}: a recipe has slot_epochs and finetune_epochs"):
        Recipe.complete({"network": "lenet", "dataset": "digits", "method": "learned", name: 5})
