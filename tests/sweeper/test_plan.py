"""Plans: the numbers of a sweep before it runs, held against hand counts; every bundled spec plans."""

import json
import re
import subprocess
import sys

import pytest

from search_spaces.spec import Spec, bundled_specs, expand, load_spec
from sweeper.forest import plant
from sweeper.plan import Plan, make_plan, plan_sweep, readable

SPLITS = {
    "name": "splits",
    "description": "Two splits of ten epochs, beside learned weights.",
    "recipe": {"network": "lenet", "dataset": "digits", "method": "slot_machine", "options": 8},
    "budget_epochs": 10,
    "slot_epochs": [2, 6],
    "arms": [{"method": "learned"}],
    "seeds": 2,
}


class HoldsAll:
    """A store that holds every stage of a forest."""

    def __init__(self, forest):
        self.forest = forest

    def spans(self, lineage):
        return {stage.end: stage.start for stage in self.forest.stages.values() if stage.lineage == lineage}

    def has_state(self, key):
        return key in self.forest.stages


def planned(spec_fields, stored=None, flops=lambda recipe: 1000) -> Plan:
    spec = Spec.parse(spec_fields)
    recipes = expand(spec)
    return make_plan(spec, plant(recipes, {"digits": "d", "mnist": "m"}, stored), flops)


def test_a_plan_counts_what_the_sweep_takes_alone_and_shared():
    plan = planned(SPLITS)
    assert (plan.trials, plan.stages, plan.stored) == (6, 10, 0)
    assert plan.epochs_alone == 60
    assert plan.epochs_shared == plan.epochs_left == 2 * (6 + 8 + 4 + 10)
    assert (plan.flops_alone, plan.flops_shared, plan.flops_left) == (60_000, 56_000, 56_000)
    assert plan.sharing == 60 / 56
    assert [(arm.label, arm.trials, arm.slot_epochs, arm.finetune_epochs) for arm in plan.arms] == [
        ("K=8 GS, 2+8 epochs", 2, 2, 8),
        ("K=8 GS, 6+4 epochs", 2, 6, 4),
        ("learned weights", 2, 0, 10),
    ]


def test_a_plan_tells_what_is_stored_and_what_is_left():
    half = plant(expand(Spec.parse({**SPLITS, "seeds": [0]})), {"digits": "d"})
    plan = planned(SPLITS, HoldsAll(half))
    assert (plan.stored, plan.trials_stored, plan.epochs_left, plan.flops_left) == (5, 3, 28, 28_000)
    assert [arm.trials_stored for arm in plan.arms] == [1, 1, 1]
    assert "stored already: 5 stages, 3 trials" in plan.text()
    assert "left to train: 28 epochs, 28 kFLOP" in plan.text()


def test_the_json_holds_at_least_what_scripts_rely_on():
    fields = json.loads(json.dumps(planned(SPLITS).as_dict()))
    assert {name: fields[name] for name in ("trials", "stages", "epochs_alone", "epochs_shared", "stored")} == {
        "trials": 6,
        "stages": 10,
        "epochs_alone": 60,
        "epochs_shared": 56,
        "stored": 0,
    }


def test_the_text_shows_every_arm_and_the_totals():
    text = planned(SPLITS).text()
    assert "splits\n  Two splits of ten epochs, beside learned weights." in text
    assert ["K=8 GS, 2+8 epochs", "2", "2 + 8", "10 kFLOP", "–"] in [
        re.split(r"  +", row.strip()) for row in text.split("\n")
    ]
    assert "6 trials of 3 arms, in 10 stages" in text
    assert "60 epochs if every trial ran alone, 56 with shared stages (1.07 times fewer)" in text


def test_a_sweep_that_shares_nothing_says_so():
    plan = planned({**SPLITS, "slot_epochs": [10], "arms": []})
    assert "20 epochs if every trial ran alone; no stage is shared" in plan.text()


def test_a_long_table_is_cut_and_says_so():
    plan = planned({**SPLITS, "slot_epochs": [10], "axes": {"options": list(range(2, 80))}})
    assert "… and 19 more arms" in plan.text()
    assert len(plan.as_dict()["arms"]) == 79


def test_flops_that_cannot_be_known_are_left_out_rather_than_guessed():
    plan = planned(SPLITS, flops=lambda recipe: None)
    assert (plan.flops_alone, plan.flops_shared, plan.flops_left) == (None, None, None)
    assert "FLOP alone" not in plan.text()


def test_flops_are_counted_once_for_recipes_that_cannot_differ():
    asked = []
    planned({**SPLITS, "axes": {"options": [2, 4, 8]}, "seeds": 5}, flops=lambda recipe: asked.append(recipe) or 1)
    assert len(asked) == 1
    planned({**SPLITS, "axes": {"width": [1.0, 2.0]}, "seeds": 5}, flops=lambda recipe: asked.append(recipe) or 1)
    assert len(asked) == 3


def test_without_the_data_a_plan_does_without_the_store_and_says_so(tmp_path):
    plan = plan_sweep(Spec.parse({**SPLITS, "recipe": {**SPLITS["recipe"], "dataset": "mnist"}}), data_dir=tmp_path)
    assert plan.stored == 0
    assert "What is already stored cannot be told without the data" in plan.text()


@pytest.mark.parametrize("count, text", [(0, "0 "), (999, "999 "), (1000, "1 k"), (1.234e12, "1.23 T"), (5e18, "5 E")])
def test_large_counts_read_well(count, text):
    assert readable(count) == text


@pytest.mark.parametrize("name", bundled_specs())
def test_every_bundled_spec_plans(name):
    spec = load_spec(name)
    recipes = expand(spec)
    plan = make_plan(spec, plant(recipes, {recipe.dataset: "d" for recipe in recipes}), lambda recipe: 1)
    assert plan.trials == len(recipes) > 0
    assert plan.epochs_left == plan.epochs_shared <= plan.epochs_alone == plan.flops_alone
    assert len(plan.arms) == len({recipe.arm_hash() for recipe in recipes})


def test_planning_without_flops_needs_no_torch():
    code = (
        "import sys, sweeper.plan; from search_spaces.spec import *; from sweeper.forest import plant;"
        "spec = load_spec('digits_quickstart');"
        "sweeper.plan.make_plan(spec, plant(expand(spec), {'digits': 'd'}), lambda recipe: 1);"
        "print([name for name in ('torch', 'ray', 'mlflow') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
