"""Brackets of rungs (Hyperband): dealt by lot, alike by every launch, each compared within itself."""

from collections import Counter

import pytest

from search_spaces.spec import Rungs
from sweeper.search.rungs import RungBook
from sweeper.stages.brackets import bracket_of
from sweeper.stages.status import Status
from tests.sweeper.launch.fake_launch import FakeLaunch, FakeStore
from tests.sweeper.stages.forests import recipe

AT = {"epochs": [1, 3], "reduction": 3}
HYPERBAND = Rungs(rule="synchronous", brackets=3, **AT)
OPTIONS = list(range(2, 62))


def by_options(recipe, epoch):
    return recipe.options / 100


def launch_of(rungs, options=OPTIONS, **more):
    recipes = [recipe(options=number, slot_epochs=9) for number in options]
    return FakeLaunch(recipes, rungs=rungs, accuracy=by_options, **more)


def dealt(launch, rungs=HYPERBAND):
    """The options of the arms of each bracket, ascending."""
    found = {}
    for trial in launch.forest.trials:
        found.setdefault(bracket_of(rungs, launch.forest, trial), []).append(trial.recipe.options)
    return {bracket: sorted(options) for bracket, options in sorted(found.items())}


def completed(launch):
    trials = launch.forest.trials
    return {trial.recipe.options for trial in trials if launch.status(trial) is Status.COMPLETED}


@pytest.mark.parametrize("rule", ["synchronous", "asha"])
@pytest.mark.parametrize("workers", [1, 4])
def test_of_each_bracket_its_own_best_complete_and_of_the_last_all(rule, workers):
    rungs = Rungs(rule=rule, brackets=3, **AT)
    launch = launch_of(rungs)
    launch.run(workers)
    brackets = dealt(launch)
    first, second, last = (set(brackets[number]) & completed(launch) for number in range(3))
    assert last == set(brackets[2]), "without a rung nobody is stopped"
    for kept, own, halvings in ((first, brackets[0], 2), (second, brackets[1], 1)):
        most = len(own) // 3 if halvings == 1 else len(own) // 3 // 3
        assert kept >= set(own[-most:]), "the best of their own bracket"
        assert len(kept) == most or (rule == "asha" and len(kept) < most + halvings * workers)
    assert launch.sweep_status() is Status.COMPLETED


def test_brackets_are_dealt_in_the_shares_of_hyperband_and_cost_about_the_same():
    assert HYPERBAND.shares() == pytest.approx([9 / 3 / 5.5, 3 / 2 / 5.5, 1 / 5.5])  # n = ceil((s + 1) / (h + 1) 3^h)
    many = launch_of(HYPERBAND, range(2, 1002))
    counts = Counter(bracket_of(HYPERBAND, many.forest, trial) for trial in many.forest.trials)
    assert [counts[bracket] / 1000 for bracket in range(3)] == pytest.approx(HYPERBAND.shares(), abs=0.04)


def test_a_launch_that_was_broken_off_deals_as_before_and_ends_alike(tmp_path):
    store = FakeStore()
    broken = launch_of(HYPERBAND, store=store, folder=tmp_path)
    for _ in range(65):
        broken.finish(broken.next_order().stage["key"])
    again = launch_of(HYPERBAND, store=store, folder=tmp_path)
    again.run()
    whole = launch_of(HYPERBAND)
    whole.run()
    assert completed(again) == completed(whole) and dealt(again) == dealt(broken)
    more = launch_of(HYPERBAND, [*OPTIONS, 70, 71])
    for bracket, options in dealt(whole).items():
        assert set(options) <= set(dealt(more)[bracket]), "arms that are added deal nobody anew"


def test_arms_that_share_all_up_to_the_first_rung_share_its_bracket():
    splits = [
        recipe(options=number, slot_epochs=slot, finetune_epochs=9 - slot) for number in OPTIONS for slot in (4, 8)
    ]
    launch = FakeLaunch(splits, rungs=HYPERBAND, accuracy=by_options)
    by_first = {}
    for trial in launch.forest.trials:
        by_first.setdefault(trial.recipe.options, set()).add(bracket_of(HYPERBAND, launch.forest, trial))
    assert {len(brackets) for brackets in by_first.values()} == {1}
    launch.run()
    assert {launch.status(trial) for trial in launch.forest.trials} == {Status.COMPLETED, Status.STOPPED_EARLY}


def test_judgements_of_before_there_were_brackets_hold_and_those_of_others_do_not(tmp_path):
    from sweeper.storage.folder import Folder

    plain = Rungs(rule="synchronous", **AT)
    launch_of(plain, folder=tmp_path).run()
    assert RungBook(plain, Folder(tmp_path)).judgements and not RungBook(HYPERBAND, Folder(tmp_path)).judgements
    assert "brackets" not in plain.model_dump(exclude_defaults=True)
