"""Estimates: the best source first, each said; epochs are looked up by the work that they are."""

import shutil
from dataclasses import replace

import pytest

from search_spaces.expansion import expand
from search_spaces.spec import Spec
from sweeper.planning.estimates import ASSUMED_FLOPS_PER_SECOND, GPU_FLOPS_PER_SECOND, LAUNCH_SECONDS, Estimates, Source
from sweeper.planning.pace import FLOPS_OF_A_STEP
from sweeper.planning.samples import Machine, Sample, Work, effort_of, measured
from sweeper.records.store import Store
from sweeper.stages.planting import plant
from tests.sweeper.small_sweeps import a_launch
from trainers.recipe.recipe import Recipe

CPU = Machine("cpu", "cpu: Xeon", 1)
STEPS = 10  # of an epoch of `recipe` on digits, batches of 128
FLOPS_OF_LENET = 6 * 266_200 * 51_000
SPLITS = {
    "name": "splits",
    "recipe": {"network": "lenet", "dataset": "digits", "method": "slot_machine", "options": 8},
    "budget_epochs": 10,
    "slot_epochs": [2, 6],
    "arms": [{"method": "learned"}],
}


def recipe(**changes) -> Recipe:
    given = {"network": "lenet", "dataset": "digits", "method": "slot_machine", "options": 8, "slot_epochs": 4}
    return Recipe.complete({**given, "finetune_epochs": 2, **changes})


def sample(of=None, phase="slot", seconds=2.0, device="cpu: Xeon", threads=1, flops=1000, calibrated=False) -> Sample:
    return Sample(Work.of(of or recipe(), phase), device, threads, flops, seconds, 10**6, calibrated)


def estimates(*samples, machine=CPU, flops=lambda recipe: 1000) -> Estimates:
    """Whose effort is that of training alone."""
    return Estimates(samples, machine, flops, effort=lambda recipe, phase: None)


def test_a_stage_takes_as_long_as_epochs_of_the_same_work_took():
    known = estimates(sample(seconds=2.0), sample(seconds=9.0), sample(seconds=3.0), sample(phase="finetune"))
    forest = plant(expand(Spec.parse(SPLITS)), {"digits": "d"})
    assert [known.seconds(stage) for stage in forest.stages.values() if stage.phase == "slot"] == [6.0, 12.0]
    epoch = known.epoch(recipe(), "slot")
    assert (epoch.seconds, epoch.source) == (3.0, Source.MEASURED)
    assert known.trial_seconds(recipe()) == 4 * 3.0 + 2 * 2.0


def test_what_cannot_change_how_long_an_epoch_takes_does_not_matter():
    known = estimates(sample())
    for changes in ({"seed": 3}, {"slot_epochs": 50}, {"slot_learning_rate": 0.7}, {"preset": "icml"}):
        assert known.epoch(recipe(**changes), "slot").source is Source.MEASURED
    for changes in ({"options": 2}, {"selection": "probabilistic"}, {"batch_size": 64}, {"width": 0.5}):
        assert known.epoch(recipe(**changes), "slot").source is Source.SCALED


def test_epochs_that_learn_weights_are_alike_whatever_came_before_them():
    known = estimates(sample(phase="finetune", seconds=1.5))
    learned = recipe(method="learned", options=None, slot_epochs=0)
    for other in (recipe(options=64), recipe(selection="probabilistic"), learned):
        assert known.epoch(other, "finetune").source is Source.MEASURED
        assert known.epoch(other, "finetune").seconds == 1.5


LEARNED = recipe(method="learned", options=None, slot_epochs=0)


@pytest.mark.parametrize(
    "there, source",
    [
        ([sample(), sample(calibrated=True, seconds=9)], Source.MEASURED),
        ([sample(calibrated=True), sample(recipe(options=2), seconds=9)], Source.CALIBRATED),
        ([sample(recipe(options=2)), sample(LEARNED, "finetune", 9.0)], Source.SCALED),
        ([sample(LEARNED, "finetune")], Source.SCALED),
        ([sample(recipe(network="conv2"))], Source.SCALED),
        ([sample(device="cpu: Epyc"), sample(threads=2), sample(device="cuda: H200")], Source.ASSUMED),
        ([], Source.ASSUMED),
    ],
)  # fmt: skip
def test_the_best_source_there_is_counts_and_is_said(there, source):
    epoch = estimates(*there).epoch(recipe(), "slot")
    assert epoch.source is source
    assert epoch.why.startswith(source) or source is Source.ASSUMED
    assumed = (1000 + STEPS * FLOPS_OF_A_STEP["cpu"]) / ASSUMED_FLOPS_PER_SECOND["cpu"]
    assert epoch.seconds == (assumed if source is Source.ASSUMED else pytest.approx(2.0))


