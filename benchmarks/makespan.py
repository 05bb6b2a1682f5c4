"""Longest path first against first come, first served: python -m benchmarks.makespan, printing a table and JSON.

Simulated with the real schedule: the stages of the bundled spec `finetune_splits` (about 200), 8 workers, epochs as
long as `sweeper plan finetune_splits --calibrate` found them. The schedule believes those; what stages really take
differs from it by noise, drawn again for every repetition.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Mapping
from statistics import mean

from search_spaces.spec import expand, load_spec
from sweeper.forest import Forest, Stage, plant
from sweeper.scheduling import Schedule
from sweeper.simulation import lower_bound, makespan

# Seconds of an epoch, training and evaluation: slot phase (K = 8, greedy), and where weights are learned. One thread of
# the machine that this was written on.
EPOCH_SECONDS = {
    "lenet": (2.0, 1.3),
    "conv2": (36.0, 33.0),
    "conv4": (55.0, 52.0),
    "conv6": (66.0, 63.0),
}


def expected(stage: Stage) -> float:
    """What the schedule believes."""
    slot, weights = EPOCH_SECONDS[stage.recipe.network]
    return stage.epochs * (slot if stage.phase == "slot" else weights)


def ratios(forest: Forest, noise: float, workers: int, seed: int) -> Mapping[str, float]:
    """Makespans over the lower bound, of one draw of the noise."""
    draw = random.Random(seed)
    factors = {key: draw.lognormvariate(0, noise) for key in forest.stages}

    def takes(stage: Stage) -> float:
        return expected(stage) * factors[stage.key]

    bound = lower_bound(Schedule(forest, cost=takes), takes, workers)
    orders = {"longest path first": expected, "first come, first served": lambda stage: 0.0}
    return {
        name: makespan(Schedule(forest, cost=believed), takes, workers) / bound for name, believed in orders.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--repetitions", type=int, default=50)
    arguments = parser.parse_args()
    recipes = expand(load_spec("finetune_splits"))
    forest = plant(recipes, {recipe.dataset: "d" for recipe in recipes})
    print(f"{len(forest.stages)} stages, {arguments.workers} workers; makespan over the lower bound, mean (worst)")
    found = []
    for noise in (0.0, 0.05, 0.1, 0.2, 0.4):
        drawn = [ratios(forest, noise, arguments.workers, seed) for seed in range(arguments.repetitions)]
        means = {name: mean(row[name] for row in drawn) for name in drawn[0]}
        worst = {name: max(row[name] for row in drawn) for name in drawn[0]}
        cells = "   ".join(f"{name}: {means[name]:.3f} ({worst[name]:.3f})" for name in means)
        print(f"  noise {100 * noise:>2.0f} %   {cells}")
        found.append({"noise": noise, "mean": means, "worst": worst})
    print(json.dumps({"stages": len(forest.stages), "workers": arguments.workers, "ratios": found}))


if __name__ == "__main__":
    main()
