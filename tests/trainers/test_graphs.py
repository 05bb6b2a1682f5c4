"""A step replayed as a CUDA graph trains as the plain one does: all of it but CUDA, whose graphs a stand-in records."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

from tests.trainers.recorded_graphs import Graph, stand_in
from trainers import training
from trainers.data.registry import DATA_SETS
from trainers.data.splits import DataSplits, Split, load_splits
from trainers.methods import base
from trainers.recipe.recipe import Recipe
from trainers.training import TrainingRun

LENET = {"network": "lenet", "dataset": "mnist", "width": 0.1, "batch_size": 16}
CIFAR = {"dataset": "cifar10", "batch_size": 16}
DIGITS = {"dataset": "digits", "batch_size": 8}
CONV2 = {**CIFAR, "network": "conv2", "width": 0.05}
VARIANTS: dict[str, dict[str, Any]] = {
    "greedy": {**LENET, "method": "slot_machine"},
    "sampled": {**LENET, "method": "slot_machine", "selection": "probabilistic"},
    "values of a layer": {**LENET, "method": "slot_machine", "sharing": "layer"},
    "supermask": {**LENET, "method": "supermask"},
    "supermask, rescaled": {**LENET, "method": "supermask", "rescale": True},
    "edge-popup": {**LENET, "method": "edge_popup"},
    "learned": {**LENET, "method": "learned"},
    "dropout": {**CONV2, "method": "learned"},
    "shifted and mirrored": {**CONV2, "method": "learned", "dropout": 0.0, "augmentation": "crop_flip"},
    "batch norm": {**DIGITS, "network": "resnet18", "method": "learned", "finetune_epochs": 2},
}
LEARNED = {**LENET, "method": "learned"}


@pytest.fixture
def captures(monkeypatch):
    """What each graph was captured with, in order."""
    return stand_in(monkeypatch)


def data(recipe: Recipe, examples: int, seed: int = 0) -> DataSplits:
    shape = DATA_SETS[recipe.dataset].input_shape
    chance = torch.Generator().manual_seed(seed)

    def split(count):
        return Split(torch.randn(count, *shape, generator=chance), torch.randint(4, (count,), generator=chance))

    return DataSplits(split(examples), split(20), split(20), 4, "", shape)


def a_run(fields: dict[str, Any], *, graphed: bool, batches: float = 4.4) -> TrainingRun:
    recipe = Recipe.complete({"augmentation": "none", **fields})
    run = TrainingRun(recipe, data(recipe, int(batches * recipe.batch_size)), graphed=graphed)
    on_device(run)
    return run


def on_device(run: TrainingRun) -> None:
    """The rate as on CUDA: a float and a float32 differ in their last digits."""
    run._optimizer.rate = torch.as_tensor(run._optimizer.rate)


def state(run: TrainingRun) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in run.state_dict().items()}


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_that_is_replayed_equals_the_plain_one_and_one_that_is_resumed(variant, captures):
    plain, graphed, resumed = (a_run(VARIANTS[variant], graphed=graphed) for graphed in (False, True, True))
    for run in (plain, graphed):
        run.train_epoch()
    first = state(graphed)
    assert_same(state(plain), first)
    resumed.load_state_dict(first)
    for run in (plain, graphed, resumed):
        run.train_epoch()
    assert_same(state(plain), state(graphed))
    assert_same(state(graphed), state(resumed))
    assert len(captures) == 2


@pytest.fixture
def keys_by_counter(monkeypatch):
    """As on every device but CPUs."""
    monkeypatch.setattr(base, "KEYS_OF_THE_GENERATOR", ())


@pytest.mark.parametrize("variant", ["sampled", "supermask"])
def test_noise_that_is_counted_is_the_same_replayed_resumed_and_plain(variant, captures, keys_by_counter):
    test_a_run_that_is_replayed_equals_the_plain_one_and_one_that_is_resumed(variant, captures)


def test_noise_that_is_counted_hangs_on_seed_layer_phase_epoch_and_step_alone(keys_by_counter):
    def keys(seed, epochs):
        run = a_run({**VARIANTS["sampled"], "seed": seed}, graphed=False)
        run.test()  # as the first of all
        found = []
        for epoch in epochs:
            run._seed("training", "slot", epoch)
            before = torch.random.get_rng_state()
            selections = [selection for _, selection, _ in base.selected_weights(run.network)]
            found += [int(selection.noise_key(run.device)) for _ in range(3) for selection in selections]
            assert torch.equal(torch.random.get_rng_state(), before), "the generator gives none of them"
        return found

    several = keys(0, [0, 1])
    assert len(set(several)) == len(several) == 18
    assert keys(0, [1]) == several[9:], "whatever came before"
    assert not set(keys(1, [0])) & set(several)


@pytest.mark.parametrize(("batches", "made"), [(2.5, 0), (3.0, 1), (3.5, 1)])
def test_only_full_batches_are_replayed_and_all_of_them_but_the_first(batches, made, captures):
    run = a_run(LEARNED, graphed=True, batches=batches)
    for _ in range(2):
        run.train_epoch()
    full = int(batches)
    assert [how["graph"].replays for how in captures] == [full - 2 + full] * made


class Beside(TorchDispatchMode):
    """Counts the operations that are not a replay's."""

    count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not Graph.replaying
        return function(*args, **(kwargs or {}))