def test_other_epochs_of_the_same_network_are_scaled_by_flops_the_likest_first():
    half = sample(recipe(options=2), flops=500, seconds=1.0)
    far = sample(recipe(options=2, selection="probabilistic"), flops=1000, seconds=50.0)
    assert estimates(half, far).epoch(recipe(), "slot").seconds == 2.0


def test_what_probabilistic_selection_takes_grows_with_the_options_that_it_weighs():
    """6.2 times from K = 2 to 64 was measured in Lenet, whose greedy epochs take as long at any K."""

    def seconds(of, **fields):
        timed = recipe(dataset="mnist", **fields)
        known = Estimates([replace(sample(timed, flops=FLOPS_OF_LENET), effort=effort_of(timed, "slot"))], CPU)
        return known.epoch(recipe(dataset="mnist", **of), "slot").seconds / 2.0

    few, many = ({"selection": "probabilistic", "options": options} for options in (2, 64))
    assert 6.2 / 1.5 < seconds(many, **few) < 6.2 * 1.5
    assert 1 / 6.2 / 1.5 < seconds(few, **many) < 1 / 6.2 * 1.5
    assert seconds({"options": 64}, options=2) == 1.0


@pytest.mark.parametrize(
    ("of", "phase", "times"),
    [(("lenet", "mnist", "learned"), "finetune", 0.83), (("conv6", "cifar10", "learned"), "finetune", 265)],
)
def test_what_was_timed_of_others_tells_of_methods_and_networks_that_never_ran(of, phase, times):
    """How many times an epoch of greedy selection in Lenet takes was measured."""
    greedy = recipe(dataset="mnist", batch_size=128)
    known = Estimates([replace(sample(greedy, flops=FLOPS_OF_LENET), effort=effort_of(greedy, "slot"))], CPU)
    network, dataset, method = of
    other = Recipe.complete({"network": network, "dataset": dataset, "method": method, "finetune_epochs": 1})
    epoch = known.epoch(other, phase)
    assert times / 1.5 < epoch.seconds / 2.0 < times * 1.5
    assert epoch.source is Source.SCALED and ("other methods" if network == "lenet" else "other networks") in epoch.why


def test_of_a_device_that_is_not_here_any_sample_of_its_kind_will_do():
    elsewhere = Machine("cuda", None, 1)
    assert estimates(sample(device="cuda: H200", threads=4), machine=elsewhere).epoch(recipe(), "slot").seconds == 2.0
    assert estimates(sample(), machine=elsewhere).epoch(recipe(), "slot").source is Source.ASSUMED


GPU = Machine("cuda", "cuda: H100", 1)


def test_an_epoch_on_a_gpu_takes_no_less_than_its_steps_take_to_launch():
    assert Work.of(recipe(), "slot").steps == STEPS
    for flops, seconds in ((10, STEPS * LAUNCH_SECONDS["cuda"]), (10**12, 0.5)):
        epoch = estimates(machine=GPU, flops=lambda recipe, flops=flops: flops).epoch(recipe(), "slot")
        assert epoch.seconds == pytest.approx(seconds)
        assert epoch.source is Source.ASSUMED
        assert ("assumed 0.3 ms" in epoch.why) == (flops == 10)


def test_epochs_that_waited_for_launches_do_not_tell_how_fast_a_gpu_computes():
    small = sample(recipe(options=2), seconds=STEPS * LAUNCH_SECONDS["cuda"], device="cuda: H100", flops=10**9)
    epoch = estimates(small, machine=GPU, flops=lambda recipe: 10**12).epoch(recipe(), "slot")
    assert (epoch.seconds, epoch.source) == (0.5, Source.ASSUMED)
    busy = sample(recipe(options=2), seconds=2.0, device="cuda: H100", flops=10**12)
    epoch = estimates(small, busy, machine=GPU, flops=lambda recipe: 10**12).epoch(recipe(), "slot")
    assert (epoch.seconds, epoch.source) == (2.0, Source.SCALED)


