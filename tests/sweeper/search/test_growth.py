"""Cuts, and sweeps that grow while they run: nothing that has begun changes, and nothing is trained twice."""

from hypothesis import given
from hypothesis import strategies as st

from sweeper.launch.local import run_local
from sweeper.launch.orders import Step
from sweeper.launch.worker import DataShelf, StageWorker
from sweeper.stages.faults import Failure, Fault
from sweeper.stages.forest import Cuts
from sweeper.stages.planting import grow, plant
from sweeper.stages.schedule import Schedule
from sweeper.stages.status import StageStatus, Status
from tests.sweeper.small_sweeps import a_launch, facts
from tests.sweeper.stages.forests import DIGESTS, MemoryStore, assert_sound, distinct_epochs, recipe, some_recipes

EVERYWHERE = Cuts(phases={"slot": frozenset(range(1, 10)), "finetune": frozenset(range(1, 10))})


def stretches(forest):
    return {key: (stage.lineage, stage.start, stage.end, stage.parent) for key, stage in forest.stages.items()}


def test_stages_end_at_cuts_counted_over_the_whole_trial_and_within_a_phase():
    cuts = Cuts(total=frozenset({3, 6, 50}), phases={"slot": frozenset({2})})
    one = recipe(slot_epochs=4, finetune_epochs=5)
    forest = plant([one], DIGESTS, cuts=cuts)
    assert [(stage.phase, stage.start, stage.end) for stage in forest.stages.values()] == [
        ("slot", 0, 2), ("slot", 2, 3), ("slot", 3, 4), ("finetune", 0, 2), ("finetune", 2, 5),
    ]  # fmt: skip
    assert_sound(forest, [one])
    assert forest.epochs_shared == forest.epochs_alone == 9


@given(some_recipes, st.sets(st.integers(1, 12)))
def test_cuts_change_neither_what_is_trained_nor_how_much(recipes, total):
    forest = plant(recipes, DIGESTS, cuts=Cuts(total=frozenset(total)))
    assert_sound(forest, recipes)
    assert forest.epochs_left == forest.epochs_shared == distinct_epochs(recipes)


def test_a_stored_stage_that_spans_a_cut_is_not_trained_again():
    one = recipe(slot_epochs=6)
    whole = plant([one], DIGESTS)
    cut = plant([one], DIGESTS, MemoryStore(whole.stages.values()), Cuts(total=frozenset({3})))
    assert cut.stages == whole.stages
    assert cut.epochs_left == 0


@given(some_recipes, some_recipes, st.sets(st.integers(1, 12)), st.randoms(use_true_random=False))
def test_before_anything_has_begun_growing_is_planting_all_at_once(before, after, total, random):
    cuts = Cuts(total=frozenset(total))
    kept = [stage for stage in plant([*before, *after], DIGESTS).stages.values() if random.random() < 0.3]
    store = MemoryStore(kept)
    grown = grow(plant(before, DIGESTS, store, cuts), after, DIGESTS, store)
    at_once = plant([*before, *after], DIGESTS, store, cuts)
    assert_sound(grown, [*before, *after])
    assert stretches(grown) == stretches(at_once)
    assert grown.stored == at_once.stored
    assert (grown.epochs_alone, grown.epochs_shared) == (at_once.epochs_alone, at_once.epochs_shared)
    assert grown.epochs_left == at_once.epochs_left


@given(some_recipes, st.lists(some_recipes, max_size=3), st.integers(1, 3), st.randoms(use_true_random=False))
def test_a_sweep_that_grows_while_it_runs_trains_every_epoch_once_where_cut_for_that(first, later, workers, random):
    forest = plant(first, DIGESTS, cuts=EVERYWHERE)
    schedule, running, ran = Schedule(forest), [], {}
    waiting = list(later)
    while not schedule.is_over or waiting:
        if waiting and (schedule.is_over or random.random() < 0.3):
            held = stretches(forest)
            forest = grow(forest, waiting.pop(), DIGESTS, begun=ran.keys())
            schedule.grow(forest)
            assert all(stretches(forest)[key] == held[key] for key in ran)
        while len(running) < workers and (stage := schedule.next_stage(0.0)):
            assert stage.key not in ran, "a stage runs once"
            assert stage.parent is None or schedule.status(stage.parent) is StageStatus.DONE
            ran[stage.key] = stage.epochs
            running.append(stage.key)
        if running:
            schedule.finish(running.pop(random.randrange(len(running))))
    recipes = [*first, *(one for group in reversed(later) for one in group)]
    assert_sound(forest, recipes)
    assert ran.keys() == forest.stages.keys()
    assert sum(ran.values()) == forest.epochs_shared == distinct_epochs(recipes)
    assert {schedule.trial_status(trial) for trial in forest.trials} == {Status.COMPLETED}


