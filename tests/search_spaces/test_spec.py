"""Specs: from YAML to recipes, with every fault told by the path of its field."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.expansion import expand
from search_spaces.fields import AXIS_FIELDS
from search_spaces.spec import Spec
from trainers.errors import InvalidInput
from trainers.methods.registry import METHOD_FIELDS
from trainers.recipe.recipe import Recipe

BASE = {"network": "lenet", "dataset": "digits", "method": "slot_machine", "options": 8, "selection": "greedy"}


def a_spec(**fields) -> Spec:
    return Spec.parse({"name": "test", "recipe": BASE, "budget_epochs": 40, **fields})


def faults_of(**fields) -> str:
    with pytest.raises(InvalidInput) as caught:
        expand(a_spec(**fields))
    return str(caught.value)


def shown(spec, *names):
    return [tuple(getattr(recipe, name) for name in names) for recipe in expand(spec)]


# The grid


def test_the_grid_is_the_product_of_axes_splits_and_seeds_in_a_stable_order():
    spec = a_spec(axes={"options": [2, 8], "selection": ["greedy", "probabilistic"]}, slot_epochs=[10, 40], seeds=2)
    wanted = itertools.product([2, 8], ["greedy", "probabilistic"], [10, 40], [0, 1])
    assert shown(spec, "options", "selection", "slot_epochs", "seed") == list(wanted)
    assert {recipe.budget_epochs for recipe in expand(spec)} == {40}


def test_the_example_of_the_documentation_expands():
    spec = Spec.parse(
        {
            "name": "lenet_splits",
            "recipe": {**BASE, "dataset": "mnist", "preset": "authors_code"},
            "budget_epochs": 200,
            "slot_epochs": [20, 60, 100, 200],
            "axes": {"options": [2, 8], "selection": ["greedy", "probabilistic"]},
            "arms": [{"method": "learned"}],
            "seeds": 4,
        }
    )
    recipes = expand(spec)
    assert len(recipes) == (2 * 2 * 4 + 1) * 4
    learned = recipes[-1]
    assert (learned.method, learned.slot_epochs, learned.finetune_epochs, learned.options) == ("learned", 0, 200, None)


def test_presets_fill_each_recipe_after_its_axes():
    spec = a_spec(axes={"options": [8, 16], "selection": ["greedy", "probabilistic"]})
    assert shown(spec, "slot_learning_rate") == [(0.2,), (25.0,), (0.1,), (25.0,)]


def test_seeds_are_a_number_or_a_list():
    assert a_spec(seeds=4).seed_list() == [0, 1, 2, 3]
    assert a_spec(seeds=[7, 3]).seed_list() == [7, 3]
    assert [recipe.seed for recipe in expand(a_spec(seeds=[7, 3]))] == [7, 3]


def test_nothing_comes_twice():
    spec = a_spec(axes={"options": [8, 8, 2]}, arms=[{}, {"options": 2}, {"finetune_learning_rate": 0.5}], seeds=2)
    assert shown(spec, "options", "seed") == [(8, 0), (8, 1), (2, 0), (2, 1)]


def test_a_budget_without_splits_is_all_slot_phase_unless_the_recipe_says_otherwise():
    assert shown(a_spec(), "slot_epochs", "finetune_epochs") == [(40, 0)]
    assert shown(a_spec(recipe={**BASE, "slot_epochs": 15}), "slot_epochs", "finetune_epochs") == [(15, 25)]
    assert shown(a_spec(recipe={**BASE, "finetune_epochs": 15}), "slot_epochs", "finetune_epochs") == [(25, 15)]


def test_a_single_split_may_be_written_without_a_list():
    assert shown(a_spec(slot_epochs=10), "slot_epochs", "finetune_epochs") == [(10, 30)]


def test_without_a_budget_splits_leave_the_finetune_phase_to_the_recipe():
    spec = a_spec(budget_epochs=None, slot_epochs=[10], recipe={**BASE, "finetune_epochs": 5})
    assert shown(spec, "slot_epochs", "finetune_epochs") == [(10, 5)]


def test_budgets_may_be_nested_where_the_spec_says_so():
    spec = a_spec(axes={"budget_epochs": [100, 200]}, budgets_differ=True)
    assert shown(spec, "slot_epochs") == [(100,), (200,)]


@given(
    st.lists(st.integers(1, 64), min_size=1, max_size=4, unique=True),
    st.lists(st.sampled_from(["slot_machine", "learned", "edge_popup", "supermask"]), min_size=1, unique=True),
    st.integers(1, 30).flatmap(lambda budget: st.tuples(st.just(budget), st.lists(st.integers(0, budget), min_size=1))),
    st.integers(1, 3),
)
def test_every_trial_of_any_grid_keeps_the_budget_and_comes_once(options, methods, budget_and_splits, seeds):
    budget, splits = budget_and_splits
    methods = ["slot_machine", *(method for method in methods if method != "slot_machine")]
    axes = {"method": methods, "options": options}
    recipes = expand(a_spec(axes=axes, budget_epochs=budget, slot_epochs=splits, seeds=seeds))
    assert {recipe.budget_epochs for recipe in recipes} == {budget}
    hashes = [recipe.content_hash() for recipe in recipes]
    assert len(set(hashes)) == len(hashes)
    counts = {"slot_machine": len(options) * len(set(splits)), "learned": 1}
    assert len(recipes) == seeds * sum(counts.get(method, len(set(splits))) for method in methods)


# One base, several methods


def test_what_a_method_does_not_have_is_not_inherited():
    base = {**BASE, "sharing": "layer", "value_bound": "glorot_normal", "evaluation": "argmax", "slot_nesterov": True}
    spec = a_spec(recipe=base, arms=[{"method": method} for method in ("learned", "edge_popup", "supermask")])
    for recipe in expand(spec):
        others = {name for fields in METHOD_FIELDS.values() for name in fields} - METHOD_FIELDS[recipe.method]
        assert {getattr(recipe, name) for name in others} <= {None}
    learned = next(recipe for recipe in expand(spec) if recipe.method == "learned")
    assert (learned.options, learned.value_bound, learned.slot_nesterov) == (None, None, False)


def test_where_the_method_is_an_axis_the_others_apply_where_they_can():
    axes = {"method": ["slot_machine", "learned", "edge_popup"], "options": [2, 8], "keep_fraction": [0.3, 0.5]}
    spec = a_spec(axes=axes, slot_epochs=[10, 40])
    arms = shown(spec, "method", "options", "keep_fraction", "slot_epochs")
    assert arms == [
        *[("slot_machine", options, None, split) for options in (2, 8) for split in (10, 40)],
        ("learned", None, None, 0),
        *[("edge_popup", None, keep, split) for keep in (0.3, 0.5) for split in (10, 40)],
    ]


def test_learned_weights_that_start_from_an_option_inherit_how_many_there_are():
    spec = a_spec(arms=[{"method": "learned", "start": "random_option"}])
    assert expand(spec)[-1].options == 8


def test_values_that_only_another_method_knows_are_not_inherited():
    spec = a_spec(
        recipe={**BASE, "evaluation": "sampled", "selection": "probabilistic"}, arms=[{"method": "supermask"}]
    )
    assert [recipe.evaluation for recipe in expand(spec)] == ["sampled", "mean_of_samples"]


@pytest.mark.parametrize(
    "base, arm, wanted",
    [
        ({"slot_schedule": "steps", "slot_schedule_epochs": 5, "slot_schedule_factor": 0.1},
         {"slot_schedule": "constant"}, ("constant", None, None)),
        ({"slot_schedule_epochs": 5}, {"preset": "authors_code"}, ("constant", None, None)),
        ({"slot_schedule_epochs": 5}, {"method": "edge_popup"}, ("cosine", None, None)),
        ({"slot_schedule_epochs": 5}, {"options": 2}, ("warm_restarts", 5, 2.0)),
        ({"slot_schedule": "steps", "slot_schedule_epochs": 5, "slot_schedule_factor": 3.0},
         {"slot_schedule": "warm_restarts", "slot_schedule_epochs": 9}, ("warm_restarts", 9, 2.0)),
        ({"slot_schedule": "steps", "slot_schedule_epochs": 5, "slot_schedule_factor": 0.1},
         {"slot_schedule": "warm_restarts", "slot_schedule_epochs": 9, "slot_schedule_factor": 1.0},
         ("warm_restarts", 9, 1.0)),
    ],
)  # fmt: skip
def test_what_belongs_to_one_schedule_is_not_inherited_by_another(base, arm, wanted):
    recipe = expand(a_spec(recipe={**BASE, **base}, arms=[arm]))[-1]
    assert (recipe.slot_schedule, recipe.slot_schedule_epochs, recipe.slot_schedule_factor) == wanted


def test_the_image_size_goes_with_folders_of_images():
    base = {**BASE, "network": "conv2", "dataset": "image_folder", "image_size": 64}
    recipe = expand(a_spec(recipe=base, arms=[{"dataset": "cifar10"}]))[-1]
    assert recipe.image_size is None


# Arms


def test_an_arm_is_the_base_with_exceptions_and_without_the_axes():
    spec = a_spec(axes={"options": [2, 4]}, slot_epochs=[10, 20], arms=[{"sharing": "layer"}])
    assert shown(spec, "options", "sharing", "slot_epochs")[-1] == (8, "layer", 40)
    assert len(expand(spec)) == 5


def test_lists_in_an_arm_are_axes_of_this_arm_alone():
    spec = a_spec(arms=[{"sharing": ["layer", "network"], "slot_epochs": [10, 20]}])
    assert shown(spec, "sharing", "slot_epochs")[1:] == [
        ("layer", 10),
        ("layer", 20),
        ("network", 10),
        ("network", 20),
    ]


def test_what_varies_are_axes_of_several_values_splits_and_exceptions_of_arms():
    axes = {"options": [2, 4], "network": ["lenet"]}  # one value is left of the latter, as --set network=lenet does
    assert a_spec(axes=axes, slot_epochs=[10]).varied_fields() == ["options"]
    spec = a_spec(axes=axes, slot_epochs=[10, 20], arms=[{"sharing": "layer"}])
    assert spec.varied_fields() == ["options", "slot_epochs", "sharing"]


# Exclude


def test_excluded_cells_are_left_out_of_the_grid_and_arms_are_not():
    spec = a_spec(
        axes={"options": [2, 4, 8], "selection": ["greedy", "probabilistic"]},
        exclude=[{"options": [2, 4], "selection": "probabilistic"}],
        arms=[{"options": 2, "selection": "probabilistic"}],
    )
    assert shown(spec, "options", "selection") == [
        (2, "greedy"),
        (4, "greedy"),
        (8, "greedy"),
        (8, "probabilistic"),
        (2, "probabilistic"),
    ]


def test_rules_may_name_what_a_preset_fills_and_the_budget():
    spec = a_spec(axes={"options": [8, 16]}, exclude=[{"slot_learning_rate": 0.1, "budget_epochs": 40}])
    assert shown(spec, "options") == [(8,)]


def test_rules_make_grids_possible_whose_every_cell_is_not():
    spec = a_spec(
        axes={"network": ["lenet", "conv2"], "dataset": ["digits", "cifar10"]},
        exclude=[{"network": "lenet", "dataset": "cifar10"}, {"network": "conv2", "dataset": "digits"}],
    )
    assert shown(spec, "network", "dataset") == [("lenet", "digits"), ("conv2", "cifar10")]


# Faults, each with the path of its field


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"recipe": {**BASE, "optons": 2}}, "recipe.optons: unknown field (did you mean options?)"),
        ({"axes": {"selecton": ["greedy"]}}, "axes.selecton: unknown field (did you mean selection?)"),
        ({"arms": [{}, {"bath_size": 2}]}, "arms[1].bath_size: unknown field (did you mean batch_size?)"),
        ({"exclude": [{"optons": 2}]}, "exclude[0].optons: unknown field (did you mean options?)"),
        ({"recipe": {**BASE, "seed": 2}}, "recipe.seed: the seeds of a sweep go into seeds"),
        ({"axes": {"seed": [2]}}, "axes.seed: the seeds of a sweep go into seeds"),
        ({"recipe": {**BASE, "filled": []}}, "recipe.filled: unknown field"),
        ({"recipe": {**BASE, "options": [2, 4]}}, "recipe.options: one value, not the list [2, 4] (lists go"),
        ({"recipe": {**BASE, "options": "8"}}, "recipe.options: should be a valid integer, not '8'"),
        ({"recipe": {**BASE, "selection": "greddy"}}, "recipe.selection: 'greddy' is not one of greedy, prob"),
        ({"axes": {"selection": ["greedy", "greddy"]}}, "axes.selection: 'greddy' is not one of greedy, prob"),
        ({"axes": {"method": ["learned", "learnt"]}}, "axes.method: 'learnt' is not one of"),
        ({"axes": {"preset": ["icml", "icmll"]}}, "axes.preset: 'icmll' is not one of icml, authors_code, tuned (did"),
        ({"axes": {"options": [0]}}, "axes.options: should be greater than or equal to 1, not 0"),
        ({"axes": {"options": [[2, 4]]}}, "axes.options: should be a valid integer, not [2, 4]"),
        ({"axes": {"options": []}}, "axes.options: List should have at least 1 item"),
        ({"axes": {"options": 8}}, "axes.options: should be a valid list, not 8 (a list is written [8]"),
        ({"arms": [{"options": []}]}, "arms[0].options: an empty list"),
        ({"arms": [{"options": 2.5}]}, "arms[0].options: should be a valid integer"),
        ({"arms": [{"method": "learned", "keep_fraction": 0.5}]}, "arms[0].keep_fraction: learned has no such field"),
        ({"arms": [{"method": "learned", "options": 8}]}, "arms[0].options: weights that start from glorot"),
        ({"arms": [{"method": "learned", "slot_epochs": 5}]}, "arms[0].slot_epochs: learned has no slot phase"),
        ({"arms": [{"slot_schedule": "steps"}]}, "slot_schedule_epochs: missing, and the schedule steps needs it"),
        ({"recipe": {**BASE, "keep_fraction": 0.5}}, "recipe.keep_fraction: no recipe here can have 0.5"),
        ({"axes": {"keep_fraction": [0.5, 0.3]}}, "axes.keep_fraction: no recipe here can have 0.5 or 0.3"),
        ({"axes": {"evaluation": ["argmax", "threshold"]}}, "axes.evaluation: no recipe here can have 'threshold'"),
        ({"recipe": {"network": "lenet", "dataset": "digits", "method": "learned"}, "slot_epochs": [10]},
         "slot_epochs: no recipe here can have 10 (method: learned)"),
        ({"slot_epochs": [10, 41]}, "slot_epochs: a part of the budget is from 0 to 40 epochs, not 41"),
        ({"slot_epochs": [-1]}, "slot_epochs.0: should be greater than or equal to 0, not -1"),
        ({"slot_epochs": []}, "slot_epochs: List should have at least 1 item"),
        ({"slot_epochs": [1.5]}, "slot_epochs.0: should be a valid integer, not 1.5"),
        ({"arms": [{"slot_epochs": 41}]}, "arms[0].slot_epochs: a part of the budget is from 0 to 40 epochs, not 41"),
        ({"arms": [{"slot_epochs": 10, "finetune_epochs": 10}]},
         "arms[0].finetune_epochs: 10 slot epochs and 10 finetune epochs are not the budget of 40 epochs"),
        ({"slot_epochs": [10], "recipe": {**BASE, "finetune_epochs": 3}}, "recipe.finetune_epochs: 10 slot epochs"),
        ({"axes": {"budget_epochs": ["many"]}}, "axes.budget_epochs: should be a whole number of at least 1, not"),
        ({"budget_epochs": 0}, "budget_epochs: should be greater than or equal to 1, not 0"),
        ({"budget_epochs": 40.0}, "budget_epochs: should be a valid integer"),
        ({"budget_epochs": None, "arms": [{"method": "learned", "finetune_epochs": 50}]},
         "budget_epochs: the arms differ in their total: 50 epochs (learned weights), 200 epochs (K=8 GS); fix it by"),
        ({"slot_epochs": [10, 20], "budget_epochs": None}, "budget_epochs: the arms differ in their total: 10 epochs"),
        ({"seeds": 0}, "seeds: from 1 to 100000 seeds, not 0"),
        ({"seeds": []}, "seeds: a number of seeds or a list of seeds, not []"),
        ({"seeds": [1, 1]}, "seeds: 1 is listed twice"),
        ({"seeds": [-1]}, "seeds: a seed is from 0 to 2**63 - 1, not -1"),
        ({"seeds": True}, "seeds: a number of seeds or a list of seeds, not True"),
        ({"seeds": "3"}, "seeds: a number of seeds or a list of seeds, not '3'"),
        ({"exclude": [{"options": 3}]}, "exclude[0]: {'options': 3} matches no cell of the grid, so leave it out"),
        ({"exclude": [{"options": 8}]}, "exclude: its rules leave no trial"),
        ({"exclude": [{}]}, "exclude[0]: an empty rule would leave out the whole grid"),
        ({"limits": {"epochs": 0}}, "limits.epochs: should be greater than or equal to 1, not 0"),
        ({"limits": {"device_hour": 1}}, "limits.device_hour: unknown field (did you mean device_hours?)"),
        ({"name": "a/b"}, "name: letters, digits"),
        ({"name": ".."}, "name: letters, digits"),
        ({"sedes": 3}, "sedes: unknown field (did you mean seeds?)"),
        ({"budgets_differ": "yes"}, "budgets_differ: should be a valid boolean"),
        ({"recipe": {"network": "lenet"}}, "dataset: missing, and it has no default\nmethod: missing"),
        ({"axes": {"options": list(range(1, 2000)), "batch_size": list(range(1, 2000))}}, "at most 1,000,000 recipes"),
    ],
)  # fmt: skip
def test_faults_name_the_field_by_its_path_the_rule_and_the_value(fields, message):
    assert message in faults_of(**fields)


def test_all_faults_are_told_at_once_and_each_once():
    text = faults_of(axes={"options": [0, -1], "selection": ["greedy", "x"]}, arms=[{"batch_size": 0}], seeds=3)
    assert sorted(line.split(":")[0] for line in text.split("\n")) == [
        "arms[0].batch_size",
        "axes.options",
        "axes.options",
        "axes.selection",
    ]


VALUES = {
    "network": "conv4", "padding": 0, "dropout": 0.1, "dataset": "cifar10", "normalisation": "unit", "image_size": 32,
    "augmentation": "flip", "validation_examples": 99, "split_seed": 3, "preset": "authors_code", "method": "supermask",
    "options": 3, "selection": "probabilistic", "sharing": "layer", "value_bound": "glorot_normal",
    "evaluation": "sampled", "start": "random_option", "keep_fraction": 0.25, "weight_init": "kaiming_normal",
    "rescale": False, "scale_by_keep_fraction": True, "batch_size": 32, "precision": "tf32", "slot_optimizer": "sgd",
    "slot_momentum": 0.5, "slot_nesterov": True, "slot_schedule": "constant", "finetune_schedule": "cosine",
    "slot_schedule_epochs": 7, "finetune_schedule_epochs": 7, "finetune_nesterov": True, "finetune_momentum": 0.5,
    "budget_epochs": 44, "slot_epochs": 4, "finetune_epochs": 4, "evaluation_samples": 3,
    "conversion": "bfloat16", "conversion_bits": 3, "conversion_scales": "kernel",
    "activation": "elu", "readout": "all_hidden", "gain": "mean_size", "frozen_fraction": 0.5,
    "threshold_fraction": 0.5, "mask_decay": 0.01, "value_layout": "stratified",
    "tau_start": 0.9, "tau_end": 0.95, "finetune_start": "shuffled",
}  # fmt: skip
NEEDS = {
    "start": {"method": "learned"},
    "evaluation": {"selection": "probabilistic"},
    "evaluation_samples": {"selection": "probabilistic", "evaluation": "sampled"},
    "keep_fraction": {"method": "edge_popup"},
    "weight_init": {"method": "edge_popup"},
    "scale_by_keep_fraction": {"method": "edge_popup"},
    "gain": {"method": "edge_popup", "weight_init": "kaiming_normal"},
    "frozen_fraction": {"method": "edge_popup"},
    "threshold_fraction": {"method": "signed_supermask"},
    "mask_decay": {"method": "signed_supermask"},
    "value_scale": {"method": "random_features"},
    "tau_start": {"method": "binary"},
    "tau_end": {"method": "binary"},
    "finetune_start": {"slot_epochs": 20, "finetune_epochs": 20},
    "rescale": {"method": "supermask"},
    "readout": {"network": "lenet"},
    "image_size": {"dataset": "image_folder"},
    "conversion_bits": {"conversion": "quantised", "conversion_scales": "layer"},
    "conversion_scales": {"conversion": "ternary"},
}


@pytest.mark.parametrize("field", AXIS_FIELDS)
def test_every_field_of_a_recipe_can_be_an_axis_and_reaches_the_recipe(field):
    """No searched parameter that never reaches the trainer."""
    base = {"network": "conv2", "dataset": "mnist", "method": "slot_machine", **NEEDS.get(field, {})}
    base.pop(field, None)
    value = VALUES.get(field, 3.0)
    (recipe,) = expand(a_spec(recipe=base, axes={field: [value]}))
    assert getattr(recipe, field) == value
    assert field not in recipe.filled


def test_a_sweep_can_vary_all_that_a_recipe_has():
    assert set(Recipe.model_fields) - set(AXIS_FIELDS) == {"seed", "filled", "plugins", "costs", "method_options"}


@pytest.mark.parametrize(
    "axes", [{"method": [[], "learned"]}, {"method": [{"a": 1}], "network": ["conv2"]}, {"weight_init": [["x"]]}]
)
def test_a_list_where_a_word_belongs_is_a_fault_like_others(axes):
    recipe = {"network": "lenet", "dataset": "mnist", "method": "edge_popup", "weight_init": "signed_constant"}
    spec = Spec.parse({"name": "nested", "recipe": recipe, "budget_epochs": 2, "slot_epochs": [1], "axes": axes})
    with pytest.raises(InvalidInput, match=r"(method|weight_init): "):
        expand(spec)
