"""`sweeper stop SWEEP`: asks the launch that runs, on whatever machine, to finish its epochs, save, and end.

Of a chain the sweep that runs is asked, and none is launched after it.
"""

from __future__ import annotations

import time

import click

from sweeper.cli.command import ExitCode, command
from sweeper.cli.hints import hint_to_launch
from sweeper.cli.options import cluster_option, storage_option, sweep_argument
from sweeper.records.sweep_folder import SweepFolder, this_process
from sweeper.storage.place import storage_that_answers

LOOK_SECONDS = 0.5
TELL_EVERY_SECONDS = 60.0


@command("sweeper stop lenet_options")
@sweep_argument("a sweep that was launched, or a chain")
@storage_option
@click.option("--no-wait", is_flag=True, help="ask, and do not wait until it has stopped")
@cluster_option()
def stop(sweep: str, storage: str, no_wait: bool, cluster: str | None) -> int:
    """Asks a launch to stop, and waits until it has."""
    if cluster:
        from sweeper.cli.commands.cluster import stop_on_cluster

        return stop_on_cluster(cluster, sweep)
    from sweeper.cli.chains import sweeps_of

    place = storage_that_answers(storage)
    names, _ = sweeps_of(place, [sweep])
    folders = [SweepFolder.find(place, name) for name in names]
    folder = next((one for one in folders if one.is_running()), None)
    if folder is None:
        print(*map(_why_nothing_runs, folders), sep="\n")
        return ExitCode.GOOD
    holder = folder.holder()
    folder.ask_to_stop()
    print(f"{folder.name}: asked to stop after the epochs that run now ({holder}).", flush=True)
    if no_wait:
        return ExitCode.GOOD
    wait_until_stopped(folder, holder)
    print(_how_it_ended(folder))
    return ExitCode.GOOD


def wait_until_stopped(folder: SweepFolder, holder: str) -> None:
    """Waits until that launch has ended, or another one has taken its place."""
    tell_at = time.monotonic() + TELL_EVERY_SECONDS
    while folder.is_running() and folder.holder() == holder:
        if folder.asked_to_stop() is None:
            folder.ask_to_stop()  # it was just starting, and took the request for one of an earlier launch
        if time.monotonic() >= tell_at:
            tell_at += TELL_EVERY_SECONDS
            print("Still waiting for its epochs (Ctrl-C stops the waiting; it stays asked to stop).", flush=True)
        time.sleep(LOOK_SECONDS)


def _how_it_ended(folder: SweepFolder) -> str:
    outcome = folder.read().launches[-1]["outcome"]
    if outcome == "COMPLETED":
        return f"{folder.name}: it completed before it could be stopped."
    if outcome == "running":
        return f"{folder.name}: its process is gone, and did not say how it ended. {_to_go_on(folder)}"
    return f"{folder.name}: {outcome}. {_to_go_on(folder)}"


def _why_nothing_runs(folder: SweepFolder) -> str:
    launches = folder.read().launches
    last = launches[-1] if launches else {"outcome": "never launched"}
    if last["outcome"] == "COMPLETED":
        return f"{folder.name}: nothing runs; it is completed."
    if last["outcome"] != "running":
        return f"{folder.name}: nothing runs; its last launch: {last['outcome']}. {_to_go_on(folder)}"
    return (
        f"{folder.name}: nothing runs, as far as {this_process().partition(' on ')[2]} can tell: its last launch "
        f"({folder.holder()}) is gone and did not say how it ended. {_to_go_on(folder)}"
    )


def _to_go_on(folder: SweepFolder) -> str:
    return f"What is trained is kept; to go on: {hint_to_launch('resume', folder, folder.read())}"
