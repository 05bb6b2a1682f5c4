"""Values that a network shares, by their mean: made-up trials whose truth is known."""

import numpy as np
import pytest

from reports.document.blocks import Figure, Points, Table
from reports.sections.shared_values import FEWEST, shared_values_sections
from reports.tracked.trials import trials_frame
from tests.reports.made_up import trial
from trainers.kernels.options import values_of_the_network
from trainers.numerics import NUMERICS_VERSION

OURS = {"numerics_version": str(NUMERICS_VERSION)}
SHARED = {"method": "slot_machine", "sharing": "network"}


def mean(seed, options):
    return float(np.mean(values_of_the_network(seed, options)))


def shared(options, seeds, accuracy, **stated):
    """Trials that share values, each as accurate as the mean of its values says."""
    return [
        trial(
            {**SHARED, "options": options, "seed": seed}, test_accuracy=accuracy(mean(seed, options)), **OURS, **stated
        )
        for seed in seeds
    ]


def unshared(options, seeds, accuracy):
    return [
        trial({"method": "slot_machine", "options": options, "seed": seed}, test_accuracy=accuracy, **OURS)
        for seed in seeds
    ]


def only_near_zero(mean):
    return 0.98 if abs(mean) <= 0.15 else 0.2


def blocks(records):
    sections = shared_values_sections(trials_frame(records))
    return sections[0].blocks if sections else []


def test_accuracy_that_hangs_on_the_mean_is_told_from_that_on_the_number_of_values():
    records = [*shared(2, range(20), only_near_zero), *shared(64, range(20), only_near_zero)]
    records += [*unshared(2, range(20), 0.981), *unshared(64, range(10), 0.981)]
    points, table, figure = blocks(records)
    assert isinstance(points, Points) and isinstance(table, Table) and isinstance(figure, Figure)
    inner = table.data[(table.data["above"] >= -0.15) & (table.data["to"] <= 0.15)]
    outer = table.data.drop(inner.index)
    means = [mean(seed, options) for options in (2, 64) for seed in range(20)]
    near = sum(abs(each) <= 0.15 for each in means)
    assert (inner["trials"].sum(), outer["trials"].sum()) == (near, 40 - near)
    assert 0 < near < 40
    assert (inner["works"] == inner["compared"]).all() and inner["compared"].sum() > 0
    assert outer["works"].sum() == 0 < outer["compared"].sum()
    assert table.data["compared"].sum() == 30, "ten have no trial with values of its own to compare with"
    assert len(figure.data) == 40
    assert figure.svg.count("<title>K=") == 40
    assert "40 trials" in points.lines[0]


def test_the_mean_is_that_of_the_values_trained_with():
    (_, _, figure) = blocks(shared(4, range(FEWEST), only_near_zero))
    assert sorted(figure.data["x"]) == sorted(mean(seed, 4) for seed in range(FEWEST))


@pytest.mark.parametrize(
    "changed",
    [
        {"numerics_version": "0"},
        {"status": "STOPPED_EARLY"},
        {"test_accuracy": None},
        {"sharing": "layer"},
        {"selection": "probabilistic"},
    ],
)
def test_trials_that_show_nothing_of_it_are_left_out(changed):
    records = shared(2, range(FEWEST), only_near_zero)
    assert blocks(records)
    assert not blocks([records[0] | changed, *records[1:]])


def test_one_number_of_values_says_nothing_of_their_number():
    points, *_ = blocks(shared(2, range(FEWEST), only_near_zero))
    assert "with the number of values – (Spearman)" in points.lines[0]


def test_very_many_trials_are_drawn_without_names():
    *_, figure = blocks(shared(2, range(301), only_near_zero))
    assert len(figure.data) == 301
    assert "<title>K=" not in figure.svg
