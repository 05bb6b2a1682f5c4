"""How many steps a second several trials of Lenet do on one device: each in a process, or all in one on streams."""

from __future__ import annotations

import multiprocessing
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from trainers.data.registry import DATA_SETS
from trainers.data.splits import DataSplits, Split
from trainers.recipe.recipe import Recipe
from trainers.training import TrainingRun

EPOCHS, STEPS = 5, 100
CPU_STEPS = 5


def a_run(device: torch.device, seed: int) -> TrainingRun:
    """Lenet with 8 options, warm: an epoch is trained, and the graph made where there are any."""
    recipe = Recipe.complete(
        {"network": "lenet", "dataset": "mnist", "method": "slot_machine", "options": 8, "slot_epochs": 9, "seed": seed}
    )
    facts, chance = DATA_SETS["mnist"], torch.Generator().manual_seed(0)

    def split(count: int) -> Split:
        images = torch.randn(count, *facts.input_shape, generator=chance).to(device)
        return Split(images, torch.randint(facts.classes, (count,), generator=chance).to(device))

    examples = steps(device) * recipe.batch_size
    run = TrainingRun(recipe, DataSplits(split(examples), split(64), split(64), 10, "", facts.input_shape), device)
    run.train_epoch()
    return run


def steps(device: torch.device) -> int:
    """Of an epoch here."""
    return STEPS if device.type == "cuda" else CPU_STEPS


def processes(count: int, device: torch.device) -> dict[str, Any]:
    """Each trial in a process of its own, as a sweep has them."""
    start = multiprocessing.get_context("spawn")
    barrier, told = start.Barrier(count), start.SimpleQueue()
    members = [start.Process(target=_member, args=(str(device), seed, barrier, told)) for seed in range(count)]
    for member in members:
        member.start()
    for member in members:
        member.join()
    if failed := [member.exitcode for member in members if member.exitcode]:
        raise RuntimeError(f"{len(failed)} of {count} processes failed: {failed[0]}")
    spans = [told.get() for _ in members]
    seconds = max(end for _, end in spans) - min(begun for begun, _ in spans)
    return {"count": count, "steps_per_second": count * EPOCHS * steps(device) / seconds}


def _member(device: str, seed: int, barrier: Any, told: Any) -> None:
    torch.set_num_threads(1)
    try:
        run = a_run(torch.device(device), seed)
    except BaseException:
        barrier.abort()  # or the others would wait for ever
        raise
    barrier.wait()
    begun = time.monotonic()
    for _ in range(EPOCHS):
        batches(run)
    told.put((begun, time.monotonic()))


def batches(*runs: TrainingRun) -> None:
    """An epoch of each, step by step in turn, every run on a stream of its own; evaluates nothing."""
    on_cuda = runs[0].device.type == "cuda"
    streams = [torch.cuda.Stream(run.device) if on_cuda else None for run in runs]  # type: ignore[no-untyped-call]

    def on(stream: Any) -> AbstractContextManager[Any]:
        return torch.cuda.stream(stream) if on_cuda else nullcontext()

    epochs = [run.steps(torch.Generator().manual_seed(0)) for run in runs]
    for _ in range(steps(runs[0].device)):
        for epoch, stream in zip(epochs, streams, strict=True):
            with on(stream):
                next(epoch)
    if on_cuda:
        torch.cuda.synchronize(runs[0].device)


def streams(count: int, device: torch.device) -> dict[str, Any]:
    """All trials in this process, a step of each in turn."""
    runs = [a_run(device, seed) for seed in range(count)]
    begun = time.monotonic()
    for _ in range(EPOCHS):
        batches(*runs)
    seconds = time.monotonic() - begun
    return {"count": count, "steps_per_second": count * EPOCHS * steps(device) / seconds}
