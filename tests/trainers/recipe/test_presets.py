"""The presets fill what DESIGN's table of the two recipe families says, and nothing that a recipe states."""

from __future__ import annotations

import itertools
from typing import Any, get_args

import pytest

from trainers.data.registry import DATA_NAMES, image_shape
from trainers.errors import InvalidInput
from trainers.methods.registry import METHOD_FIELDS, METHODS
from trainers.networks.registry import NETWORKS
from trainers.optimization import learning_rate
from trainers.recipe.choices import Preset
from trainers.recipe.presets import preset_fields
from trainers.recipe.recipe import Recipe

DATA_SETS = {"lenet": "mnist"}
# Trained by the paper and by its authors' code. The epochs of edge-popup and supermasks are filled for any network.
PUBLISHED = ("lenet", "conv2", "conv4", "conv6", "vgg19")


def filled(preset: str, network: str, method: str, **fields: Any) -> Recipe:
    dataset = DATA_SETS.get(network, "cifar10")
    return Recipe.complete({"preset": preset, "network": network, "dataset": dataset, "method": method, **fields})


def test_every_combination_of_images_large_enough_is_a_recipe_of_published_length():
    for preset, network, dataset, method in itertools.product(get_args(Preset), NETWORKS, DATA_NAMES, METHODS):
        given = {"preset": preset, "network": network, "dataset": dataset, "method": method}
        size = 224 if dataset == "image_folder" else None
        if min(image_shape(dataset, size)[1:]) < NETWORKS[network].smallest_side(preset_fields(given)["padding"]):
            continue
        if network not in PUBLISHED and method in ("slot_machine", "learned"):
            given |= {"slot_epochs" if method == "slot_machine" else "finetune_epochs": 100}
        recipe = Recipe.complete(given)
        assert recipe.budget_epochs >= (1 if METHODS[method].solved else 100)
        assert set(recipe.filled) >= METHOD_FIELDS[method] - METHODS[method].optional - {"options", "value_bound"}


@pytest.mark.parametrize("preset", get_args(Preset))
def test_a_preset_that_has_nothing_to_say_of_a_network_says_so(preset):
    for network in set(NETWORKS) - set(PUBLISHED):
        for method, field in (("slot_machine", "slot_epochs"), ("learned", "finetune_epochs")):
            message = f"{field}: missing, and the preset {preset} has none for {method} in {network} on cifar10; "
            with pytest.raises(InvalidInput) as refused:
                filled(preset, network, method)
            assert str(refused.value) == message + "state it, or in a spec the budget_epochs"
            assert filled(preset, network, method, **{field: 3}).budget_epochs == 3


@pytest.mark.parametrize(
    ("preset", "network", "options", "selection", "rate"),
    [
        *(("icml", network, k, "greedy", 0.2) for network in ("lenet", "conv6", "vgg19") for k in (2, 8)),
        *(("icml", network, k, "greedy", 0.1) for network in ("lenet", "conv6") for k in (9, 64)),
        *(("icml", network, k, "probabilistic", 25) for network in ("lenet", "conv6", "vgg19") for k in (2, 64)),
        *(("authors_code", network, 8, "greedy", 0.1) for network in ("lenet", "conv4", "vgg19")),
        *(("authors_code", network, 16, "greedy", 0.01) for network in ("lenet", "conv4", "vgg19")),
        *(("authors_code", network, 8, "probabilistic", 50) for network in ("lenet", "conv2", "conv4", "vgg19")),
        ("authors_code", "conv6", 8, "probabilistic", 25),
    ],
)
def test_score_learning_rates(preset, network, options, selection, rate):
    recipe = filled(preset, network, "slot_machine", options=options, selection=selection)
    assert recipe.slot_learning_rate == rate


@pytest.mark.parametrize(
    ("preset", "network", "slot", "probabilistic", "learned"),
    [
        ("icml", "lenet", 200, 200, 200),
        ("icml", "conv2", 200, 200, 200),
        ("icml", "conv4", 200, 200, 330),
        ("icml", "conv6", 200, 200, 330),
        ("icml", "vgg19", 220, 220, 320),
        ("authors_code", "lenet", 120, 160, 220),
        ("authors_code", "conv2", 140, 180, 240),
        ("authors_code", "conv6", 140, 180, 240),
        ("authors_code", "vgg19", 120, 160, 220),
    ],
)
def test_epochs(preset, network, slot, probabilistic, learned):
    assert filled(preset, network, "slot_machine").phases() == [("slot", slot)]
    assert filled(preset, network, "slot_machine", selection="probabilistic").phases() == [("slot", probabilistic)]
    assert filled(preset, network, "learned").phases() == [("finetune", learned)]


