"""Longest path first against the order of the spec: python -m benchmarks.makespan, printing a table and JSON.

Simulated with the real schedule: the stages of the bundled spec `finetune_splits` (about 200) on 8 workers. Stages are
as long as a storage says (`--storage`: stored epochs and calibrations), else as their FLOPs. The schedule believes
that; what stages really take differs from it by noise, drawn again for every repetition.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import mean

from search_spaces.expansion import expand
from search_spaces.loading import load_spec
from sweeper.planning.estimates import Estimates
from sweeper.planning.makespan import lower_bound, makespan
from sweeper.planning.samples import Sample, machine_here, measured, read_calibrations
from sweeper.records.store import Store
from sweeper.stages.forest import Forest, Stage
from sweeper.stages.planting import plant
from sweeper.stages.schedule import Schedule


def ratios(
    forest: Forest, expected: Callable[[Stage], float], noise: float, workers: int, seed: int
) -> Mapping[str, float]:
    """Makespans over the lower bound, of one draw of the noise."""
    draw = random.Random(seed)
    factors = {key: draw.lognormvariate(0, noise) for key in forest.stages}

    def takes(stage: Stage) -> float:
        return expected(stage) * factors[stage.key]

    bound = lower_bound(Schedule(forest, cost=takes), takes, workers)
    orders = {"longest path first": expected, "in the order of the spec": lambda stage: 0.0}
    return {
        name: makespan(Schedule(forest, cost=believed), takes, workers) / bound for name, believed in orders.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--repetitions", type=int, default=50)
    parser.add_argument("--storage", type=Path, help="take how long stages are from here, as `sweeper plan` does")
    arguments = parser.parse_args()
    recipes = expand(load_spec("finetune_splits"))
    forest = plant(recipes, {recipe.dataset: "d" for recipe in recipes})
    samples: list[Sample] = []
    if arguments.storage:
        samples = [*measured(Store(arguments.storage), forest), *read_calibrations(arguments.storage)]
    estimates = Estimates(samples, machine_here("cpu", 1))
    expected = estimates.cost(forest)
    print(f"{len(forest.stages)} stages, {arguments.workers} workers; makespan over the lower bound, mean (worst)")
    found = []
    for noise in (0.0, 0.05, 0.1, 0.2, 0.4):
        drawn = [ratios(forest, expected, noise, arguments.workers, seed) for seed in range(arguments.repetitions)]
        means = {name: mean(row[name] for row in drawn) for name in drawn[0]}
        worst = {name: max(row[name] for row in drawn) for name in drawn[0]}
        cells = "   ".join(f"{name}: {means[name]:.3f} ({worst[name]:.3f})" for name in means)
        print(f"  noise {100 * noise:>2.0f} %   {cells}")
        found.append({"noise": noise, "mean": means, "worst": worst})
    print(json.dumps({"stages": len(forest.stages), "workers": arguments.workers, "ratios": found}))


if __name__ == "__main__":
    main()
