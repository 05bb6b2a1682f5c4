"""A step replayed as a CUDA graph trains as the plain one does: all of it but CUDA, for which a stand-in replays.

The stand-in keeps the call that is captured, which does not run then, and runs it at every replay.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch

from trainers import step
from trainers.data.splits import DataSplits, Split
from trainers.methods import base
from trainers.recipe.recipe import Recipe
from trainers.training import TrainingRun

LENET = {"network": "lenet", "dataset": "mnist", "width": 0.1, "batch_size": 16}
VARIANTS: dict[str, dict[str, Any]] = {
    "greedy": {**LENET, "method": "slot_machine"},
    "sampled": {**LENET, "method": "slot_machine", "selection": "probabilistic"},
    "supermask": {**LENET, "method": "supermask"},
    "edge-popup": {**LENET, "method": "edge_popup"},
    "dropout": {"network": "conv2", "dataset": "cifar10", "method": "learned", "width": 0.05, "batch_size": 16},
    "batch norm": {
        "network": "resnet18",
        "dataset": "cifar10",
        "method": "learned",
        "batch_size": 8,
        "finetune_epochs": 1,
    },
}
LEARNED = {**LENET, "method": "learned"}


class Stream:
    def wait_stream(self, other: Any) -> None:
        """Nothing runs beside anything."""


class Graph:
    """What stands in for torch.cuda.CUDAGraph."""

    call: tuple[Any, ...]

    def replay(self) -> None:
        PLAIN(*self.call)


PLAIN = step.TrainingStep.__call__


@pytest.fixture
def captures(monkeypatch):
    """What each graph was captured with, in order."""
    made: list[dict[str, Any]] = []
    capturing: list[Graph] = []

    @contextmanager
    def capture(graph, **how):
        made.append(how)
        capturing.append(graph)
        yield
        capturing.pop()
        made[-1]["examples"] = len(graph.call[1])

    def call(self, images, labels):
        if capturing:
            capturing[-1].call = (self, images, labels)
        else:
            PLAIN(self, images, labels)

    monkeypatch.setattr(step.TrainingStep, "__call__", call)
    for name, stand_in in {
        "CUDAGraph": Graph, "Stream": Stream, "graph": capture, "graph_pool_handle": object,
        "current_stream": Stream, "stream": lambda stream: nullcontext(), "device": lambda device: nullcontext(),
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, stand_in)
    return made


def data(recipe: Recipe, examples: int) -> DataSplits:
    shape = (1, 28, 28) if recipe.dataset == "mnist" else (3, 32, 32)
    chance = torch.Generator().manual_seed(0)

    def split(count):
        return Split(torch.randn(count, *shape, generator=chance), torch.randint(4, (count,), generator=chance))

    return DataSplits(split(examples), split(20), split(20), 4, "", shape)


def a_run(fields: dict[str, Any], *, graphed: bool, batches: float = 4.4) -> TrainingRun:
    recipe = Recipe.complete({"augmentation": "none", **fields})
    run = TrainingRun(recipe, data(recipe, int(batches * recipe.batch_size)), graphed=graphed)
    for group in run._optimizer.param_groups:  # a float and a float32 differ in their last digits
        group["lr"] = torch.as_tensor(group["lr"])
    return run


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
def test_only_a_whole_batch_is_captured(batches, made, captures):
    run = a_run(LEARNED, graphed=True, batches=batches)
    run.train_epoch()
    run.train_epoch()
    assert [how["examples"] for how in captures] == [16] * made


def test_each_graph_has_a_stream_and_memory_of_its_own_and_minds_its_own_thread(captures):
    for _ in range(2):
        a_run(LEARNED, graphed=True).train_epoch()
    first, second = captures
    assert first["stream"] is not second["stream"] and first["pool"] is not second["pool"]
    assert {how["capture_error_mode"] for how in captures} == {"thread_local"}
