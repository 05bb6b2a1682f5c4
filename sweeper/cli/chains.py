"""Chains: several sweeps planned together and launched one after the other. What they share is trained once."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from search_spaces.chains import Chain, Linked, read_chain
from search_spaces.spec import Spec
from sweeper.launch.sweep import PlantedSweep, reachable
from sweeper.planning.foresight import Wanted, calibrate_here, digests_to_plan_with, foresee
from sweeper.records.bucket_store import open_store
from sweeper.records.sweep_folder import SweepFolder
from sweeper.stages.forest import Forest, plant
from sweeper.storage.place import Place, storage_that_answers
from sweeper.text import text_table
from trainers.numerics import unpinned_sources
from trainers.recipe.errors import InvalidInput

GOOD, WRONG_INPUT, INTERRUPTED = 0, 2, 130


def plan_chain(options: argparse.Namespace, linked: Linked) -> int:
    """`sweeper plan CHAIN`: a row per sweep, and all of them as if they were one."""
    data_dir = Path(options.data_dir).expanduser() if options.data_dir else None
    store = open_store(storage_that_answers(options.storage))
    wanted = Wanted(options.cpus_per_trial, options.gpus_per_trial, options.max_parallel)
    wanted.given()
    digests, notes = digests_to_plan_with([recipe for spec in linked.specs for recipe in reachable(spec)], data_dir)
    apart = unpinned_sources()
    forests = {
        spec.name: PlantedSweep(spec, SweepFolder(store.root, spec.name), digests, apart, read_only=True).at_most()
        for spec in linked.specs
    }
    recipes = [trial.recipe for one in forests.values() for trial in one.trials]
    forest = plant(list({recipe.content_hash(): recipe for recipe in recipes}.values()), digests, store, sources=apart)
    if options.calibrate:
        calibrate_here(forest, store, wanted, data_dir)
    plan = foresee(_as_one(linked), forest, store, wanted, [*linked.notes, *notes]).plan
    each = sum(one.epochs_shared for one in forests.values())
    if options.json:
        sweeps = [{"name": name, **_numbers(one)} for name, one in forests.items()]
        print(json.dumps({**plan.as_dict(), "epochs_each": each, "sweeps": sweeps}, indent=1))
        return GOOD
    chain = linked.chain
    print(chain.name, *textwrap.wrap(chain.description, 100, initial_indent="  ", subsequent_indent="  "), sep="\n")
    rows = [[name, *(f"{value:,}" for value in _numbers(one).values())] for name, one in forests.items()]
    table = text_table(["sweep", "trials", "stages", "epochs alone", "with shared stages", "left"], rows)
    print("", textwrap.indent(table, "  "), "", f"All {len(rows)} sweeps together:", *plan.totals, sep="\n")
    if each > forest.epochs_shared:
        ratio = f"{each / forest.epochs_shared:.2f} times fewer"
        print(f"{each:,} epochs if each sweep ran by itself: what they share among them makes {ratio}")
    return GOOD


def launch_chain(linked: Linked, launch: Callable[[Spec], int]) -> int:
    """`sweeper launch CHAIN`: one sweep after the other. One that cannot start, or fails, does not keep the others."""
    codes: dict[str, int] = {}
    for note in linked.notes:
        print(note)
    for number, spec in enumerate(linked.specs, 1):
        print(f"\n[{number}/{len(linked.specs)}] {spec.name}", flush=True)
        try:
            codes[spec.name] = launch(spec)
        except InvalidInput as error:
            for line in str(error).splitlines():
                print(f"sweeper: error: {spec.name}: {line}", file=sys.stderr)
            codes[spec.name] = WRONG_INPUT
        if codes[spec.name] == INTERRUPTED:
            return INTERRUPTED
    bad = [name for name, code in codes.items() if code != GOOD]
    print(f"\n{linked.chain.name}: {len(codes) - len(bad)} of {len(codes)} sweeps are complete.")
    if bad:
        print(f"Not complete: {', '.join(bad)}.")
    return max(codes.values())


def sweeps_of(storage: Place, names: Iterable[str]) -> tuple[list[str], list[str]]:
    """The sweeps that these names mean, chains written out, and those of a chain that were not launched here.

    A name that was launched as a sweep is that sweep. Raises InvalidInput for a chain of which no sweep was launched.
    """
    launched = SweepFolder.names(storage)
    found: list[str] = []
    missing: list[str] = []
    for name in names:
        chain = None if name in launched else _chain(name)
        if chain is None:
            found.append(name)
            continue
        there = [sweep for sweep in chain.sweep_names() if sweep in launched]
        if not there:
            raise InvalidInput(f"sweep: no sweep of {name!r} was launched in {storage}")
        found += there
        missing += [sweep for sweep in chain.sweep_names() if sweep not in launched]
    return list(dict.fromkeys(found)), list(dict.fromkeys(missing))


def called(storage: Place, names: Sequence[str]) -> tuple[str, str]:
    """Name and description of the chain, where one chain and nothing else is named; else nothing."""
    if len(names) != 1 or names[0] in SweepFolder.names(storage) or not (chain := _chain(names[0])):
        return "", ""
    return chain.name, chain.description


def _chain(name: str) -> Chain | None:
    try:
        return read_chain(name)
    except InvalidInput:
        return None  # it is the name of a sweep, then


def _as_one(linked: Linked) -> Spec:
    return linked.specs[0].model_copy(
        update={"name": linked.chain.name, "description": linked.chain.description}
    )  # a plan takes no more of it than these


def _numbers(forest: Forest) -> dict[str, Any]:
    return {
        "trials": len(forest.trials),
        "stages": len(forest.stages),
        "epochs_alone": forest.epochs_alone,
        "epochs_shared": forest.epochs_shared,
        "epochs_left": forest.epochs_left,
    }