def test_icml_trains_with_warm_restarts_at_epochs_25_and_75():
    recipe = filled("icml", "conv4", "slot_machine", finetune_epochs=200)
    for phase in ("slot", "finetune"):
        rates = [learning_rate(recipe, phase, epoch) for epoch in range(200)]
        top = getattr(recipe, f"{phase}_learning_rate")
        assert [epoch for epoch in range(200) if rates[epoch] == top] == [0, 25, 75, 175]
        assert all(later < earlier for earlier, later in itertools.pairwise(rates[25:75]))
        assert getattr(recipe, f"{phase}_weight_decay") == 1e-4
        assert (getattr(recipe, f"{phase}_momentum"), getattr(recipe, f"{phase}_nesterov")) == (0.9, False)
    assert (recipe.batch_size, recipe.finetune_learning_rate) == (128, 0.01)


def test_the_authors_code_has_no_schedule_but_for_vgg19():
    for network, rates, decay in (("lenet", {0.1}, 0.0), ("conv6", {0.1}, 0.0), ("vgg19", {0.1, 0.1 * 0.1}, 1e-4)):
        recipe = filled("authors_code", network, "slot_machine")
        assert {learning_rate(recipe, "slot", epoch) for epoch in range(120)} == rates
        assert recipe.slot_weight_decay == recipe.finetune_weight_decay == decay
    assert [learning_rate(recipe, "slot", epoch) for epoch in (79, 80)] == [0.1, 0.1 * 0.1]
    assert (recipe.batch_size, recipe.slot_momentum, recipe.finetune_learning_rate) == (128, 0.9, 0.01)


