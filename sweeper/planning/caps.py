"""What rungs and limits leave of a sweep: which share of each stage a forecast counts.

Rungs are taken to find their arms in no order: of those that come, the best 1/reduction go on (of `stop`, which asks
each once on arrival, somewhat more; `median` most). Which ones is not known beforehand, so a stage
counts with the probability that its arm comes so far. Then trials are taken on in the order of the sweep, as a launch
takes them, as long as what they need in the mean fits into the limits.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from search_spaces.spec import Limits, Rungs, Spec
from sweeper.stages.brackets import bracket_of
from sweeper.stages.forest import Forest, Stage, Trial

Seconds = Callable[[Stage], float | None]
Flops = Callable[[Stage], int | None]


MEDIAN_LETS_GO_ON = 0.85  # from 0.6 to nearly all, as accuracies grow little or much beside how far they lie apart


@dataclass(frozen=True)
class Spent:
    """What counts against the limits already."""

    epochs: float = 0.0
    flops: float = 0.0
    seconds: float = 0.0  # of training and evaluation
    trials: int = 0


NOTHING = Spent()


@dataclass(frozen=True)
class Cap:
    """The share of each stage that is expected to be trained, the others in full; and why."""

    shares: Mapping[str, float]
    line: str

    def of(self, stage: Stage) -> float:
        """The share that this stage counts with."""
        return self.shares.get(stage.key, 1.0)


NO_CAP = Cap({}, "")


def expected_to_go_on(rungs: Rungs, arms: int) -> float:
    """How many of so many arms that come to a rung go on from it, in the mean over all orders in which they come."""
    if rungs.rule == "median":
        passed = min(arms, rungs.min_trials)
        return passed + MEDIAN_LETS_GO_ON * (arms - passed)
    if rungs.pauses:
        return float(min(arms, max(1, arms // rungs.reduction)))
    passed = min(arms, rungs.min_trials)
    return passed + sum(max(1, number // rungs.reduction) / number for number in range(passed + 1, arms + 1))


def most_that_go_on(rungs: Rungs, arms: int) -> int:
    """How many of so many arms go on at most: where each that comes is better than all before it."""
    if rungs.rule == "synchronous":
        return min(arms, max(1, arms // rungs.reduction))
    if rungs.rule == "asha":
        return min(arms, max(1, arms - max(rungs.reduction, rungs.min_trials) + 1))
    return arms


def cap_of(
    spec: Spec, forest: Forest, seconds: Seconds, flops: Flops, spent: Spent = NOTHING, devices: float = 1.0
) -> Cap:
    """The cap of a planted sweep; `devices`: the share of a GPU that a trial has, 1 without GPUs."""
    if spec.rungs is None and spec.limits == Limits():
        return NO_CAP
    left = {key: stage for key, stage in forest.stages.items() if key not in forest.stored}
    shares, most = dict.fromkeys(left, 1.0), dict.fromkeys(left, 1.0)
    if spec.rungs is not None:
        shares |= _after_rungs(forest, spec.rungs, partial(expected_to_go_on, spec.rungs))
        most |= _after_rungs(forest, spec.rungs, partial(most_that_go_on, spec.rungs))

    def price(stage: Stage) -> dict[str, float]:
        hours = (seconds(stage) or 0.0) * devices / 3600
        return {"epochs": stage.epochs, "flops": flops(stage) or 0, "device_hours": hours}

    before = {"epochs": spent.epochs, "flops": spent.flops, "device_hours": spent.seconds * devices / 3600}
    limits = {name: getattr(spec.limits, name) for name in before}
    room = {name: limit - before[name] for name, limit in limits.items() if limit is not None}
    trials = None if spec.limits.trials is None else spec.limits.trials - spent.trials
    taken = _affordable(forest, lambda stage: shares[stage.key], price, room, trials)
    shares |= {key: 0.0 for key in left if key not in taken}
    return Cap(shares, _line(spec, forest, left, shares, most, len(taken) < len(left)))


@dataclass
class _Entrant:
    """One or more arms before a rung, one up to there: they go on or stop together."""

    arms: set[str] = field(default_factory=set)
    after: set[str] = field(default_factory=set)  # stages behind the rung
    has_passed: bool = False  # something behind it is stored


def _after_rungs(forest: Forest, rungs: Rungs, going_on: Callable[[int], float]) -> dict[str, float]:
    """The probabilities that the stages behind rungs are trained."""
    arms: dict[str, list[Trial]] = defaultdict(list)
    for trial in forest.trials:
        arms[trial.recipe.arm_hash()].append(trial)
    chances: dict[str, float] = {}
    reached = dict.fromkeys(arms, 1.0)  # the rung in question
    brackets = {arm: bracket_of(rungs, forest, trials[0]) for arm, trials in arms.items()}
    for epoch in rungs.epochs:
        come = {arm: trials for arm, trials in arms.items() if epoch in rungs.in_bracket(brackets[arm])}
        for entrants in _entrants(forest, come, brackets, epoch).values():
            passed = sum(entrant.has_passed for entrant in entrants)
            open_ = [entrant for entrant in entrants if not entrant.has_passed]
            coming = sum(max(reached[arm] for arm in entrant.arms) for entrant in open_)
            left = max(0.0, going_on(round(passed + coming)) - passed)
            for entrant in open_:
                for arm in entrant.arms:
                    reached[arm] *= min(1.0, left / coming) if coming else 1.0
                chances |= dict.fromkeys(entrant.after, max(reached[arm] for arm in entrant.arms))
    return chances


def _entrants(
    forest: Forest, arms: Mapping[str, Sequence[Trial]], brackets: Mapping[str, int], epoch: int
) -> dict[tuple[str, int], list[_Entrant]]:
    """Those that come to a rung at this epoch, by data set and bracket."""
    found: dict[tuple[str, int], dict[frozenset[str], _Entrant]] = defaultdict(lambda: defaultdict(_Entrant))
    for arm, trials in arms.items():
        recipe = trials[0].recipe
        if epoch < recipe.budget_epochs:
            parts = [_parted(forest, trial, epoch) for trial in trials]
            entrant = found[recipe.dataset, brackets[arm]][frozenset(come for come, _, _ in parts)]
            entrant.arms.add(arm)
            entrant.after.update(key for _, after, _ in parts for key in after)
            entrant.has_passed |= any(passed for _, _, passed in parts)
    return {group: list(entrants.values()) for group, entrants in found.items()}


def _parted(forest: Forest, trial: Trial, epoch: int) -> tuple[str, Sequence[str], bool]:
    """The stage in which a trial comes to an epoch, all stages after it, and whether some epoch behind it is stored."""
    before = 0
    for place, key in enumerate(trial.stages):
        before += forest.stages[key].epochs
        if before >= epoch:
            after = trial.stages[place + 1 :]
            return key, after, (before > epoch and key in forest.stored) or not forest.stored.isdisjoint(after)
    raise ValueError(f"the trial has no epoch {epoch}")


def _affordable(
    forest: Forest,
    share: Callable[[Stage], float],
    price: Callable[[Stage], Mapping[str, float]],
    room: Mapping[str, float],
    trials: int | None,
) -> set[str]:
    """The stages of the trials that are taken on, in their order, passing over those that do not fit into the room."""
    taken: set[str] = set()
    left = dict(room)
    for trial in forest.trials:
        new = [forest.stages[key] for key in trial.stages if key not in forest.stored and key not in taken]
        needed = {name: sum(price(stage)[name] * share(stage) for stage in new) for name in left}
        is_stored = forest.stored.issuperset(trial.stages)
        if is_stored or trials == 0 or any(needed[name] > left[name] for name in left):
            continue
        left = {name: left[name] - needed[name] for name in left}
        taken |= {stage.key for stage in new}
        trials = None if trials is None else max(0, trials - 1)
    return taken


def _rungs_in_words(rungs: Rungs, forest: Forest) -> str:
    """'asha', 'asha, 3 brackets of 9, 5 and 3 arms'."""
    if rungs.brackets == 1:
        return rungs.rule
    arms = {trial.recipe.arm_hash(): trial for trial in reversed(forest.trials)}
    dealt = Counter(bracket_of(rungs, forest, first) for first in arms.values())
    sizes = [str(dealt[bracket]) for bracket in range(rungs.brackets)]
    return f"{rungs.rule}, {rungs.brackets} brackets of {', '.join(sizes[:-1])} and {sizes[-1]} arms"


def _line(
    spec: Spec,
    forest: Forest,
    left: Mapping[str, Stage],
    shares: Mapping[str, float],
    most: Mapping[str, float],
    is_limited: bool,
) -> str:
    """What is expected and what is possible, in words; empty where nothing is left out."""
    whole = sum(stage.epochs for stage in left.values())
    expected = sum(stage.epochs * shares[key] for key, stage in left.items())
    if whole - expected < 0.5:
        return ""
    at_most = sum(stage.epochs * most[key] for key, stage in left.items())
    why = [f"rungs ({_rungs_in_words(spec.rungs, forest)})"] if spec.rungs is not None else []
    if is_limited:
        at_most = min(at_most, spec.limits.epochs or at_most)
        limits = {name: limit for name, limit in spec.limits if limit is not None and name != "wall_hours"}
        why.append("limits (" + ", ".join(f"{name}: {limit:g}" for name, limit in limits.items()) + ")")
    return f"{' and '.join(why)}: about {expected:,.0f} of {whole:,} epochs, {at_most:,.0f} at most"
