"""`sweeper launch`, `resume`, `retry`: check everything, plant the forest, run it, project it, say what came of it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from search_spaces.loading import check_limits_only, load_spec
from search_spaces.spec import Spec
from sweeper.cli.asking import answered_yes, may_ask
from sweeper.cli.running import INTERRUPTED, Driver, RunningLaunch
from sweeper.cli.versioning import agreed_to, change_of
from sweeper.launch.launch import Resources
from sweeper.launch.sweep import PlantedSweep, reachable
from sweeper.launch.view import SweepView
from sweeper.planning.foresight import Wanted, foresee
from sweeper.planning.plan import Plan
from sweeper.records.bucket_store import open_store
from sweeper.records.environment import utc_now
from sweeper.records.sweep_folder import SweepFile, SweepFolder, planting
from sweeper.search.spec_versions import Versions, wall_seconds_of
from sweeper.stages.schedule import RetryRule
from sweeper.storage.place import Place, storage_that_answers
from sweeper.storage.tracking_address import check_open, default_address, understood
from sweeper.storage.tracking_file import is_file
from sweeper.text import Estimating, in_words
from sweeper.tracking.projection import projection_of
from trainers.numerics import unpinned_sources
from trainers.recipe.errors import InvalidInput
from trainers.recipe.recipe import Recipe

RESOURCES = ("cpus_per_trial", "gpus_per_trial", "max_parallel")
# How a launch is carried out, beside its resources and its addresses: kept, so that it can be launched again alike.
MANNER: dict[str, Any] = {
    "local": False,
    "ray_address": None,
    "save_seconds": 30.0,
    "epoch_timeout": None,
    "max_retries": 3,
    "download": True,
    "tracking_optional": False,
}


def launch(options: argparse.Namespace, estimate: Estimating) -> int:
    """`sweeper launch SPEC`"""
    return launch_spec(options, load_spec(options.spec, options.overrides), estimate)


def launch_spec(options: argparse.Namespace, spec: Spec, estimate: Estimating) -> int:
    """The same for a spec that was read already."""
    storage = storage_that_answers(options.storage)
    return _launch(options, spec, storage, _given(options, RESOURCES), estimate)


def resume(options: argparse.Namespace, estimate: Estimating) -> int:
    """`sweeper resume SWEEP`"""
    folder, spec = _at_rest(options)
    return _launch_again(options, folder, spec, estimate)


def retry(options: argparse.Namespace, estimate: Estimating) -> int:
    """`sweeper retry SWEEP`: forgets its failures and launches it as it was launched last."""
    folder, spec = _at_rest(options)
    store = open_store(folder.storage)
    stages = SweepView(folder).launch.forest.stages
    failed = [key for key in store.failures() if key in stages]
    for key in failed:
        store.clear_failure(key)
    print(f"{len(failed)} failed stages are tried again.")
    return _launch_again(options, folder, spec, estimate)


def _at_rest(options: argparse.Namespace) -> tuple[SweepFolder, Spec]:
    """A sweep that nobody runs now, as it is to go on: with other limits, if the command line says so."""
    check_limits_only(options.overrides)
    folder = SweepFolder.find(storage_that_answers(options.storage), options.sweep)
    if folder.is_running():
        raise InvalidInput(f"sweep: {folder.name!r} is being run already ({folder.holder()})")
    return folder, folder.spec(options.overrides)


def _launch_again(options: argparse.Namespace, folder: SweepFolder, spec: Spec, estimate: Estimating) -> int:
    """As it was launched last, but for what is said otherwise now."""
    file = folder.read()
    options.tracking = options.tracking or file.tracking
    options.data_dir = options.data_dir or file.data_dir
    for name, value in file.manner.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    shares = {**file.options, **_given(options, RESOURCES)}
    return _launch(options, spec, folder.storage, shares, estimate)


def _given(options: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """What the command line says of these."""
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def _launch(
    options: argparse.Namespace, spec: Spec, storage: Place, shares: Mapping[str, Any], estimate: Estimating
) -> int:
    manner = MANNER | _given(options, MANNER)
    if manner["local"] and manner["epoch_timeout"]:
        raise InvalidInput("--epoch-timeout: a local launch trains in its own process, which cannot kill itself")
    elsewhere = manner["ray_address"] is not None and not manner["local"]
    wanted = Wanted(**shares, elsewhere=elsewhere)
    if manner["local"]:
        wanted = replace(wanted, max_parallel=1, start_seconds=0.0)
    recipes = reachable(spec)
    open_store(storage).prepare()
    tracking = understood(options.tracking or default_address(storage, make=True))
    _check_tracking(tracking, storage, manner["tracking_optional"])
    data_dir = Path(options.data_dir).expanduser().absolute() if options.data_dir else None
    digests = _check_data(recipes, data_dir, manner["download"])
    wanted.given()
    folder = SweepFolder(storage, spec.name)
    with folder.lock():
        folder.forget_stop()
        with planting(storage):  # also while it asks: what the plan counts on is not to be removed meanwhile
            planted = PlantedSweep(spec, folder, digests, unpinned_sources())
            foresight = foresee(spec, planted.at_most(), planted.store, wanted)
            packing = foresight.packing
            resources = Resources(packing.cpus_per_trial, packing.gpus_per_trial, shares.get("max_parallel"))
            print(*foresight.plan.brief(), sep="\n", flush=True)
            before = Versions.of(folder)
            versions = before.launched(spec, utc_now(), digests)
            if not (agreed_to(change_of(before, versions, planted), options) and _agreed(foresight.plan, options)):
                print("Nothing was started (--yes never asks, --ask-above HOURS asks later).")
                return INTERRUPTED
            file = folder.read_if_there() or SweepFile(spec.name, "", tracking, digests)
            file.spec_hash, file.tracking, file.digests = spec.content_hash(), tracking, digests
            file.data_dir, file.options = str(data_dir) if data_dir else None, asdict(resources)
            file.manner = manner
            file.owner = file.owner or options.owner
            for earlier in file.launches:
                if earlier["outcome"] == "running":
                    earlier["outcome"] = "killed"  # or it would have said how it ended
                    earlier["seconds"] = planted.seconds_since(earlier["started_at"])
            more = {"cluster": options.submitted_to} if options.submitted_to else {}
            more |= {"sources_apart": planted.forest.sources} if planted.forest.sources else {}
            begun = {"started_at": utc_now(), "pid": os.getpid(), "outcome": "running", "version": versions.present}
            file.launches.append({**begun, **more})
            versions.write()
            folder.write(file, spec.to_yaml())
        driver = _driver(manner)
        run = planted.launch(
            resources, data_dir=data_dir, save_seconds=manner["save_seconds"],
            rule=RetryRule(max_retries=manner["max_retries"]), estimates=foresight.estimates,
            wall_seconds=wall_seconds_of(file, versions.present),
        )  # fmt: skip
        projection = projection_of(spec, file, versions)
        forecast = foresight.plan.estimate
        return RunningLaunch(run, folder, file, projection, estimate, forecast).carry_out(driver)


def _agreed(plan: Plan, options: argparse.Namespace) -> bool:
    """Asks before a long launch, where there is somebody to ask."""
    seconds = plan.estimate.device_seconds if plan.estimate else 0.0
    is_long = seconds > 3600 * options.ask_above
    return not (is_long and may_ask(options)) or answered_yes(f"Train for about {in_words(seconds)}?")


def _check_tracking(tracking: str, storage: Place, optional: bool) -> None:
    try:
        check_open(tracking, storage)
    except InvalidInput as error:
        if is_file(tracking):
            raise  # no server that may come back
        if not optional:
            raise InvalidInput(f"{error}; --tracking-optional starts all the same and catches up later") from None
        print(f"sweeper: warning: {error}; it is caught up with when it answers")


def _check_data(recipes: Sequence[Recipe], data_dir: Path | None, download: bool) -> dict[str, str]:
    """The digest of every data set of the sweep, present and verified."""
    from trainers.data.splits import check_data, data_digest

    digests: dict[str, str] = {}
    for dataset in dict.fromkeys(recipe.dataset for recipe in recipes):
        check_data(dataset, data_dir, download)
        digests[dataset] = data_digest(dataset, data_dir)
    return digests


def _driver(manner: Mapping[str, Any]) -> Driver:
    if manner["local"]:
        from sweeper.launch.local import run_local

        return run_local
    from sweeper.launch.ray_session import quiet

    quiet(manner["ray_address"])
    from sweeper.launch.ray_tune import run_on_ray

    return partial(run_on_ray, address=manner["ray_address"], epoch_timeout=manner["epoch_timeout"])
