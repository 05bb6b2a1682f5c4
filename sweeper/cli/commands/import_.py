"""`sweeper import`: a whole sweep of another storage; or trials that were trained elsewhere, as a sweep's runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import click

from sweeper.cli import completion
from sweeper.cli.command import ExitCode, command
from sweeper.cli.commands.sweeps.whole import import_whole
from sweeper.cli.hints import storage_flag
from sweeper.cli.options import storage_option, tracking_option
from sweeper.records.sweep_folder import SweepFolder
from sweeper.stages.status import Status
from sweeper.storage.place import Place, storage_that_answers
from sweeper.storage.tracking_address import check_open, default_address, understood, without_password
from sweeper.storage.tracking_file import artifacts_of
from trainers.errors import InvalidInput, name_rule
from trainers.hashing import content_hash

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@command("sweeper import gpu/*.json --sweep conv_on_h200", name="import")
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, shell_complete=completion.files,
    help="what `sweeper export --sweep` wrote; or records as JSON, one or a list of them in each",
)  # fmt: skip
@storage_option
@click.option(
    "--sweep", metavar="NAME",
    help="what the sweep is called here (default, of a whole sweep: what it was called there)",
)  # fmt: skip
@click.option("--description", metavar="TEXT", default="", help="a sentence on it, for the report")
@tracking_option()
def import_files(files: Sequence[str], storage: str, sweep: str | None, description: str, tracking: str | None) -> int:
    """Brings in a whole sweep, or records: these again change nothing."""
    from sweeper.sweeps.archive import is_archive

    place = storage_that_answers(storage)
    whole = [name for name in files if is_archive(Path(name))]
    if whole and (len(files) > 1 or description):
        raise InvalidInput(f"{whole[0]}: a whole sweep comes alone, with the description that it has")
    if whole:
        return import_whole(Path(whole[0]), place, sweep, tracking)
    if sweep is None:
        raise InvalidInput(f"--sweep: {files[0]} is no whole sweep, and records need the name of the one they become")
    return _import_records(files, place, sweep, description, tracking)


def _import_records(files: Sequence[str], place: Place, sweep: str, description: str, tracking: str | None) -> int:
    from sweeper.records.bucket_store import open_store
    from sweeper.records.imported import ImportedSweep
    from sweeper.tracking.experiment import is_launched
    from sweeper.tracking.mlflow_client import TrackingDown
    from sweeper.tracking.projection import Projection
    from sweeper.tracking.run_state import SweepFacts

    if not NAME.fullmatch(sweep):
        raise InvalidInput(f"sweep: {name_rule(sweep)}")
    open_store(place).prepare()
    address = understood(tracking or default_address(place, make=True))
    check_open(address, place)
    if sweep in SweepFolder.names(place) or is_launched(address, sweep):
        raise InvalidInput(f"sweep: {sweep!r} was launched; imported trials need a sweep of their own")
    imported = ImportedSweep(place, sweep)
    new = imported.add([Path(name) for name in files])
    results = imported.results()
    hashes = sorted(result.trial.recipe.content_hash() for result in results)
    facts = SweepFacts(sweep, description, "", content_hash(hashes), {"imported": "yes"})
    projection = Projection(address, artifacts_of(address, sweep), facts)
    completed = sum(result.status is Status.COMPLETED for result in results)
    totals = {
        "trials": len(results),
        "trials_completed": completed,
        "trials_failed": len(results) - completed,
        "spent_seconds": sum(result.seconds for result in results),
        "epochs_spent": sum(len(result.epochs) for result in results),
    }
    try:
        changed = sum(projection.project(result) for result in results)
        projection.project_sweep(Status.COMPLETED if completed == len(results) else Status.FAILED, totals)
    except TrackingDown as down:
        print(f"{new} new trials are kept in {imported.folder}; MLflow does not show them yet: {down}")
        print("The same command again brings it up to date.")
        return ExitCode.SOME_FAILED
    print(f"{new} new trials, {len(results)} in all; {changed} changed in MLflow, {without_password(address)}")
    print(f"Report:   sweeper report {sweep}{storage_flag(place)} -o report")
    return ExitCode.GOOD
