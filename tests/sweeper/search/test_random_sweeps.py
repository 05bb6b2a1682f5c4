"""Sweeps at random, training stubbed: limits hold, all come to an end, nothing is left half done, seeds end alike."""

import itertools
import random
from statistics import fmean

import optuna
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search_spaces.spec import Limits, Rungs
from sweeper.launch.orders import Step
from sweeper.search.rungs import Judgement, goes_on
from sweeper.stages.faults import Failure, Fault
from sweeper.stages.status import StageStatus, Status
from tests.sweeper.launch.fake_launch import FakeLaunch
from tests.sweeper.stages.forests import recipe

FAULTS = {
    Fault.BUG: Failure(Fault.BUG, "no", "a.py:1"),
    Fault.NOT_A_NUMBER: Failure(Fault.NOT_A_NUMBER, "not a number"),
    Fault.INFRASTRUCTURE: Failure(Fault.INFRASTRUCTURE, "its worker process died"),
}
MOST_STEPS = 3000
quickly = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])


class PointsInOrder:
    """A search that asks for the first point that fits and was not asked for."""

    def __init__(self, points):
        self.points, self.asked, self.told = list(points), [], {}

    @property
    def exhausted(self):
        return not self.points

    def left(self):
        return [len(self.points)]

    def ask(self, fits):
        point = next((point for point in self.points if fits(point)), [])
        if point:
            self.points.remove(point)
            self.asked.append(point[0].arm_hash())
        return point

    def unsettled(self):
        return [arm for arm in self.asked if arm not in self.told]

    def pause(self, arm, rungs):
        assert arm in self.asked and rungs

    def tell(self, arm, results, rungs):
        assert arm not in self.told, "each is told once"
        self.told[arm] = [result.status for result in results]

    def number(self, arm):
        return self.asked.index(arm) if arm in self.asked else None

    def cell(self, arm):
        return ""


@st.composite
def sweeps(draw):
    """Arms of one to three seeds, rungs or none, a search or a grid, a limit or none."""
    budget = draw(st.integers(3, 9))
    seeds = draw(st.integers(1, 3))
    arms = []
    for options in range(2, 2 + draw(st.integers(1, 9))):
        length = draw(st.integers(1, budget)) if draw(st.booleans()) else budget
        split = draw(st.integers(1, length))
        fields = {"options": options, "slot_epochs": split, "finetune_epochs": length - split}
        arms.append([recipe(seed=seed, **fields) for seed in range(seeds)])
    rungs = None
    if draw(st.booleans()):
        rule = draw(st.sampled_from(["asha", "synchronous", "stop", "median"]))
        own = {"reduction": draw(st.integers(2, 4))} if rule != "median" else {}
        own |= {"min_trials": draw(st.integers(1, 4))} if rule != "synchronous" else {}
        rungs = Rungs(rule=rule, epochs=sorted(draw(st.sets(st.integers(1, 6), min_size=1, max_size=2))), **own)
    total = sum(one.budget_epochs for arm in arms for one in arm)
    limit = draw(st.one_of(st.none(), st.integers(1, total)))
    return arms, rungs, draw(st.booleans()), limit


def run(launch, chance, workers, fault_rate):
    """Trains, ends or fails stages in any order; returns the epochs that were trained, lost ones included."""
    running, steps = [], itertools.count()
    launch.clock = lambda: 1e6 * next(steps)  # no pause is waited for
    while not launch.is_over:
        assert next(steps) < MOST_STEPS, "it comes to an end"
        while len(running) < workers and (order := launch.next_order()):
            running.append(order.stage["key"])
        if not running:
            continue
        key = running.pop(chance.randrange(len(running)))
        if chance.random() < fault_rate:
            launch.fail(key, FAULTS[chance.choice(list(FAULTS))])
        else:
            launch.finish(key)
    return sum(len(record.epochs) for record in launch.records.values())


def planned(sweep, chance):
    arms, rungs, is_searched, limit = sweep
    search = PointsInOrder(arms) if is_searched else None
    noise = {one.content_hash(): chance.random() for arm in arms for one in arm}
    launch = FakeLaunch(
        [] if search else [one for arm in arms for one in arm],
        Limits(epochs=limit) if limit else None,
        rungs,
        search,
        accuracy=lambda one, epoch: noise[one.content_hash()] * (1 - 1 / (1 + epoch)),
    )
    return launch, search


@quickly
@given(sweeps(), st.integers(1, 4), st.sampled_from([0.0, 0.1]), st.integers(0, 2**32))
def test_any_sweep_ends_within_its_limit_with_nothing_left_that_may_still_run(sweep, workers, fault_rate, seed):
    chance = random.Random(seed)
    launch, search = planned(sweep, chance)
    trained = run(launch, chance, workers, fault_rate)
    *_, limit = sweep
    assert limit is None or trained <= limit
    counts = launch.schedule.counts()
    assert not counts[StageStatus.RUNNING] and not counts[StageStatus.READY]
    if limit is None:
        assert {launch.status(trial) for trial in launch.forest.trials} <= {
            Status.COMPLETED, Status.STOPPED_EARLY, Status.FAILED,
        }  # fmt: skip
        assert search is None or (search.exhausted and set(search.told) == set(search.asked))


