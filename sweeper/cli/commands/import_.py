"""`sweeper import`: trials that were trained elsewhere, into MLflow as a sweep's runs."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from sweeper.cli.hints import storage_flag
from sweeper.records.bucket_store import open_store
from sweeper.records.imported import ImportedSweep
from sweeper.records.sweep_folder import SweepFolder
from sweeper.stages.status import Status
from sweeper.storage.place import storage_that_answers
from sweeper.storage.tracking_address import check_open, default_address, understood, without_password
from sweeper.storage.tracking_file import artifacts_of
from sweeper.tracking.mlflow_client import TrackingDown
from sweeper.tracking.projection import Projection, is_launched
from sweeper.tracking.run_state import SweepFacts
from trainers.recipe.errors import InvalidInput
from trainers.recipe.recipe import content_hash

GOOD, NOT_TRACKED = 0, 1
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def import_records(options: argparse.Namespace) -> int:
    """`sweeper import FILE... --sweep NAME`: importing the same again changes nothing."""
    storage = storage_that_answers(options.storage)
    if not NAME.fullmatch(options.sweep):
        raise InvalidInput(f"sweep: letters, digits, '_', '-', '.', at most 100 of them, not {options.sweep!r}")
    open_store(storage).prepare()
    address = understood(options.tracking or default_address(storage, make=True))
    check_open(address, storage)
    if options.sweep in SweepFolder.names(storage) or is_launched(address, options.sweep):
        raise InvalidInput(f"sweep: {options.sweep!r} was launched; imported trials need a sweep of their own")
    sweep = ImportedSweep(storage, options.sweep)
    new = sweep.add([Path(name) for name in options.files])
    results = sweep.results()
    hashes = sorted(result.trial.recipe.content_hash() for result in results)
    facts = SweepFacts(options.sweep, options.description, "", content_hash(hashes), {"imported": "yes"})
    projection = Projection(address, artifacts_of(address, options.sweep), facts)
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
        print(f"{new} new trials are kept in {sweep.folder}; MLflow does not show them yet: {down}")
        print("The same command again brings it up to date.")
        return NOT_TRACKED
    print(f"{new} new trials, {len(results)} in all; {changed} changed in MLflow, {without_password(address)}")
    print(f"Report:   sweeper report {options.sweep}{storage_flag(storage)} -o report")
    return GOOD
