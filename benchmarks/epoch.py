"""An epoch of TrainingRun against a bare loop over the same tensors: what records, seeding and counting cost.

    python -m benchmarks.epoch --data-dir DIR --threads 1

Both train Lenet with K = 8 greedy options on MNIST, in turns; the bare loop shuffles, steps, and does nothing else.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from torch.nn import functional

from trainers.data.splits import load_splits
from trainers.recipe.recipe import Recipe
from trainers.training import TrainingRun


def bare_epoch(run: TrainingRun, optimizer: torch.optim.SGD) -> float:
    """Seconds of one epoch as one would write it in a notebook."""
    start = time.perf_counter()
    split, size = run.data.train, run.recipe.batch_size
    order = torch.randperm(len(split.labels))
    run.network.train()
    for first in range(0, len(order), size):
        rows = order[first : first + size]
        optimizer.zero_grad()
        functional.cross_entropy(run.network(split.images[rows]), split.labels[rows]).backward()
        optimizer.step()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    recipe = Recipe.complete(
        {"network": "lenet", "dataset": "mnist", "method": "slot_machine", "preset": "authors_code"}
    )
    data = load_splits(recipe, arguments.data_dir)
    run, bare = TrainingRun(recipe, data), TrainingRun(recipe, data)
    trained = [parameter for parameter in bare.network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=recipe.slot_learning_rate, momentum=0.9, fused=True)
    ours, theirs = [], []
    for _ in range(arguments.epochs + 1):  # the first one warms up
        ours.append(run.train_epoch().train_seconds)
        theirs.append(bare_epoch(bare, optimizer))
    medians = [statistics.median(seconds[1:]) for seconds in (ours, theirs)]
    found = {"training_run_seconds": medians[0], "bare_loop_seconds": medians[1], "ratio": medians[0] / medians[1]}
    print(json.dumps({**found, "threads": arguments.threads, "epochs": arguments.epochs}, indent=1))


if __name__ == "__main__":
    main()
