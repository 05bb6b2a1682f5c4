"""`sweeper rename OLD NEW`: another name for a sweep that was launched, in the storage and in MLflow."""

from __future__ import annotations

import click

from sweeper.cli.command import ExitCode, command
from sweeper.cli.options import storage_option, sweep_argument
from sweeper.storage.place import storage_that_answers


@command("sweeper rename lenet_options lenet_by_options")
@sweep_argument()
@click.argument("name", metavar="NAME", help="what it is to be called")
@storage_option
def rename(sweep: str, name: str, storage: str) -> int:
    """Renames a sweep; what is interrupted the same command finishes."""
    from sweeper.cli.commands.mlflow import track_at_rest
    from sweeper.sweeps.rename import is_there
    from sweeper.sweeps.rename import rename as rename_sweep
    from sweeper.tracking.mlflow_client import TrackingDown

    try:
        folder = rename_sweep(storage_that_answers(storage), sweep, name)
    except TrackingDown as down:
        print(f"{sweep} is {name} in the storage, and not yet in MLflow: {down}")
        print("The same command again finishes it.")
        return ExitCode.SOME_FAILED
    print(f"{sweep} is called {name} now.")
    return track_at_rest(folder) if is_there(folder.read().tracking, folder.storage) else ExitCode.GOOD
