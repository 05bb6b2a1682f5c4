"""A training step of slot machines against one of learned weights, and against the K-score code of the paper.

    python -m benchmarks.step --network lenet conv2 --options 2 8 64 --threads 1 --json out.json

Steps of learned weights and of all slot machines alternate in an order drawn anew each round, so that whatever else the
machine does, and whatever the step before left in its caches, meets them alike; times are medians. The K-score code,
which sweeps through many times the memory, races learned weights afterwards, in rounds of its own. Images are synthetic
(a pattern per class, fresh noise, one label in ten wrong), so that training never ends and selections go on changing.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.trainers.methods.k_scores import all_lines, attach_k_scores
from trainers.costs.memory import state_bytes
from trainers.data.registry import DATA_SETS
from trainers.kernels.allocator import keep_freed_memory
from trainers.methods.base import attach, bake, selected_weights
from trainers.methods.registry import build_method
from trainers.networks.registry import build_network
from trainers.optimization import build_sgd
from trainers.recipe.recipe import Recipe

BATCH = 128
WRONG_LABELS = 0.1  # of all; with none the loss, and with it all gradients, would soon be 0
ORACLE_BYTES = 10 << 30  # K-score contenders whose values, scores, gradients and momenta need more are left out
CLASSES = 10


@dataclass(frozen=True)
class Row:
    """One line of the table and of the JSON."""

    network: str
    method: str
    selection: str | None
    options: int | None
    implementation: str  # compact (ours) or k_scores (the paper's); `learned` has one only
    threads: int
    median_seconds: float
    ratio_to_learned: float
    state_bytes: int
    state_ratio: float
    steps: int


class Contender:
    """A network in training."""

    def __init__(self, recipe: Recipe, implementation: str = "compact"):
        data_set = DATA_SETS[recipe.dataset]
        torch.manual_seed(0)
        self.recipe, self.implementation = recipe, implementation
        self.network: nn.Module = build_network(recipe, data_set.input_shape, CLASSES)
        attach(self.network, build_method(recipe), recipe.seed)
        if recipe.method == "learned":
            bake(self.network)
        elif implementation == "k_scores":
            self._with_k_scores(data_set.input_shape)
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        self.optimizer = build_sgd(trained, recipe, "finetune" if recipe.method == "learned" else "slot")
        self.seconds: list[float] = []

    def step(self, images: Tensor, labels: Tensor) -> None:
        start = time.perf_counter()
        self.optimizer.zero_grad()
        functional.cross_entropy(self.network(images), labels).backward()
        self.optimizer.step()
        self.seconds.append(time.perf_counter() - start)

    def _with_k_scores(self, input_shape: tuple[int, int, int]) -> None:
        slots = {name: (slot.options, b.shape) for name, slot, b in selected_weights(self.network)}
        self.network = build_network(self.recipe, input_shape, CLASSES)
        for name, (options, shape) in slots.items():
            attach_k_scores(self.network.get_submodule(name), *all_lines(options, shape), self._chooser())

    def _chooser(self) -> object:
        if self.recipe.selection == "greedy":
            return None
        return lambda scores: (scores - torch.empty_like(scores).exponential_().log_()).argmax(-1)  # Gumbel-max


def batches(recipe: Recipe) -> Iterator[tuple[Tensor, Tensor]]:
    """Images of the data set's shape with a pattern per class, without end."""
    generator = torch.Generator().manual_seed(1)
    shape = DATA_SETS[recipe.dataset].input_shape
    patterns = torch.randn(CLASSES, *shape, generator=generator)
    while True:
        labels = torch.randint(CLASSES, (BATCH,), generator=generator)
        images = 0.5 * patterns[labels] + torch.randn(BATCH, *shape, generator=generator)
        wrong = torch.rand(BATCH, generator=generator) < WRONG_LABELS
        labels[wrong] = torch.randint(CLASSES, (int(wrong.sum()),), generator=generator)
        yield images.contiguous(memory_format=torch.channels_last), labels  # as TrainingRun has them


