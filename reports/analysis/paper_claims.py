"""The claims of the paper, each tested on what was measured. A verdict is computed, never typed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import copysign, exp, isnan, log
from typing import Any, Literal

import numpy as np
import pandas as pd

from reports.analysis import pairings
from reports.analysis.pairings import Arena, Pairing
from reports.analysis.statistics import Difference, holm, paired, welch
from reports.tracked.trials import COMPLETED
from trainers import readable as formats
from trainers.costs.registry import EPOCHS, cost_named

SIGNIFICANT = 0.05
NO_LESS = 0.0025  # 'at least as good' means: not worse by a quarter of a point
LITTLE = 0.0025  # 'saturates' means: more options change accuracy by less than a quarter of a point, up or down
WORKS = 0.01  # sharing 'works' where it costs less than a point, and 'fails' where it costs more
LEAP = 0.1
ABOUT = 1.5  # 'about the cost' means: less than one and a half times, and more than two thirds


class Verdict(StrEnum):
    """Supported: every comparison shows it. Contradicted: at least one shows the opposite. Otherwise neither."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    NOT_ENOUGH_DATA = "not enough data"


class Reading(StrEnum):
    """What one comparison says, after Holm's correction."""

    AS_CLAIMED = "as claimed"
    OPPOSITE = "the opposite"
    OPEN = "open"


@dataclass(frozen=True)
class Measure:
    """What is compared, from a frame of trials, and how a difference of it reads."""

    name: str
    values: Callable[[pd.DataFrame], Any]
    text: Callable[[float], str]
    unit: str = ""
    clock: str = ""  # which one, where a difference stands without the name
    rather: Measure | None = None  # a better one, taken where every completed trial has it

    def at_best(self, trials: pd.DataFrame) -> Measure:
        """The better measure if all these trials have it, or else this one."""
        done = trials[trials["status"] == COMPLETED]
        return self.rather if self.rather and not np.isnan(self.rather.values(done)).any() else self


ACCURACY = Measure("test accuracy, points", lambda trials: trials["test_accuracy"], formats.points, " points")


def _ratio(value: float) -> str:
    return formats.MISSING if isnan(value) else f"× {exp(value):.2f}"


def _per_epoch(cost: str, name: str, clock: str, rather: Measure | None = None) -> Measure:
    """A cost of an epoch, compared as a ratio, hence in logarithms. Raises InvalidInput for an unknown cost."""
    cost_named(cost)
    return Measure(name, lambda trials: np.log(trials[cost] / trials[EPOCHS]), _ratio, clock=clock, rather=rather)


# Other work on a machine hardly adds to CPU time.
CPU_PACE = _per_epoch("train_cpu_seconds", "CPU seconds per epoch, ratio", " (CPU time)")
PACE = _per_epoch("train_seconds", "seconds per epoch by the clock, ratio", " (by the clock)", CPU_PACE)


@dataclass(frozen=True)
class Claim:
    """That the first arm of every pair lies above, or below, the second by more than a threshold.

    Or within it, up or down: that two arms are equivalent is not what is left where no difference was found. It takes
    an interval that lies between both thresholds (two one-sided tests; Schuirmann, 1987).
    """

    name: str
    statement: str
    pairing: Pairing
    expected: Literal["above", "below", "within"] = "above"
    threshold: float = 0.0
    measure: Measure = ACCURACY
    by_seed: bool = False  # arms of one seed share their random values: paired by seed, not independent
    needs: str = ""


