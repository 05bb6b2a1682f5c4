"""Commands that show sweeps to others, in MLflow and as reports: track, ui, report."""

from __future__ import annotations

import argparse
import sys

from sweeper.cli.options import add_sweep, add_tracking, add_version, complete_sweeps, completed, port
from sweeper.cli.parser import AddCommand
from sweeper.storage.place import storage_that_answers
from trainers.recipe.errors import InvalidInput


def add_commands(command: AddCommand) -> None:
    """track, ui, report."""
    added = command(
        "track", _track, "bring MLflow up to date with what is stored, after an outage", "sweeper track lenet_options"
    )
    add_sweep(added)
    add_tracking(added)

    added = command(
        "ui", _ui, "open MLflow's UI on what the sweeps wrote, for this machine only", "sweeper ui lenet_options"
    )
    add_sweep(added, "print the link to this sweep (default: to all)", nargs="?")
    added.add_argument("--port", type=port, default=5000, help="the first port to try (default: %(default)s)")
    add_tracking(added)

    added = command(
        "report",
        _report,
        "write report.html, report.md, report.tex, table.csv and figures",
        "sweeper report lenet_options -o report",
    )
    completed(
        added.add_argument("sweeps", metavar="SWEEP", nargs="+", help="sweeps that were launched"), complete_sweeps
    )
    added.add_argument("-o", "--out", metavar="DIR", required=True, help="where the report goes")
    add_version(added)
    add_tracking(added)


def _track(options: argparse.Namespace) -> int:
    from sweeper.cli.commands.mlflow import track

    return track(options)


def _ui(options: argparse.Namespace) -> int:
    from sweeper.cli.commands.mlflow import ui

    return ui(options)


def _report(options: argparse.Namespace) -> int:
    from pathlib import Path

    from reports import build_report
    from reports.request import Asked
    from sweeper.cli.chains import called, sweeps_of
    from sweeper.cli.commands.mlflow import tracking_of
    from sweeper.storage.tracking_address import check_open, without_password
    from sweeper.storage.tracking_file import address_for_mlflow, file_of, is_file
    from sweeper.tracking.projection import log_report

    storage = storage_that_answers(options.storage)
    sweeps, missing = sweeps_of(storage, options.sweeps)
    tracking = tracking_of(options, sweeps)
    places = ["--tracking", without_password(tracking)] if options.tracking else ["--storage", options.storage]
    if options.version and len(sweeps) > 1:
        raise InvalidInput(f"--version: {options.version} of which sweep? Name one sweep, not {len(sweeps)}")
    version = ["--version", str(options.version)] if options.version else []
    again = ["sweeper", "report", *options.sweeps, *places, *version, "-o", "DIR"]
    asked = Asked(*called(storage, options.sweeps), missing, again)
    if is_file(tracking) and file_of(tracking).is_file():
        check_open(tracking, storage)
    page = build_report(sweeps, address_for_mlflow(tracking), Path(options.out), asked, options.version)
    print(f"The report: {page}")
    if options.version:
        return 0  # MLflow shows the report of the present version
    if problem := log_report(tracking, sweeps, page):
        print(
            f"sweeper: warning: it is not among the artifacts of the sweeps' runs in MLflow: {problem}", file=sys.stderr
        )
    return 0