def slot_recipes(network: str, options: list[int], selections: list[str]) -> list[Recipe]:
    """Learned weights first, then each kind of slot machine."""
    base = {"network": network, "dataset": "mnist" if network == "lenet" else "cifar10", "batch_size": BATCH}
    kinds = [
        {"method": "slot_machine", "options": count, "selection": selection}
        for selection in selections
        for count in options
    ]
    return [Recipe.complete({**base, **kind}) for kind in ({"method": "learned"}, *kinds)]


def fits(racer: Contender) -> bool:
    """Whether the K-score code of a slot machine would not need too much memory."""
    connections = sum(b.numel() for _, _, b in selected_weights(racer.network))
    needed = 4 * 4 * connections * (racer.recipe.options or 0)
    if needed > ORACLE_BYTES:
        what = f"{racer.recipe.network}: K-score code at K = {racer.recipe.options}"
        print(f"{what} left out, it needs {needed / 2**30:.0f} GiB", file=sys.stderr)
    return needed <= ORACLE_BYTES


def measure(network: str, options: list[int], selections: list[str], seconds: float, oracle: bool) -> list[Row]:
    """Race all contenders of a network for about `seconds`, then each K-score code for half as long."""
    recipes = slot_recipes(network, options, selections)
    racers = [Contender(recipe) for recipe in recipes]
    rows = race(racers, seconds)
    rivals = [racer.recipe for racer in racers[1:] if oracle and fits(racer)]
    learned = racers[0]
    del racers
    for recipe in rivals:
        rows += race([learned, Contender(recipe, "k_scores")], seconds / 2)[1:]
    return rows


def race(racers: list[Contender], seconds: float) -> list[Row]:
    """Alternate the racers' steps for about `seconds`, at least five rounds after two of warming up."""
    for racer in racers:
        racer.seconds.clear()
    data, order = batches(racers[0].recipe), random.Random(0)
    end, rounds = time.perf_counter() + seconds, 0
    while rounds < 7 or time.perf_counter() < end:
        batch = next(data)
        for racer in order.sample(racers, len(racers)):
            racer.step(*batch)
        rounds += 1
    medians = [statistics.median(racer.seconds[2:]) for racer in racers]
    sizes = [state_bytes(racer.network, racer.optimizer) for racer in racers]
    return [
        Row(
            network=racer.recipe.network,
            method=racer.recipe.method,
            selection=racer.recipe.selection,
            options=racer.recipe.options,
            implementation=racer.implementation,
            threads=torch.get_num_threads(),
            median_seconds=median,
            ratio_to_learned=median / medians[0],
            state_bytes=size,
            state_ratio=size / sizes[0],
            steps=rounds - 2,
        )
        for racer, median, size in zip(racers, medians, sizes, strict=True)
    ]


def table(rows: list[Row]) -> str:
    """Markdown."""
    lines = [
        "| network | threads | selection | K | step (ms) | time / learned | state / learned | K scores: time | state |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    oracles = {(r.network, r.threads, r.selection, r.options): r for r in rows if r.implementation == "k_scores"}
    for row in rows:
        if row.implementation == "k_scores":
            continue
        oracle = oracles.get((row.network, row.threads, row.selection, row.options))
        theirs = f"{oracle.ratio_to_learned:.2f} | {oracle.state_ratio:.2f}" if oracle else "– | –"
        kind = f"{row.selection} | {row.options}" if row.selection else "learned weights | –"
        lines.append(
            f"| {row.network} | {row.threads} | {kind} | {row.median_seconds * 1e3:.2f} "
            f"| {row.ratio_to_learned:.2f} | {row.state_ratio:.2f} | {theirs} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", nargs="+", default=["lenet", "conv2"])
    parser.add_argument("--options", nargs="+", type=int, default=[2, 8, 64])
    parser.add_argument("--selection", nargs="+", choices=["greedy", "probabilistic"], default=["greedy"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1])
    parser.add_argument("--seconds", type=float, default=20.0, help="of each network; each K-score code: half")
    parser.add_argument("--no-oracle", action="store_true", help="leave out the K-score code")
    parser.add_argument("--fresh-memory", action="store_true", help="give freed memory back, as workers did before")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if not arguments.fresh_memory:
        keep_freed_memory()
    rows: list[Row] = []
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        for network in arguments.network:
            found = measure(network, arguments.options, arguments.selection, arguments.seconds, not arguments.no_oracle)
            print(table(found), flush=True)
            rows += found
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
