"""The order of stages against the clock: the longest path first comes close to what no order can beat."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.expansion import expand
from search_spaces.loading import load_spec
from search_spaces.spec import Spec
from sweeper.planning.makespan import lower_bound, makespan
from sweeper.stages.planting import plant
from sweeper.stages.schedule import Schedule

NETWORK_SECONDS = {"lenet": 1.0, "conv2": 9.0, "conv4": 17.0, "conv6": 25.0}  # of an epoch
SPLITS = {
    "name": "splits",
    "recipe": {"network": "lenet", "dataset": "digits", "method": "slot_machine"},
    "budget_epochs": 20,
    "slot_epochs": [2, 4, 12, 16, 20],
    "seeds": 3,
}


def forest(fields):
    recipes = expand(fields if isinstance(fields, Spec) else Spec.parse(fields))
    return plant(recipes, {recipe.dataset: "d" for recipe in recipes})


def ratio(planted, cost, seconds, workers):
    """The makespan when the schedule believes `cost` and stages take `seconds`, over the lower bound."""
    taken = makespan(Schedule(planted, cost=cost), seconds, workers)
    return taken / lower_bound(Schedule(planted, cost=seconds), seconds, workers)


def test_one_worker_takes_all_stages_together_and_many_the_longest_path():
    planted = forest(SPLITS)
    seconds = {key: float(number) for number, key in enumerate(planted.stages, 1)}
    schedule = Schedule(planted)

    def takes(stage):
        return seconds[stage.key]

    assert makespan(schedule, takes, 1) == sum(seconds.values())
    paths = [sum(seconds[key] for key in trial.stages) for trial in planted.trials]
    assert makespan(Schedule(planted), takes, 1000) == max(paths)
    assert lower_bound(Schedule(planted, cost=takes), takes, 1000) == max(paths)


def test_what_is_stored_takes_no_time():
    planted = forest({**SPLITS, "seeds": 1})
    first = next(iter(planted.stages))
    schedule = Schedule(planted, done=[first])
    assert makespan(schedule, lambda stage: float(stage.epochs), 1) == planted.epochs_shared - 2
    assert makespan(Schedule(planted, done=planted.stages), lambda stage: 1.0, 3) == 0
    assert lower_bound(Schedule(planted, done=planted.stages), lambda stage: 1.0, 3) == 0


@given(
    st.sets(st.integers(1, 40), min_size=1, max_size=6), st.integers(1, 5), st.integers(1, 9),
    st.sampled_from([[2], [2, 8], [2, 4, 8, 16]]), st.integers(0, 2**32),
)  # fmt: skip
def test_no_forest_takes_twice_what_no_order_can_beat(splits, seeds, workers, options, chance):
    planted = forest(
        {**SPLITS, "budget_epochs": 40, "slot_epochs": sorted(splits), "seeds": seeds, "axes": {"options": options}}
    )
    draw = random.Random(chance)
    seconds = {key: stage.epochs * draw.uniform(0.1, 10) for key, stage in planted.stages.items()}

    def takes(stage):
        return seconds[stage.key]

    assert 1 - 1e-9 <= ratio(planted, takes, takes, workers) <= 2 - 1 / workers + 1e-9


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_about_200_stages_on_8_workers_take_5_percent_more_than_they_must_at_most(noise):
    planted = forest(load_spec("finetune_splits"))
    assert 180 <= len(planted.stages) <= 220
    draw = random.Random(0)
    factors = {key: draw.lognormvariate(0, noise) for key in planted.stages}

    def expected(stage):
        return stage.epochs * NETWORK_SECONDS[stage.recipe.network]

    def takes(stage):
        return expected(stage) * factors[stage.key]

    assert ratio(planted, expected, takes, 8) <= 1.05
    assert ratio(planted, expected, takes, 8) < ratio(planted, lambda stage: 0.0, takes, 8)