@quickly
@given(sweeps(), st.integers(1, 4), st.integers(0, 2**32))
def test_without_faults_the_seeds_of_an_arm_end_alike_and_none_is_left_half_run(sweep, workers, seed):
    _, rungs, is_searched, limit = sweep
    chance = random.Random(seed)
    launch, _ = planned(sweep, chance)
    run(launch, chance, workers, 0.0)
    ends = {}
    for trial in launch.forest.trials:
        ends.setdefault(trial.recipe.arm_hash(), set()).add(launch.status(trial))
    if rungs or is_searched or limit is None:
        assert all(len(statuses) == 1 for statuses in ends.values()), ends
    if not (rungs and rungs.pauses):
        assert not any(Status.RUNNING in statuses for statuses in ends.values())


@quickly
@given(sweeps(), st.integers(1, 4), st.integers(0, 2**32))
def test_without_faults_nothing_that_fits_is_left_out_of_what_was_not_begun(sweep, workers, seed):
    *_, limit = sweep
    chance = random.Random(seed)
    launch, search = planned(sweep, chance)
    trained = run(launch, chance, workers, 0.0)
    if limit is None:
        return
    pending = [trial for trial in launch.forest.trials if launch.status(trial) is Status.PENDING]
    together = {}
    for trial in pending:
        unit = trial.recipe.arm_hash() if launch.steering.rungs or search else trial.recipe.content_hash()
        together.setdefault(unit, []).append(trial)
    left = [sum(trial.recipe.budget_epochs for trial in unit) for unit in together.values()]
    left += [sum(one.budget_epochs for one in point) for point in (search.points if search else [])]
    assert all(trained + epochs > limit for epochs in left), (trained, left, limit)
    assert not left or launch.limits_reached == [f"epochs: {limit}"]


@quickly
@given(sweeps(), st.integers(1, 4), st.integers(1, 30), st.integers(0, 2**32))
def test_what_a_launch_left_a_later_one_with_a_higher_limit_goes_on_with(sweep, workers, more, seed):
    arms, rungs, _, limit = sweep
    chance = random.Random(seed)
    first, _ = planned((arms, rungs, False, limit), chance)
    run(first, chance, workers, 0.0)
    recipes = [one for arm in arms for one in arm]
    again = FakeLaunch(recipes, Limits(epochs=limit + more) if limit else None, rungs, store=first.store,
                       accuracy=first.accuracy)  # fmt: skip
    before = {key for key, record in first.records.items()}
    trained = run(again, chance, workers, 0.0)
    assert before <= again.records.keys(), "nothing twice"
    assert limit is None or trained <= limit + more


@quickly
@given(st.integers(1, 4), st.floats(1.0, 6.0), st.integers(2, 40), st.integers(0, 2**32))
def test_hours_are_passed_by_one_epoch_at_most_however_wrong_estimates_are(workers, slowness, room, seed):
    chance = random.Random(seed)
    limit = workers * slowness * room / 2
    launch = FakeLaunch([recipe(slot_epochs=8, seed=n) for n in range(12)], Limits(device_hours=limit / 3600))
    running, spent = {}, 0.0
    while not launch.is_over:
        while len(running) < workers and (order := launch.next_order()):
            running[order.stage["key"]] = 0
        if not running:
            break
        key = chance.choice(list(running))
        spent, running[key] = spent + slowness, running[key] + 1
        epoch = {"train_seconds": slowness, "evaluation_seconds": 0.0, "validation_accuracy": 0.5}
        if launch.stop_requested or running[key] < 8:
            launch.take(key, Step([epoch], 0))
        else:
            launch.finish(key, [epoch] * 8)
        if launch.stop_requested:  # the epochs of the others that are in flight end, and are saved
            spent += slowness * (len(running) - 1)
            break
        running = {own: epochs for own, epochs in running.items() if epochs < 8}
    assert spent <= limit + slowness + 1e-9, (spent, limit)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.floats(0.1, 1, allow_nan=False), min_size=1, max_size=20, unique=True), st.integers(2, 4))
def test_the_stopping_rule_decides_as_the_pruner_of_optuna_does(accuracies, reduction):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=reduction)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    rungs = Rungs(rule="stop", epochs=[1], reduction=reduction, min_trials=1)
    before: list[Judgement] = []
    for value in accuracies:
        trial = study.ask()
        trial.report(value, step=1)
        theirs = trial.should_prune()
        study.tell(trial, state=optuna.trial.TrialState.PRUNED) if theirs else study.tell(trial, value)
        ours = goes_on(rungs, value, value, before)
        assert ours is not theirs or not before, f"{value} after {fmean(accuracies)}"
        before.append(Judgement(str(len(before)), 1, "digits", value, value, value, ours))
