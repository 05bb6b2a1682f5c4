"""Verdicts: computed from made-up sweeps whose truth is known."""

import math
import re
from zlib import crc32

import numpy as np
import pytest
from scipy import stats

from reports.analysis.arms import arms_of, once_each
from reports.analysis.pairings import Arena
from reports.analysis.paper_claims import CLAIMS, Reading, Verdict, conclude, effect, judge
from reports.analysis.statistics import holm, paired
from reports.tracked.trials import trials_frame
from tests.reports.made_up import trial

BY_NAME = {claim.name: claim for claim in CLAIMS}
NOISE = [-0.0006, 0.0002, 0.0005, -0.0001]  # of four seeds


def judged(name, records):
    trials = once_each(trials_frame(records))
    return judge(BY_NAME[name], Arena(arms_of(trials, ("arm_hash",))), trials)


def arm(accuracy, seeds=4, noise=NOISE, **given):
    """The trials of one arm; the noise of a seed is that of all arms but for a wobble, as where values are shared."""
    wobble = np.random.default_rng(crc32(repr((accuracy, given)).encode())).normal(0, 1e-4, seeds)
    recipes = [{"method": "slot_machine", **given, "seed": seed} for seed in range(seeds)]
    accuracies = accuracy + np.resize(noise, seeds)
    return [
        trial(recipe, test_accuracy=float(measured + off), validation_accuracy=float(measured))
        for recipe, measured, off in zip(recipes, accuracies, wobble, strict=True)
    ]


def slot(accuracy, options, selection="greedy", **given):
    return arm(accuracy, options=options, selection=selection, **given)


def learned(accuracy, epochs=40, **given):
    return arm(accuracy, method="learned", finetune_epochs=epochs, **given)


def split(accuracy, slot_epochs, budget=40, **given):
    return slot(accuracy, 8, slot_epochs=slot_epochs, finetune_epochs=budget - slot_epochs, **given)


# For every claim: records that show it, records that show the opposite.
TRUTHS = {
    "options-grow": (
        [*slot(0.95, 2), *slot(0.96, 4), *slot(0.97, 8)], [*slot(0.97, 2), *slot(0.96, 4), *slot(0.95, 8)],
    ),
    "options-saturate": (
        [*slot(0.97, 8), *slot(0.9705, 32), *slot(0.968, 64)], [*slot(0.95, 8), *slot(0.97, 64)],
    ),
    "greedy-beats-probabilistic": (
        [*slot(0.97, 8), *slot(0.96, 8, "probabilistic")], [*slot(0.95, 8), *slot(0.96, 8, "probabilistic")],
    ),
    # An untrained network's epochs make no difference: those that the bundled spec gives it are few.
    "two-options-leap": ([*slot(0.11, 1, slot_epochs=1), *slot(0.95, 2)], [*slot(0.90, 1), *slot(0.95, 2)]),
    "slot-machine-edge-popup": (
        [*slot(0.97, 8), *arm(0.96, method="edge_popup")], [*slot(0.95, 8), *arm(0.96, method="edge_popup")],
    ),
    "edge-popup-supermask": (
        [*arm(0.96, method="edge_popup"), *arm(0.95, method="supermask")],
        [*arm(0.94, method="edge_popup"), *arm(0.95, method="supermask")],
    ),
    "finetuned-beats-scratch": ([*split(0.98, 10), *learned(0.97)], [*split(0.96, 10), *learned(0.97)]),
    "slot-epochs-help": (
        [*split(0.96, 10), *split(0.965, 20), *split(0.97, 30)], [*split(0.97, 10), *split(0.96, 30)],
    ),
    "sharing-works": (
        [*slot(0.97, 64), *slot(0.968, 64, sharing="layer"), *slot(0.966, 64, sharing="network")],
        [*slot(0.97, 64), *slot(0.93, 64, sharing="layer")],
    ),
    "sharing-fails": (
        [*slot(0.95, 2), *slot(0.80, 2, sharing="layer")], [*slot(0.95, 2), *slot(0.949, 2, sharing="layer")],
    ),
    "cost-of-learned": (
        [*slot(0.97, 8), *learned(0.97)],
        [*(record | {"train_seconds": 40 + record["seed"]} for record in slot(0.97, 8)), *learned(0.97)],
    ),
}  # fmt: skip