@pytest.mark.parametrize(
    ("preset", "network", "fields"),
    [
        ("icml", "lenet", {"padding": 1, "dropout": 0.0, "augmentation": "none", "validation_examples": 9000}),
        ("icml", "conv4", {"padding": 1, "dropout": 0.5, "augmentation": "crop_flip", "validation_examples": 5000}),
        ("icml", "vgg19", {"padding": 1, "dropout": 0.0, "augmentation": "crop_flip", "validation_examples": 5000}),
        ("authors_code", "lenet", {"dropout": 0.0, "augmentation": "none", "validation_examples": 10_000}),
        ("authors_code", "conv4", {"padding": 0, "dropout": 0.5, "augmentation": "flip", "validation_examples": 5000}),
        ("authors_code", "vgg19", {"dropout": 0.0, "augmentation": "flip", "validation_examples": 5000}),
    ],
)
def test_networks_and_data(preset, network, fields):
    recipe = filled(preset, network, "slot_machine")
    assert {name: getattr(recipe, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("dataset", "network", "icml", "authors_code", "tuned"),
    [
        ("mnist", "lenet", "unit", "unit", "standard"),
        ("fashion_mnist", "lenet", "unit", "unit", "standard"),
        ("mnist", "conv2", "unit", "unit", "unit"),
        ("digits", "lenet", "standard", "standard", "standard"),
        ("cifar10", "conv2", "standard", "standard", "standard"),
    ],
)
def test_pixels_are_scaled_as_in_the_authors_code(dataset, network, icml, authors_code, tuned):
    for preset, scaled in (("icml", icml), ("authors_code", authors_code), ("tuned", tuned)):
        for method in METHODS:
            recipe = Recipe.complete({"preset": preset, "network": network, "dataset": dataset, "method": method})
            assert recipe.normalisation == scaled, (preset, method)


def test_the_authors_code_evaluates_sampled_selection_by_sampling():
    for preset, evaluation in (("authors_code", "sampled"), ("icml", "argmax"), ("tuned", "sampled")):
        assert filled(preset, "lenet", "slot_machine", selection="probabilistic").evaluation == evaluation
        assert filled(preset, "lenet", "slot_machine").evaluation == "argmax"


@pytest.mark.parametrize(("preset", "linear"), [("icml", 0.1), ("authors_code", 1.0), ("tuned", 0.1)])
def test_values_and_initial_scores(preset, linear):
    recipe = filled(preset, "conv2", "slot_machine")
    assert (recipe.score_range_conv, recipe.score_range_linear) == (1.0, linear)
    assert (recipe.value_bound, recipe.sharing, recipe.evaluation) == ("glorot_uniform", "none", "argmax")


@pytest.mark.parametrize("preset", get_args(Preset))
def test_edge_popup_trains_as_published(preset):
    recipe = filled(preset, "conv4", "edge_popup")
    assert (recipe.slot_learning_rate, recipe.slot_momentum, recipe.slot_weight_decay) == (0.1, 0.9, 1e-4)
    assert (recipe.slot_schedule, recipe.slot_epochs, recipe.batch_size) == ("cosine", 100, 128)


@pytest.mark.parametrize("preset", get_args(Preset))
@pytest.mark.parametrize(
    ("network", "rate", "batch_size"), [("lenet", 100, 250), ("conv2", 100, 60), ("conv4", 50, 60), ("conv6", 20, 60)]
)
def test_supermask_trains_as_published(preset, network, rate, batch_size):
    recipe = filled(preset, network, "supermask")
    assert (recipe.slot_learning_rate, recipe.batch_size) == (rate, batch_size)
    assert (recipe.slot_momentum, recipe.slot_weight_decay, recipe.slot_schedule) == (0.9, 0.0, "constant")


def test_tuned_is_the_papers_recipe_but_for_what_was_searched_in_lenet():
    for network, method in itertools.product(NETWORKS, METHODS):
        epochs = {} if network in PUBLISHED else {"finetune_epochs" if method == "learned" else "slot_epochs": 9}
        ours, papers = (filled(preset, network, method, **epochs) for preset in ("tuned", "icml"))
        differ = {name for name in Recipe.model_fields if getattr(ours, name) != getattr(papers, name)}
        searched = {"finetune_learning_rate", "normalisation"}
        searched |= {"slot_machine": {"score_range_linear"}, "binary": {"batch_size"}}.get(method, set())
        assert differ == {"preset", *(searched if network == "lenet" else ())}
    ours = filled("tuned", "lenet", "slot_machine", selection="probabilistic")
    assert (ours.slot_weight_decay, ours.evaluation) == (0.0, "sampled")
    assert (ours.normalisation, ours.slot_learning_rate) == ("unit", 100.0)


@pytest.mark.parametrize("given", [{}, {"slot_epochs": 25}, {"slot_epochs": 3}])
def test_tuned_lets_the_rate_of_probabilistic_selection_fall_to_0(given):
    recipe = filled("tuned", "lenet", "slot_machine", selection="probabilistic", **given)
    rates = [learning_rate(recipe, "slot", epoch) for epoch in range(recipe.slot_epochs)]
    last = max(1, recipe.slot_epochs // 5)
    assert rates[-1] == pytest.approx(100 / (last + 1)) and set(rates[:-last]) == {100.0}
    assert (recipe.slot_schedule_factor, recipe.finetune_schedule) == (None, "warm_restarts")


def test_in_a_split_tuned_lets_both_phases_fall_to_a_rate_of_0():
    for slot, finetune in ((2, 23), (18, 7), (120, 80)):
        recipe = filled("tuned", "lenet", "slot_machine", slot_epochs=slot, finetune_epochs=finetune)
        last = max(1, (slot + finetune) // 5)
        for phase, epochs in recipe.phases():
            rates = [learning_rate(recipe, phase, epoch) for epoch in range(epochs)]
            top = getattr(recipe, f"{phase}_learning_rate")
            assert rates[-1] == pytest.approx(top / (min(last, epochs) + 1))
            assert rates[0] == (top if epochs > last else pytest.approx(top * epochs / (epochs + 1)))
        assert recipe.slot_schedule_factor is recipe.finetune_schedule_factor is None
    for preset in ("icml", "authors_code"):
        recipe = filled(preset, "lenet", "slot_machine", slot_epochs=18, finetune_epochs=7)
        assert "cooldown" not in (recipe.slot_schedule, recipe.finetune_schedule)
    alone = filled("tuned", "lenet", "slot_machine", slot_epochs=25, finetune_epochs=0)
    assert alone.slot_schedule == "warm_restarts"
    stated = filled("tuned", "lenet", "slot_machine", slot_epochs=18, finetune_epochs=7, slot_schedule="constant")
    assert (stated.slot_schedule, stated.slot_schedule_epochs, stated.finetune_schedule) == (
        "constant",
        None,
        "cooldown",
    )


def test_a_preset_only_fills_what_is_left_out_and_says_what_it_filled():
    stated = {"network": "conv2", "dataset": "cifar10", "method": "supermask", "batch_size": 7, "dropout": 0.1}
    recipe = Recipe.complete({**stated, "slot_learning_rate": 3.0})
    assert (recipe.batch_size, recipe.dropout, recipe.slot_learning_rate) == (7, 0.1, 3.0)
    assert not set(recipe.filled) & {*stated, "slot_learning_rate"}
    defaults = preset_fields(stated)
    assert {"padding", "rescale", "slot_epochs", "preset"} <= set(recipe.filled)
    assert all(getattr(recipe, field) == defaults[field] for field in recipe.filled)


def test_a_stated_schedule_does_not_inherit_the_fields_of_the_presets():
    recipe = filled("icml", "lenet", "slot_machine", slot_schedule="constant")
    assert (recipe.slot_schedule_epochs, recipe.slot_schedule_factor) == (None, None)
    assert recipe.finetune_schedule_epochs == 25
    same = filled("icml", "lenet", "slot_machine", slot_schedule="warm_restarts", slot_schedule_epochs=10)
    assert (same.slot_schedule_epochs, same.slot_schedule_factor) == (10, 2.0)


def test_weights_that_start_from_a_random_option_get_those_of_the_slot_machines():
    slot = filled("icml", "conv2", "slot_machine")
    start = filled("icml", "conv2", "learned", start="random_option")
    assert (start.options, start.value_bound) == (slot.options, slot.value_bound)
