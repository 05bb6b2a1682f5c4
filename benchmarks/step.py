"""A training step of slot machines against one of learned weights, and against the K-score code of the paper.

    python -m benchmarks.step --network lenet conv2 --options 2 8 64 --threads 1 --json out.json

Steps of all contenders alternate, so that whatever else the machine does meets them alike; times are medians. Images
are synthetic (a pattern per class, and noise), so selections change as they do in training on real data.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.trainers.k_scores import all_lines, attach_k_scores
from trainers.attachment import attach, bake, selected_weights
from trainers.costs import state_bytes
from trainers.data_sets import DATA_SETS
from trainers.methods import build_method
from trainers.networks import build_network
from trainers.optimization import build_sgd
from trainers.recipe import Recipe

BATCH = 128
BATCHES = 8  # distinct ones, so that activations differ from step to step
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
        self.optimizer.zero_grad(set_to_none=True)
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


def batches(recipe: Recipe) -> list[tuple[Tensor, Tensor]]:
    """Images of the data set's shape with a pattern per class."""
    generator = torch.Generator().manual_seed(1)
    shape = DATA_SETS[recipe.dataset].input_shape
    patterns = torch.randn(CLASSES, *shape, generator=generator)
    made = []
    for _ in range(BATCHES):
        labels = torch.randint(CLASSES, (BATCH,), generator=generator)
        images = 0.5 * patterns[labels] + torch.randn(BATCH, *shape, generator=generator)
        made.append((images.contiguous(memory_format=torch.channels_last), labels))  # as TrainingRun has them
    return made


def contenders(network: str, options: list[int], selections: list[str], oracle: bool) -> list[Contender]:
    """Learned weights, and each kind of slot machine, compact and with K scores."""
    base = {"network": network, "dataset": "mnist" if network == "lenet" else "cifar10", "batch_size": BATCH}
    found = [Contender(Recipe.complete({**base, "method": "learned"}))]
    for selection in selections:
        for count in options:
            slot = {**base, "method": "slot_machine", "options": count, "selection": selection}
            recipe = Recipe.complete(slot)
            found.append(Contender(recipe))
            connections = sum(b.numel() for _, _, b in selected_weights(found[-1].network))
            needed = 4 * 4 * connections * count
            if oracle and needed <= ORACLE_BYTES:
                found.append(Contender(recipe, "k_scores"))
            elif oracle:
                note = f"{needed / 2**30:.0f} GiB"
                print(f"{network}: K-score code at K = {count} left out, it needs {note}", file=sys.stderr)
    return found


def measure(racers: list[Contender], seconds: float, threads: int) -> list[Row]:
    """Alternate the contenders' steps for about `seconds`, at least five rounds after two of warming up."""
    data = batches(racers[0].recipe)
    end, rounds = time.perf_counter() + seconds, 0
    while rounds < 7 or time.perf_counter() < end:
        for racer in racers:
            racer.step(*data[rounds % BATCHES])
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
            threads=threads,
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
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each network is measured")
    parser.add_argument("--no-oracle", action="store_true", help="leave out the K-score code")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows: list[Row] = []
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        for network in arguments.network:
            racers = contenders(network, arguments.options, arguments.selection, not arguments.no_oracle)
            rows += measure(racers, arguments.seconds, threads)
            print(table(rows[-len(racers) :]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