def test_every_claim_has_a_truth_here():
    assert TRUTHS.keys() == BY_NAME.keys()


@pytest.mark.parametrize("name", TRUTHS)
def test_what_is_so_is_supported(name):
    judgement = judged(name, TRUTHS[name][0])
    assert judgement.verdict is Verdict.SUPPORTED, judgement.reason
    assert {comparison.reading for comparison in judgement.comparisons} == {Reading.AS_CLAIMED}


@pytest.mark.parametrize("name", TRUTHS)
def test_what_is_not_so_is_contradicted(name):
    judgement = judged(name, TRUTHS[name][1])
    assert judgement.verdict is Verdict.CONTRADICTED, judgement.reason


@pytest.mark.parametrize("name", TRUTHS)
def test_one_seed_is_not_enough_to_say(name):
    records = [record for record in TRUTHS[name][0] if record["seed"] == 0]
    judgement = judged(name, records)
    assert judgement.verdict is Verdict.NOT_ENOUGH_DATA
    assert judgement.comparisons, "the arms are there; only the seeds are missing"


@pytest.mark.parametrize("name", TRUTHS)
def test_no_run_is_not_enough_to_say_and_the_reason_says_what_is_needed(name):
    judgement = judged(name, [])
    assert judgement.verdict is Verdict.NOT_ENOUGH_DATA
    assert judgement.reason == f"Nothing to compare: this needs {BY_NAME[name].needs}."
    assert effect(judgement) == ""


@pytest.mark.parametrize("name", TRUTHS)
def test_trials_that_failed_or_were_stopped_are_no_evidence(name):
    records = [{**record, "status": "STOPPED_EARLY"} for record in TRUTHS[name][0]]
    assert judged(name, records).comparisons == []


def test_no_difference_is_open_and_neither_supported_nor_contradicted():
    same = [0.0004, -0.0004, 0.0003, -0.0003]
    judgement = judged("options-grow", [*slot(0.96, 2), *slot(0.96, 8, noise=same)])
    assert judgement.verdict is Verdict.NOT_ENOUGH_DATA
    assert judgement.reason == "0 of 1 comparison show it; 1 is undecided with these seeds."


def test_the_want_of_a_difference_is_no_evidence_that_more_options_gain_nothing():
    """The means are alike to the digit; four seeds that scatter by a point say nothing of a quarter of a point."""
    scattered = [0.010, -0.010, 0.006, -0.006]
    judgement = judged("options-saturate", [*slot(0.97, 8), *slot(0.97, 64, noise=scattered)])
    assert judgement.verdict is Verdict.NOT_ENOUGH_DATA
    (comparison,) = judgement.comparisons
    assert abs(comparison.difference.mean) < 0.0002


def test_a_loss_beyond_the_margin_is_no_saturation_either():
    assert judged("options-saturate", [*slot(0.97, 8), *slot(0.95, 64)]).verdict is Verdict.CONTRADICTED
    quick = [record | {"train_seconds": 0.5 + 0.001 * record["seed"]} for record in slot(0.97, 8)]
    assert judged("cost-of-learned", [*quick, *learned(0.97)]).verdict is Verdict.CONTRADICTED


def test_cost_is_compared_by_cpu_time_where_every_trial_has_it():
    """Half of the trials ran beside other work: by the clock they took three times as long."""
    records = [*slot(0.97, 8), *learned(0.97)]
    busy = [
        record | {"train_cpu_seconds": record["train_seconds"]}
        | ({"train_seconds": 3 * record["train_seconds"]} if record["method"] == "slot_machine" else {})
        for record in records
    ]  # fmt: skip
    by_cpu = judged("cost-of-learned", busy)
    assert by_cpu.verdict is Verdict.SUPPORTED
    assert "difference of CPU seconds per epoch: ×" in effect(by_cpu)
    partly = [record | {"train_cpu_seconds": None} if number == 0 else record for number, record in enumerate(busy)]
    by_clock = judged("cost-of-learned", partly)
    assert by_clock.verdict is Verdict.CONTRADICTED
    assert "difference of seconds per epoch by the clock: ×" in effect(by_clock)


