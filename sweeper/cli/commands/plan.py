"""`sweeper plan`: what a launch would train and what that takes, of one spec, of several, or of a chain of them."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from search_spaces.chains import Linked, load_chain
from search_spaces.loading import load_spec
from search_spaces.spec import Limits, Spec
from sweeper.cli.command import ExitCode, command
from sweeper.cli.options import (
    Shares,
    data_option,
    json_option,
    overrides_option,
    plugins_option,
    shares_options,
    spec_argument,
    storage_option,
)
from sweeper.cli.plugins.agreed import checked_plugins, plugin_reader
from sweeper.cli.versioning import change_of
from sweeper.launch.sweep import PlantedSweep, reachable
from sweeper.planning.foresight import RequestedShares, calibrate_here, digests_to_plan_with, foresee
from sweeper.planning.plan import sharing_table, totals
from sweeper.records.bucket_store import open_store
from sweeper.records.store import Store
from sweeper.records.sweep_folder import SweepFolder
from sweeper.search.spec_versions import Versions
from sweeper.stages.forest import Forest
from sweeper.stages.planting import plant
from sweeper.storage.place import storage_that_answers
from sweeper.text import text_table
from trainers.numerics import unpinned_sources


@dataclass(frozen=True)
class _Asked:
    """What a plan goes by, beside specs."""

    store: Store
    wanted: RequestedShares
    data_dir: Path | None
    calibrate: bool
    as_json: bool


@command("sweeper plan lenet_options --calibrate --max-parallel 8")
@spec_argument("a YAML file, or the name of a bundled spec; of several, what they share too", several=True)
@storage_option
@overrides_option
@data_option()
@shares_options()
@click.option(
    "--calibrate", is_flag=True,
    help="time a few batches of whatever no stored epoch tells of, about a minute at most, and remember it",
)  # fmt: skip
@plugins_option
@json_option("all of it as JSON")
def plan(
    specs: Sequence[str], storage: str, overrides: Sequence[str], data_dir: str | None, shares: Shares,
    calibrate: bool, allow_plugins: bool, as_json: bool,
) -> int:  # fmt: skip
    """Prints what a launch would train."""
    # A chain stands alone: what its sweeps have in common it says itself.
    reader = plugin_reader(allow_plugins)
    linked = load_chain(specs[0], overrides, reader) if len(specs) == 1 else None
    folder = Path(data_dir).expanduser() if data_dir else None
    store = open_store(storage_that_answers(storage))
    wanted = RequestedShares(**asdict(shares))
    wanted.given()
    asked = _Asked(store, wanted, folder, calibrate, as_json)
    if linked:
        return _plan_chain(linked, asked, allow_plugins)
    return _plan_specs([load_spec(name, overrides, reader) for name in specs], asked, allow_plugins)


def _plan_specs(specs: Sequence[Spec], asked: _Asked, allow_plugins: bool) -> int:
    """Prints the plan of each spec, and of several what they have in common."""
    warnings = {spec.name: checked_plugins(spec, asked.store.root, asked.data_dir, allow_plugins) for spec in specs}
    digests, notes = _digests(specs, asked)
    if any(spec.search is not None for spec in specs):
        notes.append("Of what a search may still ask for, every trial is counted as the longest that it can be.")
    forests, plans = [], []
    for spec in specs:
        planted = _planted(spec, asked, digests)
        forest, before = planted.at_most(), Versions.of(SweepFolder(asked.store.root, spec.name))
        change = change_of(before, before.launched(spec, "", digests), planted).lines[:1]
        if asked.calibrate:
            calibrate_here(forest, asked.store, asked.wanted, asked.data_dir)
        forests.append(forest)
        plans.append(foresee(spec, forest, asked.store, asked.wanted, [*notes, *warnings[spec.name], *change]).plan)
    if len(plans) == 1:
        print(json.dumps(plans[0].as_dict(), indent=1) if asked.as_json else plans[0].text())
        return ExitCode.GOOD
    recipes = [trial.recipe for forest in forests for trial in forest.trials]
    together = plant(recipes, digests, asked.store, sources=unpinned_sources())
    if asked.as_json:
        print(json.dumps({"plans": [found.as_dict() for found in plans], "together": totals(together)}, indent=1))
    else:
        print(*(found.text() for found in plans), sharing_table(plans, together), sep="\n\n")
    return ExitCode.GOOD


def _plan_chain(linked: Linked, asked: _Asked, allow_plugins: bool) -> int:
    """Prints a row per sweep of a chain, and all of them as if they were one."""
    told = [checked_plugins(spec, asked.store.root, asked.data_dir, allow_plugins) for spec in linked.specs]
    digests, notes = _digests(linked.specs, asked)
    notes += dict.fromkeys(line for lines in told for line in lines)
    forests = {spec.name: _planted(spec, asked, digests).at_most() for spec in linked.specs}
    recipes = [trial.recipe for one in forests.values() for trial in one.trials]
    different = list({recipe.content_hash(): recipe for recipe in recipes}.values())
    forest = plant(different, digests, asked.store, sources=unpinned_sources())
    if asked.calibrate:
        calibrate_here(forest, asked.store, asked.wanted, asked.data_dir)
    plan = foresee(_as_one(linked), forest, asked.store, asked.wanted, [*linked.notes, *notes]).plan
    each = sum(one.epochs_shared for one in forests.values())
    if asked.as_json:
        sweeps = [{"name": name, **_numbers(one)} for name, one in forests.items()]
        print(json.dumps({**plan.as_dict(), "epochs_each": each, "sweeps": sweeps}, indent=1))
        return ExitCode.GOOD
    chain = linked.chain
    print(chain.name, *textwrap.wrap(chain.description, 100, initial_indent="  ", subsequent_indent="  "), sep="\n")
    rows = [[name, *(f"{value:,}" for value in _numbers(one).values())] for name, one in forests.items()]
    table = text_table(["sweep", "trials", "stages", "epochs alone", "with shared stages", "left"], rows)
    print("", textwrap.indent(table, "  "), "", f"All {len(rows)} sweeps together:", *plan.totals, sep="\n")
    if each > forest.epochs_shared:
        ratio = f"{each / forest.epochs_shared:.2f} times fewer"
        print(f"{each:,} epochs if each sweep ran by itself: what they share among them makes {ratio}")
    return ExitCode.GOOD


def _digests(specs: Sequence[Spec], asked: _Asked) -> tuple[dict[str, str], list[str]]:
    return digests_to_plan_with([recipe for spec in specs for recipe in reachable(spec)], asked.data_dir)


def _planted(spec: Spec, asked: _Asked, digests: dict[str, str]) -> PlantedSweep:
    folder = SweepFolder(asked.store.root, spec.name)
    return PlantedSweep(spec, folder, digests, unpinned_sources(), read_only=True)


def _as_one(linked: Linked) -> Spec:
    return linked.specs[0].model_copy(
        update={"name": linked.chain.name, "description": linked.chain.description, "rungs": None, "limits": Limits()}
    )  # a plan takes no more of it than these


def _numbers(forest: Forest) -> dict[str, Any]:
    return {name: value for name, value in totals(forest).items() if name != "sharing"}
