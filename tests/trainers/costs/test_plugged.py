"""What costs of one's own are checked for, how they are measured, and what is told of them in plain data."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

import trainers
from sweeper.records.stage_record import OF_PLUGINS, StageRecord
from tests.sweeper.records.made_records import a_record
from trainers.checks import BrokenRule
from trainers.costs import totals, units
from trainers.costs.plugged import OwnCost, costs_of, row_of, told_of_cost
from trainers.costs.registry import cost_named
from trainers.errors import InvalidInput
from trainers.methods.base import weighted_layers
from trainers.plugin_facts import facts_of_registries
from trainers.plugins.known import PlugIn, know


def nonzero(run):
    return sum(int(layer.weight.count_nonzero()) for _, layer in weighted_layers(run.network))


def drawn(run):
    return float(torch.rand(()))


def changing(run):
    run.optimizer.momenta[0].add_(1)
    return 1


def untidy(run):
    torch.set_num_threads(torch.get_num_threads() + 1)
    return 1


def steps(device, one_process):
    count = iter(range(1_000_000))
    return lambda: next(count)


def counts_nothing(device, one_process):
    return None


NONZERO = OwnCost("Nonzero", "Weights that are not 0", units.COUNT, "last", measure=nonzero)
STEPS = OwnCost("Steps", "Steps", units.COUNT, "sum", meter=steps)


def measured_by(measure) -> OwnCost:
    return replace(NONZERO, measure=measure)


def test_a_cost_that_keeps_the_rules_passes_whether_measured_or_metered():
    trainers.check_cost(NONZERO)
    trainers.check_cost(STEPS, method="learned", slot_epochs=0, options=None)
    trainers.check_cost(replace(STEPS, meter=counts_nothing, everywhere=False))


@pytest.mark.parametrize(
    ("cost", "rule"),
    [
        (measured_by(drawn), "the second time, and .* before, of the same network: draw nothing"),
        (measured_by(changing), "to measure it changes the run"),
        (measured_by(untidy), "to measure it changes torch's threads of the whole process"),
        (measured_by(lambda run: float("nan")), "gave nan, and a cost is finite"),
        (measured_by(lambda run: torch.tensor(3.0)), r"gave tensor\(3.\), and a cost is a number"),
        (replace(STEPS, meter=counts_nothing), "its meter counts nothing here: say everywhere=False"),
    ],
)
def test_a_cost_that_breaks_a_rule_is_told_which_with_file_and_line(cost, rule):
    threads = torch.get_num_threads()
    try:
        with pytest.raises(BrokenRule, match=rule) as broken:
            trainers.check_cost(cost)
    finally:
        torch.set_num_threads(threads)
    assert str(broken.value).startswith(__file__)


@pytest.mark.parametrize(
    ("name", "cost", "fault"),
    [
        ("own", nonzero, "COSTS: own: .* is no cost; one is a trainers.costs.plugged.OwnCost"),
        ("flops", NONZERO, "COSTS: 'flops' is one of the package's own"),
        ("epochs", NONZERO, "COSTS: 'epochs' is one of the package's own"),
        ("own", replace(NONZERO, unit="bytes"), "unit: one of trainers.costs.units, or a Unit, not 'bytes'"),
        ("own", replace(NONZERO, adds_up="mean"), "adds_up: 'mean' is not one of sum, max, last"),
        ("own", replace(NONZERO, better="less"), "better: 'less' is not one of lower, higher"),
    ],
)
def test_what_is_no_cost_is_not_registered(name, cost, fault):
    with pytest.raises(InvalidInput, match=fault):
        facts_of_registries({"COSTS": {name: cost}})


@pytest.mark.parametrize("how", [{}, {"measure": nonzero, "meter": steps}])
def test_a_cost_of_ones_own_is_measured_in_one_way(how):
    with pytest.raises(ValueError, match="cost 'Own': either measure or meter says how it is measured, not both"):
        OwnCost("Own", "Own", units.COUNT, "last", **how)


@pytest.mark.parametrize("cost", [NONZERO, STEPS, replace(NONZERO, unit=units.SECOND, better="higher", adds_up="max")])
def test_a_row_is_the_same_from_what_is_told_of_it(cost):
    row = row_of("mine.own", json.loads(json.dumps(told_of_cost(cost))))
    assert (row.title, row.phrase, row.unit, row.adds_up, row.better) == (
        cost.title, cost.phrase, cost.unit, cost.adds_up, cost.better,
    )  # fmt: skip
    assert (row.metered or row.of_run) == "mine.own" and bool(row.metered) == bool(cost.meter)


def test_costs_of_a_plugin_add_up_as_their_rows_say_and_stand_apart_in_records():
    facts = facts_of_registries({"COSTS": {"nonzero": NONZERO, "steps": STEPS}})
    know(PlugIn("added", "a" * 64, facts=facts))
    recipe = {"costs": "added.nonzero, added.steps", "plugins": f"added@{'a' * 64}"}
    rows = costs_of(recipe)
    epochs = [{"train_seconds": 1.0, "added.steps": 3}, {"train_seconds": 1.0, "added.steps": 4}]
    stages = [totals.of_epochs(epochs, {"added.nonzero": count}, rows) for count in (9, 7)]
    assert totals.of_stages(stages, rows) == {"train_seconds": 4.0, "added.nonzero": 7, "added.steps": 14}
    assert totals.of_part(stages[0], 2, epochs[1:], rows)["added.steps"] == 4
    record = replace(a_record(), costs={**a_record().costs, "added.nonzero": 9})
    assert record.as_dict()[OF_PLUGINS] == {"added.nonzero": 9} and OF_PLUGINS not in a_record().as_dict()
    assert StageRecord.from_dict(record.as_dict()) == record
    assert costs_of({**recipe, "plugins": f"added@{'b' * 64}"}) == costs_of({}), "of that state nothing was told"
    with pytest.raises(InvalidInput, match=r"cost: 'added\.other' is not one of"):
        cost_named("added.other")