def test_a_stage_that_has_not_begun_is_cut_anew_and_one_that_has_is_not():
    long, short = recipe(slot_epochs=9), recipe(slot_epochs=4)
    idle = plant([long], DIGESTS)
    schedule = Schedule(idle)
    schedule.grow(grown := grow(idle, [short], DIGESTS))
    assert [stage.epochs for stage in grown.stages.values()] == [4, 5]
    assert schedule.next_stage(0.0).end == 4
    assert schedule.next_stage(0.0) is None  # the rest waits for its new parent
    begun = grow(idle, [short], DIGESTS, begun=idle.stages)
    assert begun.stages.items() > idle.stages.items()
    assert begun.epochs_left == 13  # four epochs are trained twice: the state in their midst was never kept


def test_new_trials_lengthen_the_path_and_take_over_what_became_of_their_parents():
    forest = plant([recipe(slot_epochs=3), recipe(slot_epochs=5, options=4)], DIGESTS)
    schedule = Schedule(forest)
    assert schedule.next_stage(0.0).recipe.options == 4  # the longer path
    failing = schedule.next_stage(0.0)
    schedule.fail(failing.key, Failure(Fault.BUG, "no", "a.py:1"), 0.0)
    more = [recipe(slot_epochs=3, finetune_epochs=4), recipe(slot_epochs=3, finetune_epochs=2, seed=2)]
    grown = grow(forest, more, DIGESTS, begun=forest.stages)
    schedule.grow(grown)
    assert [schedule.trial_status(trial) for trial in grown.trials[2:]] == [Status.FAILED, Status.PENDING]
    assert schedule.next_stage(0.0).recipe.seed == 2


def test_held_stages_wait_and_stopped_ones_take_those_below_them_along():
    cuts = Cuts(total=frozenset({2}))
    forest = plant([recipe(slot_epochs=4, finetune_epochs=3), recipe(slot_epochs=2)], DIGESTS, cuts=cuts)
    root, after, leaf = forest.stages
    schedule = Schedule(plant([], DIGESTS))
    schedule.grow(forest, held=[after])
    schedule.finish(schedule.next_stage(0.0).key)
    assert schedule.next_stage(0.0) is None
    assert schedule.is_over
    assert schedule.epochs_left() == 5
    schedule.stop([after])
    assert [schedule.status(key) for key in (root, after, leaf)] == ["done", "stopped", "stopped"]
    assert [schedule.trial_status(trial) for trial in forest.trials] == [Status.STOPPED_EARLY, Status.COMPLETED]
    assert schedule.epochs_left() == 0
    schedule = Schedule(plant([], DIGESTS))
    schedule.grow(forest, done=[root], held=[after, after])  # twice held, twice released
    schedule.release([after])
    assert schedule.next_stage(0.0) is None
    schedule.release([after])
    assert schedule.next_stage(0.0).key == after


def test_a_launch_takes_in_trials_while_it_runs_and_says_what_is_stored_of_them(tiny, trained, tmp_path):
    launch = a_launch(tiny, tmp_path / "storage")
    recipes = [trial.recipe for trial in launch.forest.trials]
    first = launch.next_order().stage
    longer = [one.model_copy(update={"finetune_epochs": one.finetune_epochs + 2}) for one in recipes]
    numbers = launch.add([recipes[3], *longer, longer[0]])
    assert numbers == [3, *range(10, 20), 10]
    assert len(launch.forest.trials) == len(launch.labels) == 20
    assert launch.forest.stages[first["key"]].start == first["start"]
    worker = StageWorker(launch.order(launch.forest.stages[first["key"]]), DataShelf())
    while not (step := worker.step()).done:
        launch.take(first["key"], step)
    launch.take(first["key"], Step([], first["end"], done=True))
    run_local(launch)
    assert launch.sweep_status() is Status.COMPLETED
    assert all(len(result.epochs) == result.trial.recipe.budget_epochs for result in launch.results())
    another = a_launch(*trained)
    for key in another.records.keys() & launch.records.keys():
        assert facts(another.records[key])["epochs"] == facts(launch.records[key])["epochs"]
    assert len(another.records.keys() & launch.records.keys()) >= len(recipes)
    again = a_launch(tiny, tmp_path / "storage")
    again.add(longer)
    assert again.is_over
    assert again.sweep_status() is Status.COMPLETED


def test_a_queued_stage_comes_sooner_once_more_hangs_below_it():
    short, longer = recipe(slot_epochs=3), recipe(slot_epochs=5, seed=1)
    forest = plant([short, longer], DIGESTS, cuts=EVERYWHERE)
    schedule = Schedule(forest)
    schedule.grow(grow(forest, [recipe(slot_epochs=9)], DIGESTS))
    assert schedule.next_stage(0).recipe.seed == 0
    assert [schedule.next_stage(0).recipe.seed, schedule.next_stage(0)] == [1, None], "and no stage twice"