def test_a_step_is_one_replay_and_nothing_beside(captures):
    counts = []
    for batches in (3, 9):
        run = a_run(VARIANTS["shifted and mirrored"], graphed=True, batches=batches)
        run.train_epoch()
        with Beside() as beside:
            run.train_epoch()
        counts.append(beside.count)
    assert counts[0] == counts[1] > 0
    assert [how["graph"].replays for how in captures] == [1 + 3, 7 + 9]


def test_a_graph_goes_with_the_images_that_it_takes(captures):
    plain, graphed = (a_run(LEARNED, graphed=graphed) for graphed in (False, True))
    other = data(plain.recipe, 100, seed=1)
    for run in (plain, graphed):
        run.train_epoch()
        run.data = other
        run.train_epoch()
    assert_same(state(plain), state(graphed))
    assert len(captures) == 2


def test_images_that_are_streamed_are_copied_to_where_the_graph_reads_them(captures, tmp_path):
    for part, number in (("train", 14), ("val", 2)):
        for label in ("a", "b"):
            folder = tmp_path / part / label
            folder.mkdir(parents=True)
            for image in range(number):
                shade = (17 * image, 255 - 17 * image, 90 if label == "a" else 200)
                Image.new("RGB", (16, 16), shade).save(folder / f"{image}.png")
    recipe = Recipe.complete({
        "network": "conv2", "dataset": "image_folder", "image_size": 16, "method": "learned", "width": 0.05,
        "batch_size": 6, "validation_examples": 2, "finetune_epochs": 2, "augmentation": "flip",
    })  # fmt: skip
    states = []
    for graphed in (False, True):
        run = TrainingRun(recipe, load_splits(recipe, tmp_path, workers=0), graphed=graphed)
        on_device(run)
        for _ in run.epochs():
            pass
        states.append(state(run))
    assert_same(*states)
    assert [how["graph"].replays for how in captures] == [2 + 4]


def test_steps_are_replayed_where_nothing_is_said_on_cuda_and_there_alone(captures, monkeypatch):
    def made(graphed):
        captures.clear()
        recipe = Recipe.complete({"augmentation": "none", **LEARNED})
        TrainingRun(recipe, data(recipe, 60), graphed=graphed).train_epoch()
        return len(captures)

    assert training.REPLAYED == ("cuda",)
    assert [made(graphed) for graphed in (None, False)] == [0, 0]
    monkeypatch.setattr(training, "REPLAYED", ("cpu",))
    assert [made(graphed) for graphed in (None, False)] == [1, 0]


def test_each_graph_has_a_stream_and_memory_of_its_own_and_minds_its_own_thread(captures):
    for _ in range(2):
        a_run(LEARNED, graphed=True).train_epoch()
    first, second = captures
    assert first["stream"] is not second["stream"] and first["pool"] is not second["pool"]
    assert {how["capture_error_mode"] for how in captures} == {"thread_local"}
