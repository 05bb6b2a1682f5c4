"""What a GPU makes of it: steps of CONV-6 on CIFAR-10, then whole recipes with every epoch's record kept as JSON.

    python -m benchmarks.gpu steps  --data-dir DIR --out DIR
    python -m benchmarks.gpu train  --data-dir DIR --out DIR --network lenet conv6 --preset icml --seeds 3

Needs no more than `trainers` does; `sweeper import` takes the records of `train`. `--device cpu --examples 256
--epochs 1` tries it without a GPU.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from sweeper.records.stage_record import is_kept
from trainers.data.splits import DataSplits, Split, load_splits
from trainers.numerics import NUMERICS_VERSION
from trainers.recipe.recipe import Recipe
from trainers.training import TrainingFailed, TrainingRun

FLOAT_PEAK_SIZE = 8192  # of the square product that the device's bfloat16 rate is measured with


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


def steps(arguments: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Seconds an epoch of padded CONV-6, greedy, bfloat16, by K and batch size, with and without a CUDA graph."""
    size = FLOAT_PEAK_SIZE if device.type == "cuda" else 256
    rows = []
    for batch_size in arguments.batch_size:
        for options in (None, *arguments.options):
            method = {"method": "slot_machine", "options": options} if options else {"method": "learned"}
            recipe = Recipe.complete(
                {"network": "conv6", "dataset": "cifar10", "batch_size": batch_size, "precision": "bfloat16", **method}
            )
            data = shortened(load_splits(recipe, arguments.data_dir, device, download=False), arguments.examples)
            for graphed in (False, True) if device.type == "cuda" else (False,):
                run = TrainingRun(recipe, data, device, graphed=graphed)
                seconds = []
                for _ in range(arguments.epochs or 6):
                    seconds.append(run.train_epoch().train_seconds)
                epoch = statistics.median(seconds[1:] or seconds)
                row = {"options": options, "batch_size": batch_size, "graphed": graphed, "epoch_seconds": epoch}
                rows.append({**row, "seconds_of_200_epochs": 200 * epoch, "flops": run.costs()["flops_per_epoch"]})
                print(json.dumps(rows[-1]), flush=True)
    return {"bfloat16_flops_per_second": product_rate(device, size), "rows": rows}


def train(arguments: argparse.Namespace, device: torch.device) -> list[dict[str, Any]]:
    """Whole recipes; a record each, with every epoch."""
    records = []
    for seed in range(arguments.seeds):
        for network in arguments.network:
            for selection in arguments.selection:
                given = {
                    "network": network,
                    "dataset": "mnist" if network == "lenet" else "cifar10",
                    "preset": arguments.preset,
                    "method": "slot_machine",
                    "options": arguments.options[0],
                    "selection": selection,
                    "precision": arguments.precision,
                    "seed": seed,
                    **({"slot_epochs": arguments.epochs} if arguments.epochs else {}),
                }
                records.append(train_one(Recipe.complete(given), arguments, device))
                name = f"{network}-{arguments.preset}-{selection}-{seed}.json"
                (arguments.out / name).write_text(json.dumps(records[-1], indent=1) + "\n")
    return records


def train_one(recipe: Recipe, arguments: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """One recipe through all its epochs."""
    data = shortened(load_splits(recipe, arguments.data_dir, device, download=False), arguments.examples)
    run = TrainingRun(recipe, data, device, graphed=arguments.graphed)
    record: dict[str, Any] = {
        "recipe": recipe.model_dump(mode="json", exclude_none=True),
        "data_digest": data.digest,
        "numerics_version": NUMERICS_VERSION,
    }
    if arguments.examples is not None:
        record["examples"] = arguments.examples
    epochs = []
    try:
        for epoch in run.epochs():
            is_last_of_phase = epoch.epoch == getattr(recipe, f"{epoch.phase}_epochs")
            if is_last_of_phase and epoch.phase == "slot" and recipe.finetune_epochs:
                record["slot_test_accuracy"] = run.test().accuracy
            kept = is_last_of_phase or is_kept(epoch.epoch)  # of what gets selected: all of it would be large
            epochs.append((epoch if kept else replace(epoch, layers=())).as_dict())
    except TrainingFailed as failure:
        record["failure"] = str(failure)
    test = run.test()
    print(f"{recipe.network} {recipe.selection} seed {recipe.seed}: test {100 * test.accuracy:.2f} %", flush=True)
    return {
        **record, **hardware(device), "epochs": epochs, "test_accuracy": test.accuracy, "test_loss": test.loss,
        "costs": run.costs(),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["steps", "train"])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for the JSON records")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--network", nargs="+", default=["lenet", "conv2", "conv4", "conv6"])
    parser.add_argument("--preset", default="icml")
    parser.add_argument("--selection", nargs="+", default=["greedy", "probabilistic"])
    parser.add_argument("--options", nargs="+", type=int, default=[8, 64], help="K; train takes the first")
    parser.add_argument("--batch-size", nargs="+", type=int, default=[128, 512])
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, help="instead of the recipe's (train) or of 6 (steps)")
    parser.add_argument("--examples", type=int, help="use the first examples of each split only")
    parser.add_argument("--graphed", action="store_true", help="train with CUDA graphs")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.what == "steps":
        found = {**hardware(device), **steps(arguments, device)}
        (arguments.out / "steps.json").write_text(json.dumps(found, indent=1) + "\n")
    else:
        train(arguments, device)


if __name__ == "__main__":
    main()