def test_as_many_trials_fill_a_gpu_as_launch_times_hold_computing_times():
    forest = plant(expand(Spec.parse(SPLITS)), {"digits": "d"})
    launch_flops = LAUNCH_SECONDS["cuda"] * GPU_FLOPS_PER_SECOND

    def fill(flops_a_step):
        return estimates(machine=GPU, flops=lambda recipe: flops_a_step * STEPS).trials_that_fill_a_gpu(forest)

    assert [fill(launch_flops * share) for share in (2, 0.9, 0.3, 0.01)] == [1, 2, 4, 101]
    assert estimates(machine=GPU, flops=lambda recipe: None).trials_that_fill_a_gpu(forest) is None


def test_where_flops_cannot_be_told_there_is_no_estimate_and_epochs_give_the_order():
    known = estimates(flops=lambda recipe: None)
    forest = plant(expand(Spec.parse(SPLITS)), {"digits": "d"})
    assert {known.seconds(stage) for stage in forest.stages.values()} == {None}
    assert {known.flops(stage) for stage in forest.stages.values()} == {None}
    assert known.trial_seconds(recipe()) is None
    cost = known.cost(forest)
    assert all(cost(stage) == stage.epochs for stage in forest.stages.values())


def test_flops_are_those_of_all_epochs_counted_once_for_recipes_that_cannot_differ():
    asked = []
    known = estimates(flops=lambda recipe: asked.append(recipe) or 7)
    forest = plant(expand(Spec.parse({**SPLITS, "seeds": 3})), {"digits": "d"})
    assert all(known.flops(stage) == 7 * stage.epochs for stage in forest.stages.values())
    assert len(asked) == 1


def test_the_store_tells_of_this_sweep_and_of_others(trained, tmp_path):
    spec, storage = trained
    launch = a_launch(spec, storage, read_only=True)
    samples = list(measured(launch.store, launch.forest))
    assert len({*samples}) == len(samples) > 0
    other = Spec.parse({**SPLITS, "recipe": {**SPLITS["recipe"], "width": 0.2, "options": 2}, "seeds": [9]})
    forest = plant(expand(other), dict(launch.digests), launch.store)
    device = samples[0].device
    known = Estimates(measured(launch.store, forest), Machine("cpu", device, samples[0].threads))
    assert not forest.stored
    assert {known.epoch(stage.recipe, stage.phase).source for stage in forest.stages.values()} == {Source.MEASURED}
    assert list(measured(Store(tmp_path / "nothing"), forest)) == []


def test_records_that_are_damaged_or_gone_tell_nothing(trained, tmp_path):
    spec, storage = trained
    copy = tmp_path / "copy"
    shutil.copytree(storage, copy)
    for record in copy.glob("stages/*/*/*/record.json"):
        record.write_text("{}")
    (copy / "stages" / "00").mkdir(exist_ok=True)
    (copy / "stages" / "00" / "what is this").touch()
    launch = a_launch(spec, copy, read_only=True)
    assert list(measured(launch.store, launch.forest)) == []


def timed(batch, seconds):
    """An epoch of MNIST in Lenet, in batches of this size; its FLOPs are those of any other batch size."""
    return sample(recipe(dataset="mnist", batch_size=batch), seconds=seconds, flops=FLOPS_OF_LENET)


@pytest.mark.parametrize(("batch", "times"), [(32, 2.3), (8, 6.8)])
def test_smaller_batches_take_longer_than_flops_say_although_only_one_size_was_timed(batch, times):
    """2.3 and 6.8 times were measured."""
    known = estimates(timed(128, 1.0), flops=lambda recipe: FLOPS_OF_LENET)
    found = known.epoch(recipe(dataset="mnist", batch_size=batch), "slot").seconds
    assert times / 1.5 < found < times * 1.5


def test_what_a_step_takes_is_fitted_to_epochs_of_several_sizes():
    known = estimates(timed(128, 0.4 + 2.0), timed(32, 1.6 + 2.0), flops=lambda recipe: FLOPS_OF_LENET)
    assert known.epoch(recipe(dataset="mnist", batch_size=8), "slot").seconds == pytest.approx(6.4 + 2.0, rel=0.01)


def test_a_slow_epoch_counts_for_what_it_took(trained):
    """A median would leave it out, and of ten such stages the sweep would take longer than was said."""
    launch = a_launch(*trained, read_only=True)
    record = next(iter(launch.records.values()))
    epochs = [{"train_seconds": seconds, "evaluation_seconds": 0.0} for seconds in (1.0, 1.0, 7.0)]
    assert Sample.of(replace(record, epochs=epochs)).seconds == 3.0
