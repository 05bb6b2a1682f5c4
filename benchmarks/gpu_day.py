"""Half an hour of a GPU: does all of it work, what do steps cost beside each other, and then the paper's table.

Whatever is done has a JSON record below `--out`, and is not done again: smoke/, ratios/, table/. A case that fails has
a record too, which says how; the rest goes on.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu import OutOfTime, a_recipe, hardware, product_rate, train_one, write
from benchmarks.gpu_together import processes, streams
from trainers.data.registry import DATA_SETS
from trainers.data.splits import DataSplits, Split
from trainers.methods.base import selected_weights
from trainers.recipe.recipe import Recipe
from trainers.training import TrainingRun

SMOKE_SECONDS = 90.0
RATIO_SHARE = 1 / 3  # of the minutes, at most
SMOKE_STEPS, SMOKE_BATCH = 3, 16  # the third is the first that is replayed
TIMED_STEPS = 40
LOSS_TOLERANCE = {"lenet": 1e-4, "conv2": 1e-4}  # of the loss after three steps, relative
DEEP_TOLERANCE = 1e-2
SELECTED_TOLERANCE = 1e-3  # of the connections: two scores may be so near that the order of a sum decides
SAMPLED = ("probabilistic", "supermask")  # a CPU draws other numbers
METHODS: dict[str, dict[str, Any]] = {
    "greedy-8": {"method": "slot_machine", "options": 8},
    "learned": {"method": "learned"},
    "edge_popup": {"method": "edge_popup"},
    "supermask": {"method": "supermask"},
    "probabilistic-8": {"method": "slot_machine", "options": 8, "selection": "probabilistic"},
}
SMOKE_METHODS = {
    **METHODS,
    "greedy-64": {"method": "slot_machine", "options": 64},
    "probabilistic-64": {"method": "slot_machine", "options": 64, "selection": "probabilistic"},
}
TABLE = ("conv6", "conv4", "conv2")  # by worth per minute; then their further seeds, then these
THEN = ("lenet", "vgg19")


def day(arguments: argparse.Namespace, device: torch.device) -> None:
    """As much as the minutes have room for; begins nothing after them."""
    end = time.monotonic() + 60 * arguments.minutes

    def left() -> float:
        return end - time.monotonic()

    within(lambda: min(left(), left() - 60 * arguments.minutes + SMOKE_SECONDS), smoke_cases(arguments, device))
    ratio_end = left() * (1 - RATIO_SHARE)
    within(lambda: left() - ratio_end, ratio_cases(arguments, device))
    for path, recipe in table_of(arguments):
        if left() < 0:
            print(f"out of time; left: {path.name} and what comes after it", flush=True)
            return
        if path.exists():
            continue
        try:
            record = train_one(recipe, arguments, device, path.with_suffix(".partial"), left)
        except OutOfTime:
            print(f"out of time in {path.name}; the same command goes on from there", flush=True)
            return
        except Exception:  # the boundary of a case
            write(path.with_suffix(".error"), traceback.format_exc())
            print(f"{path.name}: {traceback.format_exc(limit=1)}", flush=True)
            continue
        write(path, record)


Case = tuple[Path, Callable[[], dict[str, Any]]]


def within(left: Callable[[], float], cases: Iterator[Case]) -> None:
    """Does the cases that have no record yet, while there is time."""
    for path, case in cases:
        if path.exists():
            continue
        if left() < 0:
            print(f"out of time; left: {path.parent.name}/{path.name} and what comes after it", flush=True)
            return
        started = time.monotonic()
        try:
            record = case()
        except Exception:  # the boundary of a case
            record = {"passed": False, "error": traceback.format_exc()}
        write(path, {**record, "seconds": time.monotonic() - started})
        told = {name: value for name, value in record.items() if name not in ("error", "recipe")}
        error = record.get("error", "").strip().splitlines()[-1:]
        print(f"{path.parent.name}/{path.stem}: {json.dumps(told)} {''.join(error)}", flush=True)


def smoke_cases(arguments: argparse.Namespace, device: torch.device) -> Iterator[Case]:
    """Every method in every kind of network."""
    for network in ("lenet", "conv2", "resnet18", "vgg19"):
        for name, given in SMOKE_METHODS.items():
            if wanted(arguments, network):
                recipe = smoke_recipe(network, given, arguments.precision)
                path = arguments.out / "smoke" / f"{network}-{name}.json"
                yield path, lambda recipe=recipe: smoke(recipe, device)  # type: ignore[misc]


def smoke_recipe(network: str, given: dict[str, Any], precision: str) -> Recipe:
    """Without all that draws other numbers on another device, as far as that can be."""
    return Recipe.complete({
        "network": network, "dataset": "mnist" if network == "lenet" else "cifar10", "augmentation": "none",
        "batch_size": SMOKE_BATCH, "dropout": 0.0, "precision": precision, **given,
        ("finetune_epochs" if given["method"] == "learned" else "slot_epochs"): 1,
    })  # fmt: skip


def smoke(recipe: Recipe, device: torch.device) -> dict[str, Any]:
    """Three steps on the device against three on the CPU, and replayed against plain."""
    runs = {}
    first: dict[str, list[torch.Tensor]] = {}
    losses = {}
    for name, where, graphed in (("cpu", "cpu", False), ("plain", device, False), ("graphed", device, None)):
        run = runs[name] = TrainingRun(
            recipe, made_up(recipe, SMOKE_STEPS * SMOKE_BATCH, where), where, graphed=graphed
        )
        first[name] = selections(run)
        losses[name] = run.train_epoch().train_loss
    sampled = recipe.selection in SAMPLED or recipe.method in SAMPLED
    tolerance = LOSS_TOLERANCE.get(recipe.network, DEEP_TOLERANCE)
    difference = abs(losses["plain"] - losses["cpu"]) / abs(losses["cpu"])
    plain, graphed = (runs[name].state_dict() for name in ("plain", "graphed"))
    differing = [name for name in plain if name != "costs" and not torch.equal(plain[name], graphed[name])]
    found = {
        "first_selections_differ": differ(first["cpu"], first["plain"]),
        "selections_differ": differ(selections(runs["cpu"]), selections(runs["plain"])),
        "losses": losses,
        "loss_difference": difference,
        "graphed_differs_in": differing,
        "replayed": runs["graphed"]._graph is not None,
    }
    passed = found["first_selections_differ"] == 0 and not differing
    if not sampled:
        passed = passed and difference <= tolerance and found["selections_differ"] <= SELECTED_TOLERANCE
    return {"passed": passed, **found, "recipe": recipe.model_dump(mode="json", exclude_none=True), **hardware(device)}


def selections(run: TrainingRun) -> list[torch.Tensor]:
    """The weights that are in use, of each layer."""
    return [selection.selected(original).detach().cpu() for _, selection, original in selected_weights(run.network)]


def differ(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    """The share of the connections that have selected something else."""
    total = sum(tensor.numel() for tensor in one)
    return sum(int((a != b).sum()) for a, b in zip(one, other, strict=True)) / total if total else 0.0


def ratio_cases(arguments: argparse.Namespace, device: torch.device) -> Iterator[Case]:
    """CONV-6's steps, and how many trials of Lenet a device takes at once."""
    size = 8192 if device.type == "cuda" else 256
    folder = arguments.out / "ratios"
    yield folder / "bfloat16_rate.json", lambda: {"flops_per_second": product_rate(device, size), **hardware(device)}
    for count in (1, 4, 16) if device.type == "cuda" else (1, 2):
        for kind in (processes, streams):
            yield (
                folder / f"together-{kind.__name__}-{count}.json",
                lambda kind=kind, count=count: {**kind(count, device), **hardware(device)},  # type: ignore[misc]
            )
    if not wanted(arguments, "conv6"):
        return
    ways = (True, False) if device.type == "cuda" else (False,)
    for batch, precision, graphed, options in itertools.product(
        (128, 512), ("float32", "tf32", "bfloat16"), ways, (None, 8, 64)
    ):
        name = f"conv6-{options or 'learned'}-{precision}-{batch}{'-graphed' if graphed else ''}.json"
        case = (options, precision, batch, graphed)
        yield folder / name, lambda case=case: step_time(*case, arguments, device)  # type: ignore[misc]


