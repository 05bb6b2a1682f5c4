"""Labels of arms: as people say them, one per arm, and no two alike."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.arm_words import DATASET_NAMES, NETWORK_NAMES, arm_text
from search_spaces.expansion import expand
from search_spaces.labels import ArmLabels, arm_labels
from search_spaces.spec import Spec
from trainers.errors import InvalidInput
from trainers.methods.registry import METHOD_FIELDS
from trainers.recipe.recipe import Recipe

BASE = {"network": "lenet", "dataset": "mnist", "method": "slot_machine"}


def labels(**fields):
    spec = Spec.parse({"name": "t", "recipe": BASE, "budget_epochs": 40, "budgets_differ": True, **fields})
    return list(dict.fromkeys(arm_labels(expand(spec))))


@pytest.mark.parametrize(
    "fields, wanted",
    [
        ({}, ["K=8 GS"]),
        ({"axes": {"options": [2, 8], "selection": ["greedy", "probabilistic"]}},
         ["K=2 GS", "K=2 PS", "K=8 GS", "K=8 PS"]),
        ({"axes": {"sharing": ["none", "layer", "network"]}},
         ["K=8 GS", "K=8 GS, layer-shared", "K=8 GS, network-shared"]),
        ({"arms": [{"method": "learned"}]}, ["K=8 GS", "learned weights"]),
        ({"arms": [{"method": "edge_popup"}]}, ["K=8 GS", "edge-popup keep 50 %"]),
        ({"arms": [{"method": "supermask"}]}, ["K=8 GS", "supermask"]),
        ({"slot_epochs": [20, 40]}, ["K=8 GS, 20+20 epochs", "K=8 GS"]),
        ({"slot_epochs": [20], "axes": {"options": [2, 8]}}, ["K=2 GS", "K=8 GS"]),
        ({"axes": {"budget_epochs": [100, 200]}}, ["K=8 GS, 100+0 epochs", "K=8 GS, 200+0 epochs"]),
        ({"axes": {"method": ["learned"], "budget_epochs": [9, 10]}},
         ["learned weights, 9 epochs", "learned weights, 10 epochs"]),
        ({"axes": {"network": ["lenet", "conv2"]}}, ["Lenet K=8 GS", "CONV-2 K=8 GS"]),
        ({"axes": {"dataset": ["mnist", "digits"]}}, ["MNIST K=8 GS", "digits K=8 GS"]),
        ({"axes": {"network": ["lenet", "conv2"], "dataset": ["mnist", "cifar10"]}},
         ["Lenet MNIST K=8 GS", "Lenet CIFAR-10 K=8 GS", "CONV-2 MNIST K=8 GS", "CONV-2 CIFAR-10 K=8 GS"]),
        ({"axes": {"options": [1, 2], "budget_epochs": [1, 40]},
          "exclude": [{"options": 1, "budget_epochs": 40}, {"options": 2, "budget_epochs": 1}]}, ["K=1 GS", "K=2 GS"]),
        ({"arms": [{"network": "conv2", "dataset": "cifar10", "method": "learned"}]},
         ["Lenet K=8 GS", "CONV-2 learned weights"]),
        ({"axes": {"slot_learning_rate": [0.1, 0.2]}},
         ["K=8 GS, slot learning rate 0.1", "K=8 GS, slot learning rate 0.2"]),
        ({"arms": [{"slot_learning_rate": 0.05}]}, ["K=8 GS", "K=8 GS, slot learning rate 0.05"]),
        ({"arms": [{"selection": "probabilistic", "slot_learning_rate": 5.0}]}, ["K=8 GS", "K=8 PS"]),
        ({"axes": {"width": [0.5, 1.0]}}, ["K=8 GS, width 0.5", "K=8 GS, width 1"]),
        ({"arms": [{"method": "learned", "start": ["glorot", "random_option"]}]},
         ["K=8 GS", "learned weights", "learned weights from 1 of K=8"]),
        ({"axes": {"method": ["edge_popup"], "keep_fraction": [0.3, 0.5],
                   "weight_init": ["kaiming_normal", "signed_constant"]}},
         ["edge-popup keep 30 %, Kaiming-normal", "edge-popup keep 30 %, signed constant",
          "edge-popup keep 50 %, Kaiming-normal", "edge-popup keep 50 %, signed constant"]),
        ({"axes": {"preset": ["icml", "authors_code"]}}, ["K=8 GS, paper's recipe", "K=8 GS, authors' code"]),
    ],
)  # fmt: skip
def test_arms_are_called_by_what_varies(fields, wanted):
    assert labels(**fields) == wanted


def test_what_a_preset_makes_of_other_fields_is_not_shown():
    assert labels(axes={"options": [8, 16]}) == ["K=8 GS", "K=16 GS"]  # their learning rates differ


def test_an_unknown_method_is_an_error_and_no_learned_weights():
    recipe = Recipe.complete(BASE).model_copy(update={"method": "slot_machines"})
    with pytest.raises(InvalidInput, match="method: 'slot_machines' is not one of"):
        arm_text(recipe, {}, set())


def test_the_seeds_of_an_arm_share_its_label():
    assert labels(seeds=5) == ["K=8 GS"]


def test_every_network_and_data_set_has_a_name_of_its_own():
    schema = Recipe.model_json_schema()["properties"]
    for field, names in (("network", NETWORK_NAMES), ("dataset", DATASET_NAMES)):
        assert set(names) == set(schema[field]["anyOf"][0]["enum"])
        assert len(set(names.values())) == len(names) and all(names.values())


CHOICES = {
    "network": ["lenet", "conv2"],
    "preset": ["icml", "authors_code"],
    "method": list(METHOD_FIELDS),
    "options": [1, 2, 8, 64],
    "selection": ["greedy", "probabilistic"],
    "sharing": ["none", "layer", "network"],
    "start": ["glorot", "kaiming", "random_option"],
    "keep_fraction": [0.3, 0.5, 0.305],
    "weight_init": ["signed_constant"],
    "rescale": [True, False],
    "slot_schedule": ["constant", "cosine"],
    "slot_learning_rate": [0.1, 0.2],
    "slot_nesterov": [True, False],
    "finetune_learning_rate": [0.01, 0.1],
    "batch_size": [32, 128],
    "width": [0.5, 1.0],
    "slot_epochs": [0, 3, 40],
}


@st.composite
def sweeps(draw):
    """The recipes of a sweep of several methods, of any grid with any exceptions, with two seeds."""
    names = draw(st.dictionaries(st.sampled_from([*CHOICES]), st.none(), min_size=1, max_size=6))
    axes = {}
    for name in names:
        axes[name] = draw(st.lists(st.sampled_from(CHOICES[name]), min_size=1, max_size=3, unique=True))
    arms = draw(st.lists(st.sampled_from([{"method": "learned"}, {"batch_size": 64}, {"options": 16}]), max_size=2))
    if "method" in axes and "slot_machine" not in axes["method"]:
        arms = []
    axes["method"] = ["slot_machine", *(method for method in axes.get("method", []) if method != "slot_machine")]
    axes["method"] += [method for method in METHOD_FIELDS if method not in axes["method"]]
    spec = Spec.parse({"name": "t", "recipe": BASE, "budget_epochs": 40, "axes": axes, "arms": arms, "seeds": 2})
    return expand(spec)


@given(sweeps())
@settings(max_examples=150)
def test_no_two_arms_of_any_sweep_are_called_alike(recipes):
    by_arm = {}
    for recipe, label in zip(recipes, arm_labels(recipes), strict=True):
        assert by_arm.setdefault(recipe.arm_hash(), label) == label
    assert len(set(by_arm.values())) == len(by_arm)
    assert all(label.strip() == label != "" for label in by_arm.values())
    assert not [label for label in by_arm.values() if label.endswith(")")], "no label needs a hash"


@given(sweeps(), st.data())
@settings(max_examples=150)
def test_recipes_that_come_one_by_one_are_called_as_if_they_had_come_at_once(recipes, data):
    some = data.draw(st.lists(st.sampled_from(recipes), min_size=1, max_size=12))
    naming, seen = ArmLabels(), []
    for recipe in some:
        seen.append(recipe)
        assert naming.add([recipe]) == arm_labels(seen)


def test_a_recipe_that_changes_nothing_about_the_others_names_none_of_them_anew(monkeypatch):
    rates = [0.1, 0.2, 0.3, 0.4, 0.5]
    recipes = expand(Spec.parse({"name": "t", "recipe": BASE, "axes": {"slot_learning_rate": rates}, "seeds": 2}))
    naming = ArmLabels()
    naming.add(recipes[:4])
    monkeypatch.setattr(ArmLabels, "_name_all", lambda self: pytest.fail("all are named anew"))
    for recipe in recipes[4:]:
        naming.add([recipe])
    assert naming.add([]) == arm_labels_of_rates(rates)


def arm_labels_of_rates(rates):
    return [f"K=8 GS, slot learning rate {rate:g}" for rate in rates for _ in range(2)]
