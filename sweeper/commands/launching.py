"""`sweeper launch`, `resume`, `retry`: check everything, plant the forest, run it, project it, say what came of it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from search_spaces.spec import Limits, Spec, expand, load_spec
from sweeper.commands.looking import SweepView, projection_of
from sweeper.commands.running import Driver, RunningLaunch
from sweeper.environment import sources, utc_now
from sweeper.forest import plant
from sweeper.intervals import Estimating
from sweeper.launch import Launch, Resources
from sweeper.store import Store
from sweeper.sweep_folder import SweepFile, SweepFolder, planting
from sweeper.tracking_address import check_reachable, check_scheme, default_address
from trainers.recipe import Recipe
from trainers.validation import InvalidInput

RESOURCES = ("cpus_per_trial", "gpus_per_trial", "max_parallel")
# How a launch is carried out, beside its resources and its addresses: kept, so that it can be launched again alike.
MANNER: dict[str, Any] = {
    "local": False,
    "ray_address": None,
    "save_seconds": 30.0,
    "download": True,
    "tracking_optional": False,
}


def launch(options: argparse.Namespace, estimate: Estimating) -> int:
    """`sweeper launch SPEC`"""
    spec = load_spec(options.spec, options.overrides)
    storage = Path(options.storage).expanduser().absolute()
    return _launch(options, spec, storage, Resources(**_given(options, RESOURCES)), estimate)


def resume(options: argparse.Namespace, estimate: Estimating) -> int:
    """`sweeper resume SWEEP`"""
    return _launch_again(options, _at_rest(options), estimate)


def retry(options: argparse.Namespace, estimate: Estimating) -> int:
    """`sweeper retry SWEEP`: forgets its failures and launches it as it was launched last."""
    folder = _at_rest(options)
    store = Store(folder.storage)
    stages = SweepView(folder).look.forest.stages
    failed = [key for key in store.failures() if key in stages]
    for key in failed:
        store.clear_failure(key)
    print(f"{len(failed)} failed stages are tried again.")
    return _launch_again(options, folder, estimate)


def _at_rest(options: argparse.Namespace) -> SweepFolder:
    """The folder of a sweep that nobody runs now."""
    folder = SweepFolder.find(Path(options.storage).expanduser().absolute(), options.sweep)
    if folder.is_running():
        raise InvalidInput(f"sweep: {folder.name!r} is being run already ({folder.holder()})")
    return folder


def _launch_again(options: argparse.Namespace, folder: SweepFolder, estimate: Estimating) -> int:
    """As it was launched last, but for what is said otherwise now."""
    file = folder.read()
    options.tracking = options.tracking or file.tracking
    options.data_dir = options.data_dir or file.data_dir
    for name, value in file.manner.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    resources = Resources(**{**file.options, **_given(options, RESOURCES)})
    return _launch(options, load_spec(str(folder.spec_path)), folder.storage, resources, estimate)


def _given(options: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """What the command line says of these."""
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def _launch(options: argparse.Namespace, spec: Spec, storage: Path, resources: Resources, estimate: Estimating) -> int:
    manner = MANNER | _given(options, MANNER)
    if spec.limits != Limits():
        raise InvalidInput("limits: launches do not keep to limits yet, so they must be left out")
    recipes = expand(spec)
    store = Store(storage)
    store.prepare()
    tracking = options.tracking or default_address(storage)
    _check_tracking(tracking, manner["tracking_optional"])
    data_dir = Path(options.data_dir).expanduser().absolute() if options.data_dir else None
    digests = _check_data(recipes, data_dir, manner["download"])
    driver = _driver(manner, resources)
    folder = SweepFolder(storage, spec.name)
    with folder.lock():
        folder.forget_stop()
        file = folder.read_if_there() or SweepFile(spec.name, "", tracking, digests)
        file.spec_hash, file.tracking, file.digests = spec.content_hash(), tracking, digests
        file.data_dir, file.options = str(data_dir) if data_dir else None, asdict(resources)
        file.manner = manner
        for earlier in file.launches:
            if earlier["outcome"] == "running":
                earlier["outcome"] = "killed"  # or it would have said how it ended
        file.launches.append({"started_at": utc_now(), "pid": os.getpid(), "outcome": "running"})
        with planting(storage):
            folder.write(file, spec.to_yaml())
            forest = plant(recipes, digests, store)
        run = Launch(
            spec.name, forest, digests, store, resources, sources(), data_dir, save_seconds=manner["save_seconds"]
        )
        projection = projection_of(spec, file, storage)
        return RunningLaunch(run, folder, file, projection, estimate).carry_out(driver)


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


def _driver(manner: Mapping[str, Any], resources: Resources) -> Driver:
    address = manner["ray_address"]
    if manner["local"] or address is None:
        _check_resources(resources)
    if manner["local"]:
        from sweeper.local_driver import run_local

        return run_local
    from sweeper.ray_session import quiet

    quiet(address)
    from sweeper.ray_driver import run_on_ray

    return partial(run_on_ray, address=address)


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