def step_time(
    options: int | None, precision: str, batch: int, graphed: bool, arguments: argparse.Namespace, device: torch.device
) -> dict[str, Any]:
    """Milliseconds of a step of CONV-6, the median of three epochs after one that warms up."""
    given = {"method": "slot_machine", "options": options} if options else {"method": "learned"}
    recipe = Recipe.complete(
        {"network": "conv6", "dataset": "cifar10", "batch_size": batch, "precision": precision, **given}
    )
    steps = TIMED_STEPS if arguments.examples is None else max(1, arguments.examples // batch)
    run = TrainingRun(recipe, made_up(recipe, steps * batch, device), device, graphed=graphed)
    seconds = [run.train_epoch().train_seconds for _ in range(4 if arguments.examples is None else 2)]
    return {
        "options": options, "precision": precision, "batch_size": batch, "graphed": graphed,
        "step_milliseconds": 1e3 * statistics.median(seconds[1:]) / steps,
        "flops_per_step": run.costs()["flops_per_epoch"] / steps, **hardware(device),
    }  # fmt: skip


def table_of(arguments: argparse.Namespace) -> Iterator[tuple[Path, Recipe]]:
    """The paper's table, by worth per minute."""
    rows = [(seed, network) for seed in range(arguments.seeds) for network in TABLE]
    rows += [(seed, network) for network in THEN for seed in range(arguments.seeds)]
    for seed, network in rows:
        for name, given in METHODS.items():
            if wanted(arguments, network):
                path = arguments.out / "table" / f"{network}-{arguments.preset}-{name}-{seed}.json"
                yield path, a_recipe(network, given, arguments, seed)


def wanted(arguments: argparse.Namespace, network: str) -> bool:
    """Whether this network was asked for."""
    return arguments.network is None or network in arguments.network


def made_up(recipe: Recipe, examples: int, device: torch.device | str) -> DataSplits:
    """Random images of the data set's shape, the same on every device."""
    facts = DATA_SETS[recipe.dataset]
    chance = torch.Generator().manual_seed(0)

    def split(count: int) -> Split:
        images = torch.randn(count, *facts.input_shape, generator=chance).to(device)
        return Split(images, torch.randint(facts.classes, (count,), generator=chance).to(device))

    return DataSplits(split(examples), split(64), split(64), facts.classes, "made up", facts.input_shape)
