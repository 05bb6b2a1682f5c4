"""Plans and launches from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from search_spaces.spec import Spec
from sweeper.cli.commands.launch import launch_spec
from sweeper.cli.plugins.agreed import checked_plugins
from sweeper.interface.settings import LaunchSettings, launch_options, said
from sweeper.interface.sweep import STORAGE, Sweep
from sweeper.launch.sweep import PlantedSweep, reachable
from sweeper.planning.foresight import RequestedShares, digests_to_plan_with, foresee
from sweeper.planning.plan import Plan
from sweeper.records.sweep_folder import SweepFolder
from sweeper.storage.place import storage_that_answers
from trainers.numerics import unpinned_sources


def plan(spec: Spec, storage: str | Path = STORAGE, **settings: Unpack[LaunchSettings]) -> Plan:
    """What a launch of the spec would train, what is stored already, and what it will take. Nothing is written.

    Of the settings it looks at `data_dir`, `cpus_per_trial`, `gpus_per_trial` and `max_parallel`. Print it, or let a
    notebook show it. Raises InvalidInput.
    """
    options = launch_options(settings)
    data_dir = Path(options.data_dir).expanduser() if options.data_dir else None
    warnings = checked_plugins(spec, storage_that_answers(str(storage)), data_dir, options.allow_plugins, yes=True)
    wanted = RequestedShares(**options.shares.said())
    wanted.given()
    place = storage_that_answers(str(storage))
    digests, notes = digests_to_plan_with(reachable(spec), data_dir)
    folder = SweepFolder(place, spec.name)
    planted = PlantedSweep(spec, folder, digests, unpinned_sources(), read_only=True)
    return foresee(spec, planted.at_most(), planted.store, wanted, [*notes, *warnings]).plan


def launch(
    spec: Spec, storage: str | Path = STORAGE, *, progress: bool = True, **settings: Unpack[LaunchSettings]
) -> Sweep:
    """Trains what of the spec is not stored yet, and returns the sweep once it is completed.

    It prints how far it is unless `progress` is False. An interrupt (Ctrl-C, or a notebook's) stops it after the epochs
    that run, a second one at once; so does `Sweep.stop` from another thread or process. Nobody is asked anything.
    Raises InvalidInput before anything starts, and NotCompleted (Stopped, LimitReached) with the sweep in `.sweep`.
    """
    options = launch_options(settings)
    with said(progress):
        code = launch_spec(spec, storage_that_answers(str(storage)), options, options.shares.said())
    return Sweep(spec.name, storage).ended(code)