@pytest.mark.parametrize("number", range(40))
def test_two_arms_are_alike_exactly_where_the_interval_lies_within_the_margin(number):
    random = np.random.default_rng(number)
    spread, margin = random.choice([0.0005, 0.001, 0.002]), 0.0025
    records = [*slot(0.97, 8), *slot(0.97 + random.normal(0, 0.002), 64, noise=random.normal(0, spread, 4))]
    (comparison,) = judged("options-saturate", records).comparisons
    found, many = comparison.difference, np.array([r["test_accuracy"] for r in records if r["options"] == 64])
    by_seed = many - [r["test_accuracy"] for r in records if r["options"] == 8]
    one_sided = [
        stats.ttest_1samp(by_seed, -margin, alternative="greater").pvalue,
        stats.ttest_1samp(by_seed, margin, alternative="less").pvalue,
    ]
    alike = comparison.reading is Reading.AS_CLAIMED
    assert alike == (-margin < found.low and found.high < margin) == (max(one_sided) < 0.025)
    assert (comparison.reading is Reading.OPPOSITE) == (found.low > margin or found.high < -margin)


@pytest.mark.parametrize("name", TRUTHS)
def test_values_without_any_spread_decide_nothing(name):
    flat = [record | {"test_accuracy": 0.9, "train_seconds": 2.0} for record in TRUTHS[name][0]]
    judgement = judged(name, flat)
    assert judgement.verdict is Verdict.NOT_ENOUGH_DATA
    assert {comparison.reading for comparison in judgement.comparisons} == {Reading.OPEN}


def test_the_numbers_are_those_of_a_paired_test_by_seed():
    records = [*slot(0.95, 2), *slot(0.951, 8)]
    (comparison,) = judged("options-grow", records).comparisons
    few = [record["test_accuracy"] for record in records if record["options"] == 2]
    many = [record["test_accuracy"] for record in records if record["options"] == 8]
    assert comparison.difference.test == "paired"
    assert comparison.difference.p_value == pytest.approx(stats.ttest_rel(many, few).pvalue)


def test_a_pairing_by_seed_uses_the_seeds_in_common():
    records = [record for record in slot(0.95, 2) if record["seed"] != 0] + slot(0.97, 8)
    (comparison,) = judged("options-grow", records).comparisons
    assert comparison.difference.n == (3, 3)


def test_without_seeds_in_common_the_test_is_welchs():
    records = [r for r in slot(0.95, 2) if r["seed"] < 2] + [r for r in slot(0.97, 8) if r["seed"] >= 2]
    (comparison,) = judged("options-grow", records).comparisons
    assert (comparison.difference.test, comparison.difference.n) == ("Welch", (2, 2))


def test_p_values_are_corrected_over_the_comparisons_of_a_claim():
    records = []
    for gain, options in [(0.001, 2), (0.002, 4), (0.0008, 8), (0.0012, 16)]:
        records += [*slot(0.96 + gain, options), *slot(0.96, options, "probabilistic")]
    judgement = judged("greedy-beats-probabilistic", records)
    raw = [comparison.difference.p_value for comparison in judgement.comparisons]
    assert len(raw) == 4
    assert [comparison.adjusted_p for comparison in judgement.comparisons] == pytest.approx(holm(raw))


def test_one_opposite_among_many_contradicts_a_claim_about_every_k():
    records = [*slot(0.97, 4), *slot(0.95, 4, "probabilistic"), *slot(0.95, 8), *slot(0.97, 8, "probabilistic")]
    judgement = judged("greedy-beats-probabilistic", records)
    assert judgement.verdict is Verdict.CONTRADICTED
    assert judgement.reason == "1 of 2 comparisons shows it; 1 shows the opposite."


def test_the_effect_is_told_with_its_interval_or_its_range():
    one = effect(judged("options-grow", TRUTHS["options-grow"][0]))
    number = r"[+−]\d\.\d\d"
    pattern = rf"Measured difference of test accuracy: {number} points \(95 % interval {number} to {number}\)\."
    assert re.fullmatch(pattern, one)
    several = effect(judged("sharing-works", TRUTHS["sharing-works"][0]))
    least = rf"Least sure: .* against .*, {number} points \(95 % interval {number} to {number}\)\."
    assert re.fullmatch(rf"Measured differences of test accuracy: {number} to {number} points\. {least}", several)
    ratio = effect(judged("cost-of-learned", TRUTHS["cost-of-learned"][0]))
    assert ratio.startswith("Measured difference of seconds per epoch by the clock: × 1."), ratio


