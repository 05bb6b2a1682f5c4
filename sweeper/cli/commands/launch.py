"""`sweeper launch`, `resume`, `retry`: check everything, plant the forest, run it, project it, say what came of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from search_spaces.chains import load_chain
from search_spaces.loading import check_limits_only, load_spec
from search_spaces.spec import Spec
from sweeper.cli.chains import check_is_no_chain, launch_chain
from sweeper.cli.command import ExitCode, answered_yes, command, may_ask
from sweeper.cli.commands.cluster import again_on_cluster, launch_on_cluster
from sweeper.cli.options import (
    LaunchOptions,
    given,
    launch_options,
    limits_option,
    overrides_option,
    spec_argument,
    storage_option,
    sweep_argument,
)
from sweeper.cli.plugins.agreed import check_launched, keep_all, plugin_reader, ready_plugins
from sweeper.cli.running import Driver, RunningLaunch
from sweeper.cli.versioning import agreed_to, change_of
from sweeper.launch.launch import Launch, Resources
from sweeper.launch.sweep import PlantedSweep, reachable
from sweeper.planning.foresight import RequestedShares, foresee
from sweeper.planning.plan import Plan
from sweeper.records.bucket_store import open_store
from sweeper.records.environment import utc_now
from sweeper.records.sweep_folder import SweepFile, SweepFolder, planting
from sweeper.search.spec_versions import Versions, wall_seconds_of
from sweeper.stages.faults import RetryRule
from sweeper.storage.place import Place, storage_that_answers
from sweeper.storage.tracking_address import check_open, default_address, understood
from sweeper.storage.tracking_file import is_file
from sweeper.text import in_words
from sweeper.tracking.projection import projection_of
from trainers.errors import InvalidInput
from trainers.numerics import unpinned_sources
from trainers.recipe.recipe import Recipe

# How a launch is carried out, beside its resources and its addresses: kept, so that it can be launched again alike.
LAUNCH_SETTINGS: dict[str, Any] = {
    "local": False,
    "ray_address": None,
    "scale_to": None,
    "wait_for_nodes": None,
    "save_seconds": 30.0,
    "epoch_timeout": None,
    "max_retries": 3,
    "download": True,
    "tracking_optional": False,
}


@command("sweeper launch lenet_options --set 'seeds=[0]' --set 'options=[2, 8]' --data-dir ~/data")
@spec_argument("a YAML file, or the name of a bundled spec")
@storage_option
@overrides_option
@launch_options()
@click.pass_context
def launch(context: click.Context, spec: str, storage: str, overrides: Sequence[str], options: LaunchOptions) -> int:
    """Launches a spec, or one after the other the specs of a chain."""
    if options.submission.cluster:
        return launch_on_cluster(spec, overrides, options, given(context))

    def launch_one(loaded: Spec) -> int:
        return launch_spec(loaded, storage_that_answers(storage), options, options.shares.said())

    reader = plugin_reader(options.allow_plugins, options.yes)
    if linked := load_chain(spec, overrides, reader):
        return launch_chain(spec, linked, storage_that_answers(storage), launch_one)
    return launch_one(load_spec(spec, overrides, reader))


@command("sweeper resume lenet_options --max-parallel 4")
@sweep_argument()
@storage_option
@limits_option
@launch_options(again=True)
@click.pass_context
def resume(context: click.Context, sweep: str, storage: str, overrides: Sequence[str], options: LaunchOptions) -> int:
    """Goes on with a sweep as it was launched last."""
    if options.submission.cluster:
        return again_on_cluster("resume", sweep, overrides, options, given(context))
    folder, spec = at_rest(storage, sweep, overrides)
    return launch_again(folder, spec, options)


@command("sweeper retry lenet_options")
@sweep_argument()
@storage_option
@limits_option
@launch_options(again=True)
@click.pass_context
def retry(context: click.Context, sweep: str, storage: str, overrides: Sequence[str], options: LaunchOptions) -> int:
    """Forgets the failures of a sweep, and goes on with it as it was launched last."""
    if options.submission.cluster:
        return again_on_cluster("retry", sweep, overrides, options, given(context))
    folder, spec = at_rest(storage, sweep, overrides)
    return launch_again(folder, spec, options, forget_failures=True)


def at_rest(storage: str, sweep: str, overrides: Sequence[str]) -> tuple[SweepFolder, Spec]:
    """A sweep that nobody runs now, as it is to go on: with other limits, if the command line says so."""
    check_limits_only(overrides)
    place = storage_that_answers(storage)
    check_is_no_chain(place, sweep)
    folder = SweepFolder.find(place, sweep)
    if folder.is_running():
        raise InvalidInput(f"sweep: {folder.name!r} is being run already ({folder.holder()})")
    return folder, folder.spec(overrides)


def launch_again(folder: SweepFolder, spec: Spec, options: LaunchOptions, forget_failures: bool = False) -> int:
    """Launches the sweep as it was launched last, but for what is said otherwise now; returns the exit code."""
    file = folder.read()
    before = {"tracking": file.tracking, "data_dir": file.data_dir, **file.launch_settings}
    unsaid = {name: value for name, value in before.items() if getattr(options, name) in (None, "")}
    shares = {**file.options, **options.shares.said()}
    return launch_spec(spec, folder.storage, replace(options, **unsaid), shares, forget_failures)


def launch_spec(
    spec: Spec, storage: Place, options: LaunchOptions, shares: Mapping[str, Any], forget_failures: bool = False
) -> int:
    """Checks everything, trains what is not stored, and says what came of it; returns the exit code."""
    settings = _settings_of(options)
    elsewhere = settings["ray_address"] is not None and not settings["local"]
    wanted = RequestedShares(**shares, elsewhere=elsewhere)
    if settings["local"]:
        wanted = replace(wanted, max_parallel=1, start_seconds=0.0)
    plugins = ready_plugins(spec, storage, options.allow_plugins, options.yes)
    recipes = reachable(spec)
    open_store(storage).prepare()
    data_dir = Path(options.data_dir).expanduser().absolute() if options.data_dir else None
    tracking = understood(options.tracking or default_address(storage, make=True))
    _check_tracking(tracking, storage, settings["tracking_optional"])
    digests = _check_data(recipes, data_dir, settings["download"])
    check_launched(plugins, recipes, storage, data_dir)
    wanted.given()
    folder = SweepFolder(storage, spec.name)
    with folder.lock():
        folder.forget_stop()
        with planting(storage):  # also while it asks: what the plan counts on is not to be removed meanwhile
            planted = PlantedSweep(spec, folder, digests, unpinned_sources())
            if forget_failures:
                print(f"{planted.forget_failures()} failed stages are tried again.")
            foresight = foresee(spec, planted.at_most(), planted.store, wanted)
            if not (elsewhere or options.despite_memory):
                foresight.check_memory(planted.at_most())
            # Of a cluster each node is looked at.
            needs_bytes = 0 if options.despite_memory or not elsewhere else foresight.memory_bytes(planted.at_most())
            packing = foresight.packing
            resources = Resources(packing.cpus_per_trial, packing.gpus_per_trial, shares.get("max_parallel"))
            print(*foresight.plan.brief(), sep="\n", flush=True)
            before = Versions.of(folder)
            versions = before.launched(spec, utc_now(), digests)
            if not (agreed_to(change_of(before, versions, planted), options.yes) and _agreed(foresight.plan, options)):
                print("Nothing was started (--yes never asks, --ask-above HOURS asks later).")
                return ExitCode.INTERRUPTED
            file = folder.read_if_there() or SweepFile(spec.name, "", tracking, digests)
            file.spec_hash, file.tracking, file.digests = spec.content_hash(), tracking, digests
            file.data_dir, file.options = str(data_dir) if data_dir else None, asdict(resources)
            file.launch_settings = settings
            file.owner = file.owner or options.submission.owner
            for earlier in file.launches:
                if earlier["outcome"] == "running":
                    earlier["outcome"] = "killed"  # or it would have said how it ended
                    earlier["seconds"] = planted.seconds_since(earlier["started_at"])
            in_storage = keep_all(plugins, storage)
            file.launches.append(_begun(planted, options, versions.present))
            versions.write()
            folder.write(file, spec.to_yaml())
        run = planted.launch(
            resources, data_dir=data_dir, plugins=in_storage, save_seconds=settings["save_seconds"],
            rule=RetryRule(max_retries=settings["max_retries"]), estimates=foresight.estimates,
            wall_seconds=wall_seconds_of(file, versions.present), needs_bytes=needs_bytes,
        )  # fmt: skip
        driver = _idle if run.is_over else _driver(settings)
        projection = projection_of(spec, file, versions)
        forecast = foresight.plan.estimate
        return RunningLaunch(run, folder, file, projection, forecast).carry_out(driver)


def _settings_of(options: LaunchOptions) -> dict[str, Any]:
    """How the launch is to be carried out: what is said, else the defaults. Raises InvalidInput."""
    said = {name: value for name in LAUNCH_SETTINGS if (value := getattr(options, name)) is not None}
    settings = LAUNCH_SETTINGS | said
    if settings["local"] and settings["epoch_timeout"]:
        raise InvalidInput("--epoch-timeout: a local launch trains in its own process, which cannot kill itself")
    for name in ("scale_to", "wait_for_nodes"):
        if settings[name] is not None and settings["ray_address"] is None:
            flag = f"--{name.replace('_', '-')}"
            raise InvalidInput(f"{flag}: this machine alone does not grow; --ray-address or --cluster names a cluster")
    return settings


def _begun(planted: PlantedSweep, options: LaunchOptions, version: int) -> dict[str, Any]:
    """What sweep.json keeps of a launch that begins."""
    more = {"cluster": options.submission.submitted_to} if options.submission.submitted_to else {}
    more |= {"sources_apart": planted.forest.sources} if planted.forest.sources else {}
    return {"started_at": utc_now(), "pid": os.getpid(), "outcome": "running", "version": version, **more}


def _agreed(plan: Plan, options: LaunchOptions) -> bool:
    """Asks before a long launch, where there is somebody to ask."""
    seconds = plan.estimate.device_seconds if plan.estimate else 0.0
    is_long = seconds > 3600 * options.ask_above
    return not (is_long and may_ask(options.yes)) or answered_yes(f"Train for about {in_words(seconds)}?")


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
    from trainers.data.digests import check_data, check_held_out, data_digest
    from trainers.data.registry import IMAGE_FOLDER

    digests: dict[str, str] = {}
    for dataset, plugins in {recipe.dataset: recipe.plugins for recipe in recipes}.items():
        check_data(dataset, data_dir, download, plugins)
        check_held_out(dataset, max(one.validation_examples for one in recipes if one.dataset == dataset), data_dir)
        if dataset == IMAGE_FOLDER:
            _check_images(data_dir)
        digests[dataset] = data_digest(dataset, data_dir, plugins)
    return digests


def _check_images(data_dir: Path | None) -> None:
    from trainers.data.image_check import check_images

    found = check_images(data_dir, tell=lambda line: print(f"sweeper: {line}", flush=True))
    if found.left_out:
        print(f"sweeper: warning: {data_dir}: {found.left_out}", flush=True)


def _idle(launch: Launch, refresh: Callable[[], None], give_up: Callable[[str], None]) -> None:
    """The driver where nothing is left to train: Ray is not even imported."""
    launch.let_go()


def _driver(settings: Mapping[str, Any]) -> Driver:
    if settings["local"]:
        from sweeper.launch.local import run_local

        return run_local
    from sweeper.launch.ray_session import prepare, quiet

    address = settings["ray_address"]
    quiet(address)
    prepared = prepare(address)
    from sweeper.launch.cluster.nodes import Scaling
    from sweeper.launch.ray_tune import run_on_ray

    scaling = Scaling(settings["scale_to"], settings["wait_for_nodes"])
    return partial(
        run_on_ray, address=address, epoch_timeout=settings["epoch_timeout"], scaling=scaling, prepared=prepared
    )
