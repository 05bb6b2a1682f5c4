"""What trials and sweeps share, in epochs: the numbers that the documentation states, and the rules behind them."""

import re
from pathlib import Path

import pytest

from search_spaces.expansion import expand
from search_spaces.loading import load_spec
from search_spaces.spec import Spec
from sweeper.cli.main import main
from sweeper.stages.planting import plant

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "sweep.md").read_text(encoding="utf-8")
BASE = {"network": "lenet", "dataset": "mnist", "preset": "icml", "method": "slot_machine", "options": 8}


def forest(*specs, stored=None):
    recipes = [recipe for fields in specs for recipe in expand(Spec.parse({"name": "some", **fields}))]
    return plant(recipes, {"mnist": "d"}, stored)


class Holds:
    """A store that holds every stage of a forest."""

    def __init__(self, planted):
        self.stages = planted.stages

    def expect(self, lineages):
        pass

    def spans(self, lineage):
        return {stage.end: stage.start for stage in self.stages.values() if stage.lineage == lineage}

    def has_state(self, key):
        return key in self.stages


def test_budgets_nested_in_one_another_share():
    short = {"recipe": BASE, "budget_epochs": 100, "slot_epochs": [100]}
    long = {"recipe": BASE, "budget_epochs": 200, "slot_epochs": [200]}
    together = forest(short, long)
    assert (together.epochs_alone, together.epochs_shared) == (300, 200)
    # The same split of two budgets: 60 slot epochs, then 40 finetune epochs that are the first of 140.
    together = forest({**short, "slot_epochs": [60]}, {**long, "slot_epochs": [60]})
    assert (together.epochs_alone, together.epochs_shared) == (300, 200)
    assert [(stage.phase, stage.start, stage.end) for stage in together.stages.values()] == [
        ("slot", 0, 60), ("finetune", 0, 40), ("finetune", 40, 140),
    ]  # fmt: skip


def test_phases_whose_schedule_depends_on_their_length_are_planned_apart():
    cosine = {**BASE, "slot_schedule": "cosine"}
    short = {"recipe": cosine, "budget_epochs": 100, "slot_epochs": [100]}
    long = {"recipe": cosine, "budget_epochs": 200, "slot_epochs": [200]}
    assert forest(short, long).epochs_shared == 300
    splits = forest({"recipe": cosine, "budget_epochs": 200, "slot_epochs": [40, 80, 120, 160, 200]})
    assert splits.epochs_shared == splits.epochs_alone == 1000
    # Only the phase that has such a schedule is apart: finetuning by cosine leaves the slot phase shared.
    finetune = {"recipe": {**BASE, "finetune_schedule": "cosine"}, "budget_epochs": 200, "slot_epochs": [100, 200]}
    assert forest(finetune).epochs_shared == 200 + 100
    assert forest({**finetune, "budget_epochs": 150, "slot_epochs": [100]}, finetune).epochs_shared == 200 + 100 + 50


def test_splits_that_cool_down_share_their_slot_phase_up_to_where_they_do():
    splits = {"budget_epochs": 200, "slot_epochs": [40, 80, 120, 160, 200]}
    cooling = {**BASE, "slot_schedule": "cooldown", "slot_schedule_epochs": 10}
    planted = forest({"recipe": cooling, **splits})
    # 190 epochs of a constant rate, ten of cooling a split, and what is left to finetune.
    assert planted.epochs_shared == 190 + 5 * 10 + (160 + 120 + 80 + 40)
    assert planted.epochs_alone == 1000
    # The constant part is that of a constant rate, and of splits that cool down longer or shorter.
    others = [{**BASE, "slot_schedule": "constant"}, {**cooling, "slot_schedule_epochs": 20}]
    together = forest(*({"recipe": recipe, **splits} for recipe in (cooling, *others)))
    assert together.epochs_shared == 200 + 5 * (10 + 20) + 3 * (160 + 120 + 80 + 40)
    again = forest({"recipe": cooling, **splits}, stored=Holds(planted))
    assert (again.epochs_left, again.stages) == (0, planted.stages)
    # Phases that are too short to be constant first cool down from their start.
    assert forest({"recipe": cooling, "budget_epochs": 20, "slot_epochs": [5, 10]}).epochs_shared == 5 + 10 + 15 + 10


def test_a_sweep_launched_months_later_trains_only_what_none_before_it_has_trained():
    first = forest({"recipe": BASE, "budget_epochs": 100, "slot_epochs": [50, 100], "seeds": 2})
    again = forest(
        {"recipe": BASE, "budget_epochs": 200, "slot_epochs": [50, 100, 200], "seeds": 3}, stored=Holds(first)
    )
    # Of two seeds 100 slot epochs and 50 finetune epochs after 50 are there; the third is new.
    whole = 200 + 150 + 100
    assert again.epochs_left == 3 * whole - 2 * (100 + 50)
    assert forest({"recipe": BASE, "budget_epochs": 100, "slot_epochs": [50], "seeds": 2}, stored=Holds(first)).stored
    assert not again.stages.keys() & first.stages.keys() - again.stored


@pytest.mark.parametrize("name, alone, shared", [("ten_splits", 96_000, 52_800), ("finetune_search", 12_800, 2_000)])
def test_bundled_studies_share_what_can_be_counted_by_hand(name, alone, shared):
    recipes = expand(load_spec(name))
    planted = plant(recipes, {recipe.dataset: "d" for recipe in recipes})
    assert (planted.epochs_alone, planted.epochs_shared) == (alone, shared)
    by_hand = {
        "ten_splits": 2 * 2 * 3 * 4 * (200 + sum(200 - split for split in range(20, 200, 20))),
        "finetune_search": 4 * (180 + 4 * 2 * 2 * 20),
    }
    assert shared == by_hand[name]


def test_the_documentation_says_of_sharing_what_plan_prints(capsys, tmp_path):
    rows = re.findall(r"^\| `?([\w` +]+?)`? \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| ([\d.]+) × \|", PAGE, re.MULTILINE)
    assert len(rows) >= 4
    for names, *numbers in rows:
        specs = re.findall(r"\w+", names)
        assert main(["plan", *specs, "--storage", str(tmp_path)]) == 0
        out = capsys.readouterr().out
        trials, alone, shared, times = numbers
        if len(specs) > 1:
            assert ["together", trials, alone, shared, times] in [line.split() for line in out.splitlines()]
        else:
            assert f"{trials} trials of" in out
            assert f"{alone} epochs if every trial ran alone, {shared} with shared stages ({times} times fewer)" in out
