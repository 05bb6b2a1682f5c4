"""`sweeper plan`, and what a launch knows before it starts: what it will take, and how it shares out the machine."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from search_spaces.loading import load_spec
from sweeper.cli.versioning import change_of
from sweeper.launch.sweep import PlantedSweep, reachable
from sweeper.planning.foresight import Wanted, calibrate_here, digests_to_plan_with, foresee
from sweeper.planning.plan import sharing_table, totals
from sweeper.records.bucket_store import open_store
from sweeper.records.sweep_folder import SweepFolder
from sweeper.search.spec_versions import Versions
from sweeper.stages.forest import plant
from sweeper.storage.place import storage_that_answers
from trainers.numerics import unpinned_sources


def plan(options: argparse.Namespace) -> int:
    """Prints what a launch would train and what that takes, and of several sweeps what they have in common."""
    data_dir = Path(options.data_dir).expanduser() if options.data_dir else None
    store = open_store(storage_that_answers(options.storage))
    wanted = Wanted(options.cpus_per_trial, options.gpus_per_trial, options.max_parallel)
    wanted.given()
    specs = [load_spec(name, options.overrides) for name in options.specs]
    digests, notes = digests_to_plan_with([recipe for spec in specs for recipe in reachable(spec)], data_dir)
    if any(spec.search is not None for spec in specs):
        notes.append("Of what a search may still ask for, every trial is counted as the longest that it can be.")
    apart = unpinned_sources()
    forests, plans = [], []
    for spec in specs:
        planted = PlantedSweep(spec, folder := SweepFolder(store.root, spec.name), digests, apart, read_only=True)
        forest, before = planted.at_most(), Versions.of(folder)
        change = change_of(before, before.launched(spec, "", digests), planted).lines[:1]
        if options.calibrate:
            calibrate_here(forest, store, wanted, data_dir)
        forests.append(forest)
        plans.append(foresee(spec, forest, store, wanted, [*notes, *change]).plan)
    if len(plans) == 1:
        print(json.dumps(plans[0].as_dict(), indent=1) if options.json else plans[0].text())
        return 0
    together = plant([trial.recipe for forest in forests for trial in forest.trials], digests, store, sources=apart)
    if options.json:
        print(json.dumps({"plans": [found.as_dict() for found in plans], "together": totals(together)}, indent=1))
    else:
        print(*(found.text() for found in plans), sharing_table(plans, together), sep="\n\n")
    return 0
