"""What rungs and limits leave of a sweep, against launches by the same rules that train nothing."""

import random
from collections import Counter
from statistics import fmean

import pytest

from search_spaces.spec import Limits, Rungs, Spec
from sweeper.planning.caps import Spent, cap_of, most_that_go_on
from sweeper.planning.estimates import Estimates
from sweeper.planning.forecast import forecast
from sweeper.planning.samples import Machine
from sweeper.stages.brackets import bracket_of
from sweeper.stages.forest import Cuts
from sweeper.stages.planting import plant
from tests.sweeper.launch.fake_launch import DIGESTS, FakeLaunch, FakeStore, Guess
from tests.sweeper.stages.forests import recipe

ARMS = [recipe(options=options, slot_epochs=27) for options in range(2, 30)]
SPEC = {"name": "capped", "recipe": {"network": "lenet", "dataset": "digits"}}


def spec(**sections) -> Spec:
    return Spec.parse({**SPEC, **sections})


def rungs(rule) -> dict:
    return {"rule": rule, "epochs": [3, 9], **({} if rule == "median" else {"reduction": 3})}


def cap(forest, spent=None, **sections):
    return cap_of(spec(**sections), forest, Guess().seconds, Guess().flops, spent or Spent())


def counted(forest, found) -> float:
    """The epochs that a cap counts."""
    return sum(stage.epochs * found.of(stage) for key, stage in forest.stages.items() if key not in forest.stored)


@pytest.mark.parametrize("rule", ["asha", "synchronous", "stop", "median"])
def test_as_many_epochs_are_expected_as_launches_by_each_rule_train(rule):
    took = []
    for order in range(6):
        best = random.Random(order).sample(range(100), 30)

        def accuracy(one, epoch, best=best):
            return best[one.options] / 100 + epoch / 20

        launch = FakeLaunch(ARMS, rungs=Rungs(**rungs(rule)), accuracy=accuracy)
        launch.run(workers=4)
        took.append(sum(len(record.epochs) for record in launch.records.values()))
    found = cap(launch.forest, rungs=rungs(rule))
    assert counted(launch.forest, found) == pytest.approx(fmean(took), rel=0.4 if rule == "median" else 0.15)
    assert f"rungs ({rule}): about" in found.line
    assert fmean(took) < (0.7 if rule == "median" else 0.45) * 27 * len(ARMS)


def test_what_brackets_leave_is_expected_by_how_many_arms_each_got():
    asked = {**rungs("synchronous"), "brackets": 3}
    launch = FakeLaunch(ARMS, rungs=Rungs(**asked), accuracy=lambda one, _: one.options / 99)
    launch.run(workers=4)
    took = sum(len(record.epochs) for record in launch.records.values())
    found = cap(plant(ARMS, DIGESTS, cuts=Cuts(frozenset({3, 9}))), rungs=asked)
    dealt = Counter(bracket_of(Rungs(**asked), launch.forest, trial) for trial in launch.forest.trials)
    sizes = f"{dealt[0]}, {dealt[1]} and {dealt[2]} arms"
    assert f"rungs (synchronous, 3 brackets of {sizes}): about {took} of 756 epochs" in found.line


@pytest.mark.parametrize("rule", ["asha", "synchronous", "stop"])
def test_no_order_of_arms_lets_more_go_on_than_are_said_at_most(rule):
    ascending = FakeLaunch(
        ARMS, rungs=Rungs(**{**rungs(rule), "epochs": [3]}), accuracy=lambda one, _: one.options / 99
    )
    ascending.run()
    went_on = sum(ascending.status(trial) == "COMPLETED" for trial in ascending.forest.trials)
    assert went_on <= most_that_go_on(Rungs(**rungs(rule)), len(ARMS))
    assert rule != "stop" or went_on == len(ARMS)


@pytest.mark.parametrize(
    ("limits", "epochs"), [({"epochs": 100}, 81), ({"trials": 2}, 54), ({"flops": 2700.0}, 27), ({}, 27 * 28)]
)
def test_limits_count_the_trials_that_a_launch_takes_on(limits, epochs):
    launch = FakeLaunch(ARMS, limits=Limits(**limits))
    found = cap(launch.forest, limits=limits)
    launch.run()
    assert counted(launch.forest, found) == epochs == launch.spent().epochs
    assert bool(found.line) is bool(limits)


def test_what_was_spent_before_is_not_there_to_be_spent_again():
    forest = plant(ARMS, DIGESTS)
    assert counted(forest, cap(forest, Spent(epochs=50), limits={"epochs": 100})) == 27
    assert counted(forest, cap(forest, Spent(trials=1), limits={"trials": 2})) == 27
    assert counted(forest, cap(forest, Spent(seconds=3600), limits={"device_hours": 1.0})) == 0


def test_arms_that_are_stored_beyond_a_rung_have_passed_it():
    store = FakeStore()
    FakeLaunch(ARMS[:9], store=store).run()
    forest = plant(ARMS, DIGESTS, store, Cuts(frozenset({3, 9})))
    found = cap(forest, rungs={**rungs("synchronous"), "epochs": [3]})
    left = [stage for stage in forest.stages.values() if stage.key not in forest.stored]
    assert {found.of(stage) for stage in left if stage.start == 0} == {1.0}
    assert {found.of(stage) for stage in left if stage.start >= 3} == {0.0}  # nine of 28: as many as may go on


def test_a_forecast_counts_what_rungs_and_limits_leave_and_says_so():
    forest = plant(ARMS, DIGESTS, cuts=Cuts(frozenset({3, 9})))
    estimates = Estimates((), Machine("cpu", "cpu: Xeon", 1), lambda recipe: 10**11, lambda recipe: 1)
    whole = forecast(forest, estimates, 2)
    capped = forecast(forest, estimates, 2, cap=cap(forest, rungs=rungs("asha"), limits={"epochs": 100}))
    assert capped.device_seconds == pytest.approx(whole.device_seconds * 99 / 756, rel=0.05)
    assert capped.wall_seconds < whole.wall_seconds / 5
    assert "rungs (asha) and limits (epochs: 100): about" in "\n".join(capped.lines)
    assert "of 756 epochs, 100 at most" in "\n".join(capped.lines)
    assert "limits" not in "\n".join(whole.lines)
