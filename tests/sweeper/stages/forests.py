"""Recipes and a store for tests of planting, and what a sound forest is."""

import json
from itertools import pairwise

from hypothesis import strategies as st

from sweeper.stages.forest import Forest
from sweeper.stages.points import points
from trainers.recipe.choices import SCHEDULE_FIELDS
from trainers.recipe.recipe import Recipe
from trainers.recipe.stretches import stretches

DIGESTS = {"digits": "d1", "mnist": "d2"}


def recipe(**fields):
    given = {"network": "lenet", "dataset": "digits", "method": "slot_machine", "slot_epochs": 4, **fields}
    return Recipe.complete(given)


class MemoryStore:
    """Which stages are held, as a store would say it."""

    def __init__(self, stages=(), without_state=()):
        self.held = {}
        self.without_state = set(without_state)
        for stage in stages:
            self.held.setdefault(stage.lineage, {})[stage.end] = stage.start

    def expect(self, lineages):
        pass

    def spans(self, lineage):
        return self.held.get(lineage, {})

    def has_state(self, key):
        return key not in self.without_state


def epochs_of(forest: Forest, trial):
    """(phase, epoch) of every epoch that the trial's stages train, in order."""
    return [
        (stage.phase, epoch)
        for stage in (forest.stages[key] for key in trial.stages)
        for epoch in range(stage.start + 1, stage.end + 1)
    ]


def assert_sound(forest: Forest, recipes):
    assert [trial.recipe for trial in forest.trials] == list(recipes)
    for trial in forest.trials:
        wanted = [(phase, epoch) for phase, count in trial.recipe.phases() for epoch in range(1, count + 1)]
        assert epochs_of(forest, trial) == wanted
        chain = [forest.stages[key] for key in trial.stages]
        assert chain[0].parent is None
        assert all(below.parent == above.key for above, below in pairwise(chain))
        assert chain[-1].key == points(trial.recipe, DIGESTS[trial.recipe.dataset])[-1].key
        for stage in chain:
            fields = {(part.start, str(part.fields)) for part in stretches(trial.recipe) if part.start <= stage.start}
            theirs = [part for part in stretches(stage.recipe) if part.phase == stage.phase]
            (part,) = [part for part in theirs if part.start <= stage.start < stage.end <= part.end]
            assert (part.start, str(part.fields)) in fields
            assert stage.recipe.training_fields() == trial.recipe.training_fields()
            assert dict(stage.recipe.phases())[stage.phase] >= stage.end
    seen = set()
    for key, stage in forest.stages.items():
        assert key == stage.key
        assert stage.parent is None or stage.parent in seen, "parents come before their children"
        seen.add(key)
    assert set(forest.stages) == {key for trial in forest.trials for key in trial.stages}


def distinct_epochs(recipes):
    """The oracle: an epoch is told by all that led to it, so count the different ones."""
    told = set()
    for one in recipes:
        past = [one.training_fields()]
        for part in stretches(one):
            epochs = range(part.start + 1, part.end + 1)
            told |= {json.dumps([past, part.phase, part.fields, epoch], sort_keys=True) for epoch in epochs}
            past = [*past, [part.phase, part.fields, part.end]]
    return len(told)


@st.composite
def any_recipe(draw):
    schedules = st.sampled_from([*SCHEDULE_FIELDS])
    method = draw(st.sampled_from(["slot_machine", "learned", "edge_popup"]))
    slot = 0 if method == "learned" else draw(st.integers(0, 6))
    fields = {
        "method": method,
        "dataset": draw(st.sampled_from(["digits", "mnist"])),
        "seed": draw(st.integers(0, 1)),
        "slot_epochs": slot,
        "slot_schedule": draw(schedules),
        "finetune_epochs": draw(st.integers(0 if slot else 1, 6)),
        "finetune_schedule": draw(schedules),
        "finetune_learning_rate": draw(st.sampled_from([0.01, 0.1])),
    }
    for phase in ("slot", "finetune"):
        told = SCHEDULE_FIELDS[fields[f"{phase}_schedule"]]
        if "epochs" in told:
            fields[f"{phase}_schedule_epochs"] = draw(st.integers(1, 3))
        if "factor" in told:
            fields[f"{phase}_schedule_factor"] = draw(st.sampled_from([1.0, 2.0, 3.0]))
    return recipe(**fields)


some_recipes = st.lists(any_recipe(), min_size=1, max_size=12)
