"""What other work on the machine adds to an epoch: to its seconds by the clock, and to its CPU time.

    python -m benchmarks.load --data-dir DIR --beside 0 2 6

Trains Lenet with K = 8 greedy options on MNIST by one thread, beside so many processes that do the same. The processes
of one count run all at once; the counts come in turns, so that what else the machine does falls on all of them.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
from multiprocessing.synchronize import Event
from pathlib import Path

import torch

from trainers.data.splits import load_splits
from trainers.recipe.recipe import Recipe
from trainers.training import TrainingRun


def a_run(data_dir: Path) -> TrainingRun:
    torch.set_num_threads(1)
    recipe = Recipe.complete({"network": "lenet", "dataset": "mnist", "method": "slot_machine", "preset": "icml"})
    return TrainingRun(recipe, load_splits(recipe, data_dir))


def train_until(over: Event, ready: Event, data_dir: Path) -> None:
    """Other work: epochs without an end."""
    run = a_run(data_dir)
    ready.set()
    while not over.is_set():
        run.train_epoch()


def epochs_beside(others: int, epochs: int, data_dir: Path) -> list[tuple[float, float]]:
    """Seconds by the clock and of CPU time, of every epoch but the first."""
    processes = multiprocessing.get_context("spawn")
    over = processes.Event()
    ready = [processes.Event() for _ in range(others)]
    busy = [processes.Process(target=train_until, args=(over, each, data_dir)) for each in ready]
    for process in busy:
        process.start()
    for each in ready:
        each.wait()
    run = a_run(data_dir)
    records = [run.train_epoch() for _ in range(epochs + 1)][1:]
    over.set()
    for process in busy:
        process.join()
    return [(record.costs["train_seconds"], record.costs.get("train_cpu_seconds", 0.0)) for record in records]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--beside", type=int, nargs="+", default=[0, 2, 6], help="how many others (default: 0 2 6)")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    found: dict[int, list[tuple[float, float]]] = {others: [] for others in arguments.beside}
    for _ in range(arguments.rounds):
        for others in arguments.beside:
            found[others] += epochs_beside(others, arguments.epochs, arguments.data_dir)
    medians = {
        others: [statistics.median(column) for column in zip(*epochs, strict=True)] for others, epochs in found.items()
    }
    first = medians[arguments.beside[0]]
    for others, (clock, cpu) in medians.items():
        row = {"beside": others, "seconds": clock, "cpu_seconds": cpu}
        print(json.dumps({**row, "ratio": clock / first[0], "cpu_ratio": cpu / first[1]}))


if __name__ == "__main__":
    main()
