"""Published numbers: mapped to our names, with their sources, and never mixed."""

from typing import get_args

import pytest

from search_spaces.published import Kind, all_published, published_for, read_published
from trainers.data.registry import DATA_NAMES
from trainers.methods.registry import METHODS
from trainers.networks.registry import NETWORKS

HEAD = "network,dataset,method,options,selection,sharing,setting,accuracy,spread,source,kind"


def test_every_row_speaks_of_our_networks_data_sets_and_methods():
    for row in all_published():
        assert row.network in NETWORKS
        assert row.dataset in DATA_NAMES
        assert row.method in METHODS
        assert row.kind in get_args(Kind)
        assert 0 < row.accuracy <= 1
        assert row.source
        assert (row.sharing == "none") == (row.method == "slot_machine")
        assert row.selection in (None, "greedy", "probabilistic")


def test_no_row_comes_twice():
    assert len(set(all_published())) == len(all_published()) > 100


def test_a_spread_holds_its_accuracy():
    spreads = [(row.accuracy, *map(float, row.spread.split(".."))) for row in all_published() if row.spread]
    assert len(spreads) > 30
    assert all(low <= accuracy <= high for accuracy, low, high in spreads)


@pytest.mark.parametrize(
    "arm, accuracy, kind",
    [
        (("lenet", "mnist", "slot_machine", 2, "greedy", "none"), 0.9714, "figure-read"),
        (("lenet", "mnist", "slot_machine", 8, "greedy", "none"), 0.9821, "figure-read"),
        (("lenet", "mnist", "slot_machine", 64, "probabilistic", "none"), 0.9784, "figure-read"),
        (("lenet", "mnist", "slot_machine", None, "greedy", "none"), 0.982, "table"),
        (("conv6", "cifar10", "slot_machine", None, "probabilistic", "none"), 0.817, "table"),
        (("vgg19", "cifar10", "slot_machine", 8, "greedy", "none"), 0.91, "text"),
        (("conv4", "cifar10", "slot_machine", 1), 0.11, "figure-read"),
        (("lenet", "mnist", "learned"), 0.9794, "figure-read"),
        (("conv4", "cifar10", "edge_popup"), 0.858, "secondary"),
        (("conv2", "cifar10", "supermask"), 0.66, "secondary"),
        (("resnet34", "image_folder", "learned"), 0.733, "table"),
    ],
)
def test_an_arm_finds_the_nearest_number(arm, accuracy, kind):
    first = published_for(*arm)[0]
    assert (first.accuracy, first.kind) == (accuracy, kind)


@pytest.mark.parametrize(
    "network, weight_init, accuracy",
    [
        ("resnet50", "kaiming_normal", 0.6171),
        ("resnet101", "kaiming_normal", 0.6615),
        ("wide_resnet50", "kaiming_normal", 0.6795),
        ("resnet50", "signed_constant", 0.686),
        ("resnet101", "signed_constant", 0.723),
        ("wide_resnet50", "signed_constant", 0.733),
    ],
)
def test_edge_popup_on_imagenet_is_told_by_its_fixed_weights(network, weight_init, accuracy):
    (row,) = published_for(network, "image_folder", "edge_popup", keep_fraction=0.3, weight_init=weight_init)
    assert row.accuracy == accuracy
    assert row.source == "Ramanujan et al. 2020: table of their slides; README of hidden-networks"
    assert published_for(network, "image_folder", "edge_popup", keep_fraction=0.5) == []


@pytest.mark.parametrize(
    "arm",
    [
        ("lenet", "digits", "slot_machine", 8),
        ("lenet", "mnist", "slot_machine", 3),
        ("lenet", "mnist", "slot_machine", 8, "greedy", "layer"),
        ("conv6", "mnist", "learned"),
        ("resnet18", "cifar10", "binary"),  # of weights and activations: those of weights alone nobody published
    ],
)
def test_what_nobody_published_is_an_empty_list(arm):
    assert published_for(*arm) == []


def test_baselines_of_other_augmentation_are_never_given_as_the_same():
    augmented = published_for("conv2", "cifar10", "learned", augmented=True)
    assert (augmented[0].accuracy, augmented[0].augmented) == (0.7929, True)
    assert {row.augmented for row in augmented[1:]} == {None}
    without = published_for("conv2", "cifar10", "learned", augmented=False)
    assert True not in {row.augmented for row in without}


def test_rows_that_leave_the_selection_open_come_behind_those_that_state_it():
    rows = published_for("lenet", "mnist", "slot_machine", 8, "greedy")
    assert [row.selection for row in rows] == ["greedy", None]
    assert {row.selection for row in published_for("lenet", "mnist", "slot_machine", 8)} == {
        "greedy",
        "probabilistic",
        None,
    }


@pytest.mark.parametrize(
    "row, message",
    [
        ("lenet,mnist,learned,,,,,97.9,,x,table", "line 2: accuracy: a fraction in 0..1, not 97.9"),
        ("lenet,mnist,learned,,,,,0.9,,x,guess", "line 2: kind: 'guess' is not one of table"),
        ("lenet,mnist,learned,,,,,0.9,,,table", "line 2: source: missing"),
        ("lenet,mnist,learned,,,,,much,,x,table", "line 2: could not convert"),
        ("lenet,mnist,learned,30%,,,,0.9,,x,table", "line 2: invalid literal"),
        ("lenet,mnist,learned,,,,,0.9,,slides, table,table", "line 2: 11 columns"),
        ("lenet,mnist,learned", "line 2: 11 columns"),
    ],
)
def test_a_malformed_row_is_refused_with_its_line(row, message):
    with pytest.raises(ValueError, match=message):
        read_published([HEAD, row])
