"""`sweeper launch` and `sweeper retry`: check everything, plant the forest, run it, project it, say what came of it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from search_spaces.spec import Limits, Spec, expand, load_spec
from sweeper.commands.running import Driver, RunningLaunch
from sweeper.environment import sources, utc_now
from sweeper.forest import plant
from sweeper.launch import Launch, Resources
from sweeper.store import Store
from sweeper.sweep_folder import SweepFile, SweepFolder
from sweeper.tracked_runs import SweepFacts
from sweeper.tracking import Projection
from sweeper.tracking_address import check_reachable, check_scheme, default_address
from trainers.recipe import Recipe
from trainers.validation import InvalidInput


def launch(options: argparse.Namespace) -> int:
    """`sweeper launch SPEC`"""
    spec = load_spec(options.spec, options.overrides)
    storage = Path(options.storage).expanduser().absolute()
    given = {name: getattr(options, name) for name in ("cpus_per_trial", "gpus_per_trial", "max_parallel")}
    resources = Resources(**{name: value for name, value in given.items() if value is not None})
    return _launch(options, spec, storage, resources)


def retry(options: argparse.Namespace) -> int:
    """`sweeper retry SWEEP`: forgets its failures and launches it as it was launched last."""
    storage = Path(options.storage).expanduser().absolute()
    folder = SweepFolder.find(storage, options.sweep)
    file = folder.read()
    spec = load_spec(str(folder.spec_path))
    options.tracking = options.tracking or file.tracking
    options.data_dir = options.data_dir or file.data_dir
    given = {name: getattr(options, name) for name in ("cpus_per_trial", "gpus_per_trial", "max_parallel")}
    resources = Resources(**{**file.options, **{name: value for name, value in given.items() if value is not None}})
    store = Store(storage)
    forest = plant(expand(spec), file.digests, store)
    failed = [key for key in store.failures() if key in forest.stages]
    for key in failed:
        store.clear_failure(key)
    print(f"{len(failed)} failed stages are tried again.")
    return _launch(options, spec, storage, resources)


def _launch(options: argparse.Namespace, spec: Spec, storage: Path, resources: Resources) -> int:
    if spec.limits != Limits():
        raise InvalidInput("limits: launches do not keep to limits yet, so they must be left out")
    recipes = expand(spec)
    store = Store(storage)
    store.prepare()
    tracking = options.tracking or default_address(storage)
    _check_tracking(tracking, options.tracking_optional)
    data_dir = Path(options.data_dir).expanduser().absolute() if options.data_dir else None
    digests = _check_data(recipes, data_dir, download=not options.no_download)
    driver = _driver(options, resources)
    folder = SweepFolder(storage, spec.name)
    with folder.lock():
        file = folder.read_if_there() or SweepFile(spec.name, "", tracking, digests)
        file.spec_hash, file.tracking, file.digests = spec.content_hash(), tracking, digests
        file.data_dir, file.options = str(data_dir) if data_dir else None, asdict(resources)
        for earlier in file.launches:
            if earlier["outcome"] == "running":
                earlier["outcome"] = "killed"  # or it would have said how it ended
        file.launches.append({"started_at": utc_now(), "pid": os.getpid(), "outcome": "running"})
        folder.write(file, spec.to_yaml())
        forest = plant(recipes, digests, store)
        run = Launch(
            spec.name, forest, digests, store, resources, sources(), data_dir, save_seconds=options.save_seconds
        )
        projection = projection_of(spec, file, storage)
        return RunningLaunch(run, folder, file, projection, options.command_line).carry_out(driver)


def projection_of(spec: Spec, file: SweepFile, storage: Path) -> Projection:
    """The MLflow side of a sweep."""
    local = file.tracking.startswith("sqlite:")
    facts = SweepFacts(spec.name, spec.description, spec.to_yaml(), spec.content_hash(), sources())
    return Projection(file.tracking, str(storage / "artifacts" / spec.name) if local else None, facts)


def _check_tracking(tracking: str, optional: bool) -> None:
    check_scheme(tracking)
    try:
        check_reachable(tracking)
    except InvalidInput as error:
        if tracking.startswith("sqlite:"):
            raise  # no server that may come back
        if not optional:
            raise InvalidInput(f"{error}; --tracking-optional starts all the same and catches up later") from None
        print(f"sweeper: warning: {error}; it is caught up with when it answers")


def _check_data(recipes: Sequence[Recipe], data_dir: Path | None, download: bool) -> dict[str, str]:
    """The digest of every data set of the sweep, present and verified."""
    from trainers.data import check_data, data_digest

    digests: dict[str, str] = {}
    for dataset in dict.fromkeys(recipe.dataset for recipe in recipes):
        check_data(dataset, data_dir, download)
        digests[dataset] = data_digest(dataset, data_dir)
    return digests


def _driver(options: argparse.Namespace, resources: Resources) -> Driver:
    if options.local or options.ray_address is None:
        _check_resources(resources)
    if options.local:
        from sweeper.local_driver import run_local

        return run_local
    from sweeper.ray_session import quiet

    quiet(options.ray_address)
    from sweeper.ray_driver import run_on_ray

    return partial(run_on_ray, address=options.ray_address)


def _check_resources(resources: Resources) -> None:
    """What one trial asks for must be on this machine. (Of a cluster, only Ray can tell.)"""
    there = {"--cpus-per-trial": os.cpu_count() or 1, "--gpus-per-trial": 0}
    if resources.gpus_per_trial:
        import torch

        there["--gpus-per-trial"] = torch.cuda.device_count()
    for flag, wanted in zip(there, (resources.cpus_per_trial, resources.gpus_per_trial), strict=True):
        if wanted > there[flag]:
            unit = "CPU" if "cpu" in flag else "GPU"
            raise InvalidInput(f"{flag}: {wanted:g} is more than the {there[flag]} {unit}s of this machine")
