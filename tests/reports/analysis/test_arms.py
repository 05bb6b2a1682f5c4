"""From trials to arms: what is averaged, what is not, and who is on the front."""

import math

import numpy as np
import pytest

from reports.analysis.arms import arms_of, best_by, counted_trials, mark_fronts, once_each, stopped_together
from reports.analysis.statistics import estimate
from reports.tracked.trials import trials_frame
from tests.reports.made_up import digits_sweep, trial
from trainers.errors import InvalidInput

LEARNED = {"method": "learned", "finetune_epochs": 40}


def learned(seed, accuracy=0.97, **stated):
    return trial({**LEARNED, "seed": seed}, test_accuracy=accuracy, **stated)


def test_an_arm_has_the_mean_the_interval_and_n_of_its_trials():
    accuracies = [0.961, 0.970, 0.976]
    (arm,) = arms_of(trials_frame([learned(seed, value) for seed, value in enumerate(accuracies)])).to_dict("records")
    expected = estimate(accuracies)
    assert (arm["test_accuracy"], arm["test_accuracy_half_width"]) == pytest.approx(
        (expected.mean, expected.half_width)
    )
    assert (arm["n"], arm["trials"], arm["seeds"]) == (3, 3, (0, 1, 2))
    assert len(set(arm["run_ids"])) == 3


@pytest.mark.parametrize("status", ["FAILED", "STOPPED_EARLY", "RUNNING", "PENDING"])
def test_only_completed_trials_are_averaged(status):
    records = [
        learned(0, 0.97),
        learned(1, 0.98),
        trial({**LEARNED, "seed": 2}, status=status) | {"test_accuracy": 0.1},
    ]
    (arm,) = arms_of(trials_frame(records)).to_dict("records")
    assert arm["test_accuracy"] == pytest.approx(0.975)
    assert (arm["n"], arm["trials"], arm[f"status_{status}"]) == (2, 3, 1)
    assert arm["seeds"] == (0, 1)


def test_a_completed_trial_without_a_result_is_not_counted():
    (arm,) = arms_of(trials_frame([learned(0), learned(1, math.nan)])).to_dict("records")
    assert (arm["n"], arm["trials"]) == (1, 2)
    assert math.isnan(arm["test_accuracy_half_width"])


def test_an_arm_of_which_nothing_completed_stays_in_the_table_without_numbers():
    (arm,) = arms_of(trials_frame([trial({**LEARNED}, status="FAILED")])).to_dict("records")
    assert (arm["n"], arm["run_ids"], arm["device"]) == (0, (), "")
    assert math.isnan(arm["test_accuracy"])


def test_an_arm_of_an_unknown_method_is_refused_and_not_called_by_another_name():
    with pytest.raises(InvalidInput, match=r"method: 'learnt' is not one of .* \(did you mean learned"):
        arms_of(trials_frame([learned(0) | {"method": "learnt"}]))


def test_arms_are_ordered_by_family_and_options():
    arms = arms_of(trials_frame(digits_sweep()))
    places = list(dict.fromkeys(arms["family"]))
    assert places == ["gs", "ps", "gs_finetuned", "learned"]
    assert arms.loc[arms["family"] == "ps", "options"].tolist() == [2, 4, 8]


def test_a_trial_that_sweeps_share_counts_once():
    records = [learned(seed, 0.97 + 0.001 * seed, sweep=sweep) for sweep in ("one", "two") for seed in range(3)]
    records.append(learned(3, sweep="two"))
    trials = trials_frame(records)
    assert arms_of(trials)["n"].tolist() == [3, 4]
    pooled = arms_of(once_each(trials), ("arm_hash",))
    assert pooled["n"].tolist() == [4]
    assert pooled["run_ids"].map(len).tolist() == [4]


def test_of_a_shared_trial_the_completed_run_is_kept():
    failed = trial({**LEARNED}, sweep="one", status="FAILED", run_id="f")
    assert once_each(trials_frame([failed, learned(0, sweep="two", run_id="c")]))["run_id"].tolist() == ["c"]


