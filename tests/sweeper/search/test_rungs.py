"""Rungs: who is stopped, when, with whom, and that it is decided once."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.spec import Rungs
from sweeper.search.rungs import JUDGEMENTS, Judgement, RungBook, goes_on
from sweeper.stages.forest import Cuts
from sweeper.stages.planting import plant
from sweeper.storage.folder import Folder
from tests.sweeper.stages.forests import DIGESTS, MemoryStore, recipe

STOP = Rungs(rule="stop", epochs=[2], reduction=3, min_trials=2)
MEDIAN = Rungs(rule="median", epochs=[2], min_trials=2)


def others(*accuracies, average=None):
    return [
        Judgement(str(n), 2, "digits", value, value, value if average is None else average, True)
        for n, value in enumerate(accuracies)
    ]


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30), st.floats(0, 1))
def test_stop_lets_go_on_who_is_among_the_best_of_all_that_came(accuracies, accuracy):
    ranked = sorted([*accuracies, accuracy], reverse=True)
    places = max(1, len(ranked) // 3)
    assert goes_on(STOP, accuracy, accuracy, others(*accuracies)) == (accuracy >= ranked[places - 1])


def test_the_first_arms_pass_whatever_they_have():
    assert goes_on(STOP, 0.0, 0.0, others(0.9))
    assert not goes_on(STOP, 0.0, 0.0, others(0.9, 0.9))
    assert goes_on(MEDIAN, 0.0, 0.0, others(0.9))


def test_the_median_rule_holds_the_best_so_far_against_running_averages():
    assert not goes_on(MEDIAN, 0.9, 0.49, others(0.9, 0.9, average=0.5))
    assert goes_on(MEDIAN, 0.1, 0.5, others(0.9, 0.9, average=0.5))  # strictly below is what stops


def a_book(recipes, folder=None, rungs=STOP, stored=None):
    forest = plant(recipes, DIGESTS, stored, Cuts(total=frozenset(rungs.epochs)))
    book = RungBook(rungs, Folder(folder) if folder else None)
    arms = {}
    for number, trial in enumerate(forest.trials):
        arms.setdefault(trial.recipe.arm_hash(), []).append(number)
    book.enter(forest, arms)
    return forest, book


def seeds(**fields):
    return [recipe(slot_epochs=6, seed=seed, **fields) for seed in range(2)]


def test_an_arm_comes_to_a_rung_with_all_its_seeds_and_with_arms_that_share_it():
    forest, book = a_book([*seeds(), *seeds(finetune_epochs=3), *seeds(options=4)])
    assert len(book.entrants) == 2
    shared = next(iter(book.entrants.values()))
    assert [forest.stages[key].end for key in shared.needs] == [2, 2]
    assert len(shared.gates) == 2
    assert {(forest.stages[key].start, forest.stages[key].recipe.options) for key in shared.gated} == {(2, 8)}
    assert all(book.waiting_for(key) == [shared] for key in shared.needs)


def test_a_rung_at_the_turn_of_phases_gates_those_that_turn_and_those_that_go_on():
    recipes = [recipe(slot_epochs=2, finetune_epochs=4), recipe(slot_epochs=6)]
    forest, book = a_book(recipes)
    (entrant,) = book.entrants.values()
    assert {forest.stages[key].phase for key in entrant.gated} == {"slot", "finetune"}


def test_a_stored_stage_that_runs_past_a_rung_is_not_gated_and_its_accuracy_counts():
    one = recipe(slot_epochs=6)
    store = MemoryStore(plant([one], DIGESTS).stages.values())
    _, book = a_book([one], stored=store)
    (entrant,) = book.entrants.values()
    assert entrant.needs and not entrant.gated
    # The same place as where the stages end at the rung: what was decided of it holds.
    assert a_book([one])[1].entrants.keys() == book.entrants.keys()


def test_what_was_decided_is_kept_and_only_under_the_same_rungs(tmp_path):
    _, book = a_book([*seeds(), *seeds(options=4)], tmp_path)
    first, second = book.entrants.values()
    assert book.judge(first, [[0.2, 0.6], [0.4, 0.8]]).accuracy == pytest.approx(0.7)
    assert book.judge(second, [[0.9, 0.1]]).best == 0.9  # one seed failed
    with (tmp_path / JUDGEMENTS).open("a") as file:
        file.write('{"half a li')
    _, again = a_book(seeds(), tmp_path)
    assert again.judgements == book.judgements
    assert again.accuracies(seeds()[0].arm_hash()) == {2: pytest.approx(0.7)}
    third = again.entrants[first.rung_key]
    again.judge(third, [[0.5, 0.5]])
    lines = (tmp_path / JUDGEMENTS).read_text().splitlines()
    assert [json.loads(line)["place"] for line in lines] == [first.rung_key, second.rung_key, first.rung_key]
    assert a_book(seeds(), tmp_path, MEDIAN)[1].judgements == {}