def test_only_arms_that_are_alike_in_all_else_face_each_other():
    records = [*slot(0.95, 2, slot_weight_decay=0.001), *slot(0.97, 8, slot_weight_decay=0.002)]
    assert judged("options-grow", records).comparisons == []
    records = [*slot(0.97, 8, network="conv2", dataset="cifar10"), *slot(0.96, 8, "probabilistic")]
    assert judged("greedy-beats-probabilistic", records).comparisons == []


def test_methods_are_represented_by_their_best_arm_by_validation_not_by_test():
    flattering = [record | {"validation_accuracy": 0.5} for record in arm(0.99, method="edge_popup", keep_fraction=0.3)]
    fair = arm(0.96, method="edge_popup", keep_fraction=0.7)
    (comparison,) = judged("slot-machine-edge-popup", [*slot(0.97, 8), *flattering, *fair]).comparisons
    assert comparison.second["keep_fraction"] == 0.7


def test_each_selection_is_represented_by_its_best_learning_rate_by_validation():
    rates = [(0.3, 0.95), (0.2, 0.97), (0.1, 0.96)]
    records = [record for rate, accuracy in rates for record in slot(accuracy, 8, slot_learning_rate=rate)]
    records += [*slot(0.96, 8, "probabilistic", slot_learning_rate=30.0), *slot(0.90, 8, "probabilistic")]
    (comparison,) = judged("greedy-beats-probabilistic", records).comparisons
    assert (comparison.first["slot_learning_rate"], comparison.second["slot_learning_rate"]) == (0.2, 30.0)


def test_values_that_do_not_come_independently_say_nothing_of_what_the_paper_claims():
    as_published = [*slot(0.95, 2), *slot(0.80, 2, sharing="layer")]
    centred = [
        *slot(0.95, 2, value_layout="antithetic"), *slot(0.95, 2, sharing="layer", value_layout="antithetic"),
    ]  # fmt: skip
    assert len(judged("sharing-fails", [*as_published, *centred]).comparisons) == 1
    assert judged("sharing-fails", [*as_published, *centred]).verdict is Verdict.SUPPORTED


def test_splits_are_compared_within_one_total_of_epochs():
    records = [*split(0.96, 10, budget=40), *split(0.97, 30, budget=60)]
    assert judged("slot-epochs-help", records).comparisons == []
    records = [*split(0.98, 10, budget=40), *learned(0.97, epochs=60)]
    assert judged("finetuned-beats-scratch", records).comparisons == []


def test_times_on_different_devices_are_not_compared():
    records = [*slot(0.97, 8), *(record | {"device": "cuda: fast"} for record in learned(0.97))]
    assert judged("cost-of-learned", records).comparisons == []


def test_a_trial_that_two_sweeps_share_is_not_counted_twice():
    records = [*slot(0.95, 2), *slot(0.97, 8)]
    twice = [*records, *({**record, "sweep": "again", "run_id": record["run_id"][::-1]} for record in records)]
    (comparison,) = judged("options-grow", twice).comparisons
    assert comparison.difference.n == (4, 4)


@pytest.mark.parametrize(
    ("readings", "verdict"),
    [
        (["as claimed"], Verdict.SUPPORTED),
        (["as claimed", "open"], Verdict.NOT_ENOUGH_DATA),
        (["as claimed", "the opposite"], Verdict.CONTRADICTED),
        (["open", "the opposite"], Verdict.CONTRADICTED),
        (["open"], Verdict.NOT_ENOUGH_DATA),
        ([], Verdict.NOT_ENOUGH_DATA),
    ],
)
def test_a_verdict_follows_from_the_readings(readings, verdict):
    assert conclude([Reading(reading) for reading in readings], "runs")[0] is verdict


def test_where_nothing_differs_a_family_of_comparisons_rarely_says_anything():
    """Paired by seed, Holm at 5 %: over families of pure noise at most one in twenty says anything at all."""
    samples = np.random.default_rng(0).normal(0.97, 0.002, (2_000, 6, 2, 4))  # families, comparisons, arms, seeds
    decided = [min(holm([paired(*pair).p_value for pair in family])) < 0.05 for family in samples]
    assert np.mean(decided) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / len(samples))