def test_fronts_are_drawn_within_a_problem_and_times_within_a_device():
    fast = learned(0, 0.90, train_seconds=1.0, device="gpu")
    slow = trial({**LEARNED, "finetune_epochs": 60}, test_accuracy=0.95, train_seconds=9.0, device="cpu", flops=1e12)
    worse = trial({**LEARNED, "finetune_epochs": 50}, test_accuracy=0.94, train_seconds=9.5, device="cpu", flops=2e12)
    other = trial({**LEARNED, "dataset": "mnist"}, test_accuracy=0.99, train_seconds=0.1, device="cpu", flops=1.0)
    arms = mark_fronts(arms_of(trials_frame([fast, slow, worse, other])))
    by_accuracy = arms.set_index(np.round(arms["test_accuracy"], 2))
    assert by_accuracy["front_train_seconds"].to_dict() == {0.90: True, 0.95: True, 0.94: False, 0.99: True}
    assert by_accuracy["front_flops"].to_dict() == {0.90: True, 0.95: True, 0.94: False, 0.99: True}


def test_the_best_arm_is_chosen_by_the_metric_asked_for_and_never_one_without_it():
    records = [
        trial({**LEARNED, "finetune_epochs": epochs}, test_accuracy=test, validation_accuracy=validation)
        for epochs, test, validation in [(10, 0.99, 0.90), (20, 0.95, 0.96), (30, 0.97, math.nan)]
    ]
    arms = arms_of(trials_frame(records))
    assert best_by(arms, "validation_accuracy")["finetune_epochs"] == 20
    assert best_by(arms, "test_accuracy")["finetune_epochs"] == 10


def test_an_arm_of_which_a_rung_stopped_a_seed_is_stopped_whatever_completed():
    """A seed that another launch had stored beyond the rung says nothing of the arm's mean."""
    lucky, stopped = learned(0, 0.99), trial({**LEARNED, "seed": 1}, status="STOPPED_EARLY")
    elsewhere = [learned(seed, 0.97, sweep="two", run_id=f"r{seed}") for seed in range(2)]
    trials = stopped_together(trials_frame([lucky, stopped, *elsewhere]))
    assert arms_of(trials)[["sweep", "n", "status_STOPPED_EARLY"]].values.tolist() == [
        ["digits_sweep", 0, 2], ["two", 2, 0],
    ]  # fmt: skip


def several(epochs, accuracies, seeds=3, failure="not a number: the loss is nan in epoch 1"):
    """An arm of so many seeds, of which these completed; the others diverged."""
    given = {**LEARNED, "finetune_epochs": epochs}
    done = [
        trial({**given, "seed": seed}, validation_accuracy=value, test_accuracy=value)
        for seed, value in enumerate(accuracies)
    ]
    left = range(len(done), seeds)
    return [*done, *(trial({**given, "seed": seed}, status="FAILED", failure=failure) for seed in left)]


def test_an_arm_of_which_seeds_are_missing_is_never_best_beside_a_whole_one():
    arms = arms_of(trials_frame([*several(10, [0.99]), *several(20, [0.98, 0.97]), *several(30, [0.9, 0.91, 0.92])]))
    assert best_by(arms, "validation_accuracy")["finetune_epochs"] == 30
    parts = arms[arms["n"] < 3].reset_index(drop=True)
    assert best_by(parts, "validation_accuracy")["finetune_epochs"] == 20, "by the lower end; one trial has none"


def test_seeds_that_diverged_or_failed_are_told_beside_n():
    arms = arms_of(
        trials_frame([*several(10, [0.9, 0.9]), *several(20, [0.9], failure="bug: no"), *several(30, [1] * 3)])
    )
    told = {int(arm["finetune_epochs"]): counted_trials(arm) for arm in arms.to_dict("records")}
    assert told == {10: "2 of 3, 1 diverged", 20: "1 of 3, 2 failed", 30: "3"}


def test_of_ten_equal_arms_one_with_a_single_seed_leads_no_more():
    chance = np.random.default_rng(0)
    led = by_mean = 0
    for _ in range(20):
        values = [list(chance.normal(0.9, 0.01, 1 if arm < 5 else 3)) for arm in range(10)]
        whole = arms_of(trials_frame([row for arm, own in enumerate(values) for row in several(10 + arm, own)]))
        led += best_by(whole, "validation_accuracy")["n"] == 1
        by_mean += whole.loc[whole["validation_accuracy"].idxmax(), "n"] == 1
    assert led == 0 and by_mean > 10