CLAIMS = (
    Claim(
        "options-grow", "Accuracy grows with the number of options, from the fewest (2 or more) to the most up to 8",
        pairings.more_options, by_seed=True, needs="slot machines that differ in K, between 2 and 8",
    ),
    Claim(
        "options-saturate", "Accuracy saturates at 8 to 16 options: more of them change it by less than 0.25 points",
        pairings.beyond_saturation, "within", LITTLE, by_seed=True,
        needs="slot machines with 8 or 16 options, and with more than 16",
    ),
    Claim(
        "greedy-beats-probabilistic", "Greedy selection is more accurate than probabilistic selection, at every K",
        pairings.greedy_against_probabilistic, by_seed=True, needs="greedy and probabilistic selection at the same K",
    ),
    Claim(
        "two-options-leap", "Two options leap from one: they are more than 10 points more accurate",
        pairings.two_against_one, threshold=LEAP, by_seed=True, needs="slot machines with K = 1 and with K = 2",
    ),
    Claim(
        "slot-machine-edge-popup", "Slot machines (GS) are at least as accurate as edge-popup, within 0.25 points",
        pairings.methods("slot_machine", "edge_popup"), threshold=-NO_LESS,
        needs="slot machines and edge-popup on the same network and data",
    ),
    Claim(
        "edge-popup-supermask", "Edge-popup is at least as accurate as supermasks, within 0.25 points",
        pairings.methods("edge_popup", "supermask"), threshold=-NO_LESS,
        needs="edge-popup and supermasks on the same network and data",
    ),
    Claim(
        "finetuned-beats-scratch", "A finetuned selection beats learning from scratch with the same total of epochs",
        pairings.finetuned_against_scratch,
        needs="finetuned slot machines, and learned weights with the same total of epochs",
    ),
    Claim(
        "slot-epochs-help", "More slot epochs help, at one total of epochs: the longest slot phase beats the shortest",
        pairings.longer_slot_phase, by_seed=True, needs="at least two splits of one total of epochs",
    ),
    Claim(
        "sharing-works", "Shared values work at large K (32 or more): they cost less than 1 point",
        pairings.shared_against_own(32, 1 << 16), threshold=-WORKS, by_seed=True,
        needs="shared and unshared values at K = 32 or more",
    ),
    Claim(
        "sharing-fails", "Shared values fail at small K (4 or fewer): they cost more than 1 point",
        pairings.shared_against_own(2, 4), "below", -WORKS, by_seed=True,
        needs="shared and unshared values at K = 2 to 4",
    ),
    Claim(
        "cost-of-learned",
        "An epoch of a slot machine (GS) takes about as long as one of learned weights: × 0.67 to 1.50",
        pairings.machine_against_learned, "within", log(ABOUT), measure=PACE,
        needs="slot machines and learned weights timed on the same kind of device",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """One pair of arms, and what it says about the claim."""

    first: dict[str, Any]
    second: dict[str, Any]
    difference: Difference
    adjusted_p: float
    reading: Reading


@dataclass(frozen=True)
class Judgement:
    """A claim with its verdict and the evidence that it rests on."""

    claim: Claim
    verdict: Verdict
    reason: str
    comparisons: list[Comparison]


def judge(claim: Claim, arena: Arena, trials: pd.DataFrame) -> Judgement:
    """Compare every pair of the claim, correct for their number (Holm), and conclude. Trials: each recipe once."""
    claim = replace(claim, measure=claim.measure.at_best(trials))
    samples = _samples(claim.measure, trials)
    arms: list[dict[str, Any]] = arena.arms.to_dict("records")  # type: ignore[assignment]
    pairs = [(arms[first], arms[second]) for first, second in dict.fromkeys(claim.pairing(arena))]
    differences = [_compare(claim, samples[a["arm_hash"]], samples[b["arm_hash"]]) for a, b in pairs]
    adjusted = holm([difference.p_value for difference in differences])
    comparisons = [
        Comparison(first, second, difference, p, _read(claim, difference, p))
        for (first, second), difference, p in zip(pairs, differences, adjusted, strict=True)
    ]
    return Judgement(claim, *conclude([comparison.reading for comparison in comparisons], claim.needs), comparisons)


def _samples(measure: Measure, trials: pd.DataFrame) -> dict[str, dict[int, float]]:
    """What was measured, by arm and seed, in completed trials."""
    done = trials[trials["status"] == COMPLETED]
    found: dict[str, dict[int, float]] = {}
    for arm, seed, value in zip(done["arm_hash"], done["seed"], measure.values(done), strict=True):
        if not isnan(value):
            found.setdefault(arm, {})[int(seed)] = float(value)
    return found


def conclude(readings: Sequence[Reading], needs: str) -> tuple[Verdict, str]:
    """The verdict, and why, from what the comparisons say."""
    if not readings:
        return Verdict.NOT_ENOUGH_DATA, f"Nothing to compare: this needs {needs}."
    shown, opposite = readings.count(Reading.AS_CLAIMED), readings.count(Reading.OPPOSITE)
    left = len(readings) - shown - opposite
    parts = [f"{shown} of {formats.counted(len(readings), 'comparison')} {'shows' if shown == 1 else 'show'} it"]
    parts += [f"{opposite} {'shows' if opposite == 1 else 'show'} the opposite"] if opposite else []
    parts += [f"{left} {'is' if left == 1 else 'are'} undecided with these seeds"] if left else []
    said = "; ".join(parts) + "."
    if opposite:
        return Verdict.CONTRADICTED, said
    return (Verdict.NOT_ENOUGH_DATA if left else Verdict.SUPPORTED), said


def deciding(judgement: Judgement) -> Comparison | None:
    """The comparison that the verdict hangs on: the surest opposite one, or else the least sure one."""
    found = judgement.comparisons
    if not found:
        return None
    if judgement.verdict is Verdict.CONTRADICTED:
        against = [each for each in found if each.reading is Reading.OPPOSITE]
        return min(against, key=lambda each: each.adjusted_p)
    return max(found, key=lambda each: 2.0 if isnan(each.adjusted_p) else each.adjusted_p)


def effect(judgement: Judgement) -> str:
    """The measured differences in a few words: one with its interval, or the range of several and the deciding one."""
    measure, found = judgement.claim.measure, [each.difference for each in judgement.comparisons]
    known = [difference for difference in found if not isnan(difference.mean)]
    if not known:
        return ""
    what = measure.name.split(", ")[0]
    if len(known) == 1:
        return f"Measured difference of {what}: {with_interval(known[0], measure)}."
    low, high = (measure.text(limit(each.mean for each in known)) for limit in (min, max))
    least = deciding(judgement)
    assert least is not None
    which = "Against it most clearly" if judgement.verdict is Verdict.CONTRADICTED else "Least sure"
    return (
        f"Measured differences of {what}: {low} to {high}{measure.unit}. {which}: {least.first['arm']} against "
        f"{least.second['arm']}, {with_interval(least.difference, measure)}."
    )


def with_interval(difference: Difference, measure: Measure) -> str:
    """'+0.47 points (95 % interval +0.24 to +0.69)'."""
    mean, low, high = map(measure.text, (difference.mean, difference.low, difference.high))
    return f"{mean}{measure.unit}" + ("" if isnan(difference.low) else f" (95 % interval {low} to {high})")


def _compare(claim: Claim, first: Mapping[int, float], second: Mapping[int, float]) -> Difference:
    """The difference by the test that the claim's design asks for.

    Where seeds pair trials of no common random values, pairing them or not are both sensible: then by the test that is
    the less sure, so that no verdict hangs on the choice.
    """
    common = sorted(first.keys() & second.keys())
    by_seed = claim.by_seed and len(common) > 1
    ours, theirs = (
        [sample[seed] for seed in common] if by_seed else list(sample.values()) for sample in (first, second)
    )
    test = paired if by_seed else welch
    threshold = claim.threshold
    if claim.expected == "within":
        # Of the two one-sided tests the one against the nearer threshold has the larger p value, and decides.
        threshold = copysign(threshold, test(ours, theirs).mean)
    found = test(ours, theirs, threshold)
    if by_seed or claim.measure is not ACCURACY or first.keys() != second.keys() or len(common) < 2:
        return found
    other = paired([first[seed] for seed in common], [second[seed] for seed in common], threshold)
    return other if other.p_value > found.p_value else found


def _read(claim: Claim, difference: Difference, adjusted_p: float) -> Reading:
    if isnan(adjusted_p) or adjusted_p >= SIGNIFICANT:
        return Reading.OPEN
    if claim.expected == "within":
        return Reading.AS_CLAIMED if abs(difference.mean) < claim.threshold else Reading.OPPOSITE
    above = difference.mean > claim.threshold
    return Reading.AS_CLAIMED if above == (claim.expected == "above") else Reading.OPPOSITE
