"""What a GPU makes of it, for machines that have one for half an hour: JSON records, each written when it is done.

    python -m benchmarks.gpu day   --data-dir DIR --out DIR --minutes 25
    python -m benchmarks.gpu train --data-dir DIR --out DIR --network lenet conv6 --preset icml --seeds 3

`day` (benchmarks/gpu_day.py) sees whether all works, measures ratios of step times, and then trains the paper's table;
the same command again goes on. Needs no more than `trainers` does. `sweeper import` takes the records of `train` and
those of `day` under `table/`. `--device cpu --examples 256 --epochs 1 --minutes 3` tries it without a GPU.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from trainers.data.splits import DataSplits, Split, load_splits
from trainers.kept_epochs import is_kept
from trainers.numerics import NUMERICS_VERSION
from trainers.recipe.recipe import Recipe
from trainers.training import TrainingFailed, TrainingRun


def hardware(device: torch.device) -> dict[str, Any]:
    """What a record must name to be read later."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {"device": name, "torch": torch.__version__, "python": platform.python_version()}


def shortened(data: DataSplits, examples: int | None) -> DataSplits:
    """The first examples of each split only."""
    if examples is None:
        return data
    short = {
        name: Split(split.images[:examples], split.labels[:examples])
        for name in ("train", "validation", "test")
        if isinstance(split := getattr(data, name), Split)
    }
    return replace(data, **short)


def synchronize(device: torch.device) -> None:
    """Wait for the device, so that a clock read next is right."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def product_rate(device: torch.device, size: int) -> float:
    """FLOP/s of a bfloat16 product of two random (size, size) matrices."""
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(8):
        synchronize(device)
        start = time.perf_counter()
        torch.mm(left, right)
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / statistics.median(seconds[3:])


def train(arguments: argparse.Namespace, device: torch.device) -> None:
    """Whole slot machines; a record each, with every epoch."""
    for seed in range(arguments.seeds):
        for network in arguments.network:
            for selection in arguments.selection:
                given = {"method": "slot_machine", "options": arguments.options[0], "selection": selection}
                recipe = a_recipe(network, given, arguments, seed)
                record = train_one(recipe, arguments, device)
                write(arguments.out / f"{network}-{arguments.preset}-{selection}-{seed}.json", record)


def a_recipe(network: str, given: dict[str, Any], arguments: argparse.Namespace, seed: int) -> Recipe:
    """The preset's recipe for a network, of fewer epochs where that is asked for."""
    phase = "finetune" if given["method"] == "learned" else "slot"
    return Recipe.complete({
        "network": network,
        "dataset": "mnist" if network == "lenet" else "cifar10",
        "preset": arguments.preset,
        "precision": arguments.precision,
        "seed": seed,
        **given,
        **({f"{phase}_epochs": arguments.epochs} if arguments.epochs else {}),
    })  # fmt: skip


def write(path: Path, record: Any) -> None:
    """Puts the record there as a whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(record, indent=1) + "\n")
    unfinished.replace(path)


class OutOfTime(Exception):
    """A recipe is not done; how far it has come is kept."""


def train_one(
    recipe: Recipe,
    arguments: argparse.Namespace,
    device: torch.device,
    partial: Path | None = None,
    left: Callable[[], float] = lambda: math.inf,
) -> dict[str, Any]:
    """One recipe through all its epochs: its record.

    With less than 0 seconds `left` it raises OutOfTime after an epoch, and goes on from the file `partial` next time.
    """
    data = shortened(load_splits(recipe, arguments.data_dir, device, download=False), arguments.examples)
    run = TrainingRun(recipe, data, device, graphed=arguments.graphed)
    record: dict[str, Any] = {
        "recipe": recipe.model_dump(mode="json", exclude_none=True),
        "data_digest": data.digest,
        "numerics_version": NUMERICS_VERSION,
    }
    if arguments.examples is not None:
        record["examples"] = arguments.examples
    epochs: list[dict[str, Any]] = []
    if partial is not None and partial.exists():
        kept = torch.load(partial, map_location=device, weights_only=True)
        run.load_state_dict(kept["state"])
        record, epochs = json.loads(kept["record"]), json.loads(kept["epochs"])
    try:
        for epoch in run.epochs():
            is_last_of_phase = epoch.epoch == getattr(recipe, f"{epoch.phase}_epochs")
            if is_last_of_phase and epoch.phase == "slot" and recipe.finetune_epochs:
                record["slot_test_accuracy"] = run.test().accuracy
            told = is_last_of_phase or is_kept(epoch.epoch)  # of what gets selected: all of it would be large
            epochs.append((epoch if told else replace(epoch, layers=())).as_dict())
            if partial is not None and left() < 0 and len(epochs) < recipe.budget_epochs:
                texts = {"record": json.dumps(record), "epochs": json.dumps(epochs)}
                torch.save({"state": run.state_dict(), **texts}, partial)
                raise OutOfTime
    except TrainingFailed as failure:
        record["failure"] = str(failure)
    test = run.test()
    if partial is not None:
        partial.unlink(missing_ok=True)
    what = f"{recipe.network} {recipe.method} {recipe.selection or ''} seed {recipe.seed}"
    print(f"{what}: test {100 * test.accuracy:.2f} %", flush=True)
    return {
        **record, **hardware(device), "epochs": epochs, "test_accuracy": test.accuracy, "test_loss": test.loss,
        "costs": run.costs(),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["day", "train"])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for the JSON records")
    parser.add_argument("--minutes", type=float, default=25, help="day: begins nothing after them")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--network", nargs="+", help="only these")
    parser.add_argument("--preset", default="icml")
    parser.add_argument("--selection", nargs="+", default=["greedy", "probabilistic"])
    parser.add_argument("--options", nargs="+", type=int, default=[8, 64], help="K; train takes the first")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--examples", type=int, help="use the first examples of each split only")
    parser.add_argument("--plain", dest="graphed", action="store_false", default=None, help="without CUDA graphs")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if arguments.what == "day":
        from benchmarks.gpu_day import day

        day(arguments, device)
        return
    arguments.network = arguments.network or ["lenet", "conv2", "conv4", "conv6"]
    train(arguments, device)


if __name__ == "__main__":
    main()
