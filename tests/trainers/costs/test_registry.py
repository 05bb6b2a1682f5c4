"""The rows of costs: each has what measures it, and says how it adds up, how it is printed and which way is better."""

import subprocess
import sys

import pandas as pd
import pytest

from reports.analysis.arms import mark_fronts
from reports.pictures.canvas import Words
from reports.pictures.fronts import accuracy_against_cost
from reports.sections.searched import goal_column
from search_spaces.ranges import is_better_higher
from sweeper.records.stage_record import StageRecord
from tests.sweeper.records.made_records import a_record
from trainers.costs import registry, totals, units
from trainers.costs.measures import MEASURES, unmatched
from trainers.costs.meters import METERS
from trainers.costs.registry import COSTS, OBJECTIVES, Cost, cost_named
from trainers.errors import InvalidInput


@pytest.fixture
def speed(monkeypatch):
    """A cost of which more is better, and that records of before lack."""
    row = Cost("Speed", "Images a second", units.COUNT, "max", 3, of_run="speed", better="higher")
    monkeypatch.setitem(registry.COSTS, "speed", row)
    return row


def test_every_cost_has_what_measures_it_and_nothing_is_measured_for_nothing():
    assert unmatched(COSTS, METERS, MEASURES) == ""


def test_a_cost_without_a_function_and_a_function_without_a_cost_are_named(speed):
    assert unmatched(COSTS, METERS, MEASURES) == "'speed', which a cost names, is not in MEASURES"
    assert unmatched(COSTS, METERS, [*MEASURES, "speed", "spee"]) == "'spee' of MEASURES is named by no cost"


@pytest.mark.parametrize("named", [{}, {"metered": "a", "of_run": "b"}])
def test_a_cost_is_measured_in_one_way(named):
    with pytest.raises(ValueError, match="cost 'Speed': either metered or of_run"):
        Cost("Speed", "Images a second", units.COUNT, "max", 3, **named)


def test_an_unknown_cost_is_an_error_wherever_it_is_named():
    for look in (cost_named, is_better_higher, goal_column):
        with pytest.raises(InvalidInput, match=r"cost: 'flop' is not one of flops, .* \(did you mean flops\?\)"):
            look("flop")


def test_costs_are_known_without_torch():
    program = "import sys, trainers.costs.totals; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"


def test_a_search_may_ask_for_what_every_machine_knows():
    assert {"flops", "epochs"} < set(OBJECTIVES)
    assert not {"energy_joules", "train_cpu_seconds"} & set(OBJECTIVES)


def test_stages_add_up_as_their_cost_says():
    stages = [
        {"flops": 10**17 + 1, "train_seconds": 0.1, "peak_memory_bytes": 9, "stored_bits_per_weight": 5.0},
        {"flops": 10**17, "train_seconds": 0.2, "peak_memory_bytes": 7, "stored_bits_per_weight": 3.0},
    ]
    assert totals.of_stages(stages) == {
        "flops": 2 * 10**17 + 1, "train_seconds": pytest.approx(0.3), "peak_memory_bytes": 9,
        "stored_bits_per_weight": 3.0,
    }  # fmt: skip
    assert "flops" not in totals.of_stages([stages[0], {}])


def test_a_record_from_before_a_cost_was_kept_lacks_it_and_so_do_its_trials(speed):
    old = {name: value for name, value in a_record().as_dict().items() if name != "speed"}
    record = StageRecord.from_dict(old)
    assert "speed" not in record.costs
    newer = {**record.costs, "speed": 7.0}
    assert totals.of_stages([newer, newer])["speed"] == 7.0
    assert "speed" not in totals.of_stages([newer, record.costs])


def arms_of_two(costs):
    rows = {"n": 1, "network": "lenet", "dataset": "mnist", "device": "", "test_accuracy": [0.9, 0.8]}
    return pd.DataFrame({**dict.fromkeys(COSTS, 1.0), **rows, "speed": costs})


def test_the_front_of_a_cost_is_on_its_better_side(speed):
    assert list(mark_fronts(arms_of_two([5.0, 3.0]))["front_speed"]) == [True, False]
    assert list(mark_fronts(arms_of_two([3.0, 5.0]))["front_speed"]) == [True, True]
    assert is_better_higher("speed") and is_better_higher("validation_accuracy")
    assert not is_better_higher("flops") and not is_better_higher("epochs")


def test_the_front_is_drawn_towards_the_worse_side():
    names = ["slow", "fast"]
    points = pd.DataFrame({
        "label": names, "name": names, "family": "gs", "accuracy": [0.9, 0.8], "half_width": 0.01, "n": 3,
        "cost": [3.0, 5.0], "cost_half_width": 0.1, "cost_text": "1", "front": True, "shown": True, "named": True,
        "below": False, "published": float("nan"),
    })  # fmt: skip
    no_levels = pd.DataFrame(columns=["label", "family", "accuracy", "below"])
    pictures = [
        accuracy_against_cost(points, no_levels, "Speed", Words("a", "A", "a"), higher) for higher in (False, True)
    ]
    assert pictures[0] != pictures[1]


@pytest.mark.parametrize(
    ("unit", "largest", "expected"),
    [
        (units.SECOND, 60.0, (1.0, "s")),
        (units.SECOND, 600.0, (60.0, "min")),
        (units.SECOND, 7200.0, (3600.0, "h")),
        (units.BYTE, 2.5e6, (1e6, "MB")),
        (units.FLOP, 3e22, (1e18, "EFLOP")),
        (units.BITS_PER_WEIGHT, 1e9, (1.0, "bit")),
    ],
)
def test_an_axis_has_the_largest_unit_that_fits(unit, largest, expected):
    assert unit.of_axis(largest) == expected
