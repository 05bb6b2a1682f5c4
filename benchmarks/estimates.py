"""How near estimates come, on a storage: python -m benchmarks.estimates STORAGE

Every kind of epoch that the storage knows is left out once and estimated from all others, as a plan would. Prints the
share of them that took less than 1.5 times as long or short as estimated, and the worst.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from statistics import fmean

from sweeper.planning.estimates import Estimates
from sweeper.planning.samples import Machine, Sample
from sweeper.records.bucket_store import open_store
from sweeper.storage.place import storage_at
from trainers.recipe.choices import Phase
from trainers.recipe.recipe import Recipe

NEAR = 1.5
NEWEST = 2000  # stages that are read


def main() -> None:
    """Prints a line per kind of epoch, the worst first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("storage")
    records = list(open_store(storage_at(parser.parse_args().storage)).newest(NEWEST))
    of_work: dict[tuple[str, object], list[tuple[Sample, Recipe, Phase]]] = defaultdict(list)
    for record in records:
        sample, recipe = Sample.of(record), Recipe.model_validate(record.recipe)
        of_work[sample.device, sample.work].append((sample, recipe, record.phase))
    found = []
    for (device, work), own in of_work.items():
        first, recipe, phase = own[0]
        machine = Machine(device.partition(":")[0], device, first.threads)
        others = [sample for (_, other), rest in of_work.items() if other != work for sample, _, _ in rest]
        epoch = Estimates(others, machine).epoch(recipe, phase)
        if epoch is not None:
            took = fmean(sample.seconds for sample, _, _ in own)
            found.append((epoch.seconds / took, epoch.source, took, work))
    near = sum(1 / NEAR < ratio < NEAR for ratio, *_ in found)
    for ratio, source, took, work in sorted(found, key=lambda one: -abs(one[0] - 1)):
        print(f"{ratio:8.2f} x  {took:8.3f} s  {source:18}  {work}")
    print(f"{near} of {len(found)} kinds of epochs within {NEAR} x")


if __name__ == "__main__":
    main()
