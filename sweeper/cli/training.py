"""Commands that train: plan, launch, stop, resume, retry."""

from __future__ import annotations

import argparse

from sweeper.cli.options import add_cluster, add_limits, add_resources, add_shares, add_spec, add_sweep
from sweeper.cli.parser import AddCommand


def add_commands(command: AddCommand) -> None:
    """plan, launch, stop, resume, retry."""
    added = command(
        "plan", _plan, "show what a launch would train, what is stored already, and what it will take",
        "sweeper plan lenet_options --calibrate --max-parallel 8",
    )  # fmt: skip
    add_spec(added, several=True)
    add_shares(added)
    added.add_argument(
        "--calibrate", action="store_true",
        help="time a few batches of whatever no stored epoch tells of, about a minute at most, and remember it",
    )  # fmt: skip
    added.add_argument("--json", action="store_true", help="all of it as JSON")

    added = command(
        "launch", _launch, "train what is not stored yet; launching again goes on",
        "sweeper launch lenet_options --set 'seeds=[0]' --set 'options=[2, 8]' --data-dir ~/data",
    )  # fmt: skip
    add_spec(added)
    add_resources(added)
    add_cluster(added, submits=True)

    added = command(
        "stop", _stop, "stop a launch that runs, here or on another machine: it finishes its epochs and saves",
        "sweeper stop lenet_options",
    )  # fmt: skip
    add_sweep(added)
    added.add_argument("--no-wait", action="store_true", help="ask, and do not wait until it has stopped")
    add_cluster(added)

    added = command(
        "resume", _resume, "go on with a sweep as it was launched last", "sweeper resume lenet_options --max-parallel 4"
    )
    add_sweep(added)
    add_limits(added)
    add_resources(added, again=True)
    add_cluster(added, submits=True)

    added = command("retry", _retry, "launch again what failed, as it was launched last", "sweeper retry lenet_options")
    add_sweep(added)
    add_limits(added)
    add_resources(added, again=True)
    add_cluster(added, submits=True)


def _plan(options: argparse.Namespace) -> int:
    from search_spaces.chains import load_chain
    from sweeper.cli.commands.plan import plan

    # A chain stands alone: what its sweeps have in common it says itself.
    if len(options.specs) == 1 and (linked := load_chain(options.specs[0], options.overrides)):
        from sweeper.cli.chains import plan_chain

        return plan_chain(options, linked)
    return plan(options)


def _launch(options: argparse.Namespace) -> int:
    if options.cluster:
        from sweeper.cli.commands.cluster import launch_on_cluster

        return launch_on_cluster(options)
    from reports.analysis.statistics import estimate
    from search_spaces.chains import load_chain
    from sweeper.cli.commands.launch import launch, launch_spec

    if linked := load_chain(options.spec, options.overrides):
        from sweeper.cli.chains import launch_chain

        return launch_chain(linked, lambda spec: launch_spec(options, spec, estimate))
    return launch(options, estimate)


def _stop(options: argparse.Namespace) -> int:
    if options.cluster:
        from sweeper.cli.commands.cluster import stop_on_cluster

        return stop_on_cluster(options)
    from sweeper.cli.commands.stop import stop

    return stop(options)


def _resume(options: argparse.Namespace) -> int:
    if options.cluster:
        from sweeper.cli.commands.cluster import again_on_cluster

        return again_on_cluster(options)
    from reports.analysis.statistics import estimate
    from sweeper.cli.commands.launch import resume

    return resume(options, estimate)


def _retry(options: argparse.Namespace) -> int:
    if options.cluster:
        from sweeper.cli.commands.cluster import again_on_cluster

        return again_on_cluster(options)
    from reports.analysis.statistics import estimate
    from sweeper.cli.commands.launch import retry

    return retry(options, estimate)
