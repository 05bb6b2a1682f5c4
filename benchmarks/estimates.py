"""How near estimates come, on a storage: python -m benchmarks.estimates STORAGE [--cpu]

Every kind of epoch that the storage knows, from stored stages or from calibrations, is left out once and estimated from
all others, as a plan would. Then every bundled spec of whose kinds of epochs all are known: what all its epochs take,
as if nothing like them had been timed yet (all its kinds are left out at once), and as they are estimated in an empty
storage. Prints the worst first, and how many took less than 1.5 times as long or short as estimated.

--cpu: seconds of a core in place of those by the clock, for storages of a machine that did other work, too. Where the
storage was made on two machines, each is estimated by itself; specs by the one with most kinds.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import fmean

from search_spaces.expansion import expand
from search_spaces.loading import bundled_specs, load_spec
from sweeper.planning.estimates import Estimates
from sweeper.planning.samples import Machine, Sample, Work, read_calibrations
from sweeper.records.bucket_store import open_store
from sweeper.records.stage_record import StageRecord
from sweeper.stages.forest import Forest
from sweeper.stages.planting import plant
from sweeper.storage.place import storage_at
from trainers.recipe.choices import Phase
from trainers.recipe.recipe import Recipe

NEAR = 1.5
NEWEST = 5000  # stages that are read

Kinds = Mapping[Work, list[Sample]]


@dataclass(frozen=True)
class Found:
    """An estimate beside what it estimates."""

    estimated: float
    took: float
    what: str

    @property
    def ratio(self) -> float:
        return self.estimated / self.took

    @property
    def is_near(self) -> bool:
        return 1 / NEAR < self.ratio < NEAR

    def __str__(self) -> str:
        return f"{self.ratio:8.2f} x  {self.took:12.3f} s  {self.what}"


def main() -> None:
    """Prints a line per kind of epoch and per spec, and the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("storage")
    parser.add_argument("--cpu", action="store_true")
    arguments = parser.parse_args()
    root = storage_at(arguments.storage)
    samples = [sample_of(record, arguments.cpu) for record in open_store(root).newest(NEWEST) if record.epochs]
    samples += read_calibrations(root)
    machines = {Machine(one.device.partition(":")[0], one.device, one.threads) for one in samples}
    by_machine = {machine: kinds_of(filter(machine.is_that_of, samples)) for machine in machines}
    recipes = {work: asked for forest in forests().values() for work, asked in works_of(forest).items()}
    said("kinds of epochs", [one for machine, kinds in by_machine.items() for one in each(machine, kinds, recipes)])
    machine, kinds = max(by_machine.items(), key=lambda item: len(item[1]))
    known = {name: forest for name, forest in forests().items() if works_of(forest).keys() <= kinds.keys()}
    others = {
        name: [one for work in kinds.keys() - works_of(known[name]).keys() for one in kinds[work]] for name in known
    }
    said(
        "launches of bundled specs, like which nothing was timed",
        [launch(name, forest, Estimates(others[name], machine), kinds) for name, forest in known.items()],
    )
    said(
        "launches of bundled specs in an empty storage",
        [launch(name, forest, Estimates((), machine), kinds) for name, forest in known.items()],
    )


def sample_of(record: StageRecord, cpu: bool) -> Sample:
    """The sample of a record; in seconds of a core, of which evaluation is taken to have the same share as training."""
    sample = Sample.of(record)
    used = sum(epoch.get("train_cpu_seconds") or epoch["train_seconds"] for epoch in record.epochs)
    return replace(sample, seconds=sample.seconds * used / record.costs["train_seconds"]) if cpu else sample


def kinds_of(samples: Iterable[Sample]) -> Kinds:
    """The samples by their work."""
    kinds: dict[Work, list[Sample]] = defaultdict(list)
    for sample in samples:
        kinds[sample.work].append(sample)
    return kinds


def forests() -> dict[str, Forest]:
    """The bundled specs, planted in an empty storage; a search has its grid alone."""
    found = {}
    for name in bundled_specs():
        recipes = expand(load_spec(name))
        found[name] = plant(recipes, {recipe.dataset: "d" for recipe in recipes})
    return found


def works_of(forest: Forest) -> dict[Work, tuple[Recipe, Phase]]:
    """The kinds of epochs of a sweep, with a recipe and phase of each."""
    stages = [stage for stage in forest.stages.values() if stage.epochs]
    return {Work.of(stage.recipe, stage.phase): (stage.recipe, stage.phase) for stage in stages}


def each(machine: Machine, kinds: Kinds, recipes: Mapping[Work, tuple[Recipe, Phase]]) -> list[Found]:
    """Every kind of epoch, estimated from all others."""
    found = []
    for work in kinds.keys() & recipes.keys():
        others = [sample for other, samples in kinds.items() if other != work for sample in samples]
        if epoch := Estimates(others, machine).epoch(*recipes[work]):
            took = fmean(sample.seconds for sample in kinds[work])
            found.append(Found(epoch.seconds, took, f"{epoch.why:48} {work}"))
    return found


def launch(name: str, forest: Forest, estimates: Estimates, kinds: Kinds) -> Found:
    """All epochs of a sweep, as they are estimated and as they take on average."""
    estimated = took = 0.0
    why: Counter[str] = Counter()
    for stage in forest.stages.values():
        if stage.epochs and (epoch := estimates.epoch(stage.recipe, stage.phase)):
            estimated += epoch.seconds * stage.epochs
            why[epoch.why] += stage.epochs
            took += fmean(one.seconds for one in kinds[Work.of(stage.recipe, stage.phase)]) * stage.epochs
    return Found(estimated, took, f"{name} ({why.most_common(1)[0][0]})")


def said(what: str, found: list[Found]) -> None:
    """Prints these, the worst first."""
    print(*sorted(found, key=lambda one: -max(one.ratio, 1 / one.ratio)), sep="\n")
    print(f"{sum(one.is_near for one in found)} of {len(found)} {what} within {NEAR} x\n")


if __name__ == "__main__":
    main()
