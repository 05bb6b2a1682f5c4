"""`sweeper report`: what sweeps came to, as a document; MLflow keeps a copy of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from reports import build_report
from reports.request import Asked
from sweeper.cli import completion
from sweeper.cli.chains import called, sweeps_of
from sweeper.cli.command import ExitCode, command
from sweeper.cli.commands.mlflow import tracking_of
from sweeper.cli.options import out_option, storage_option, tracking_option
from sweeper.storage.place import storage_that_answers
from sweeper.tracking.address import without_password
from sweeper.tracking.projection import log_report


@command("sweeper report lenet_options -o report")
@click.argument(
    "names", metavar="SWEEP...", nargs=-1, required=True, shell_complete=completion.sweeps,
    help="sweeps that were launched",
)  # fmt: skip
@storage_option
@out_option("where the report goes")
@tracking_option()
def report(names: Sequence[str], storage: str, out: str, tracking: str | None) -> int:
    """Writes the report of sweeps, or of a chain."""
    place = storage_that_answers(storage)
    sweeps, missing = sweeps_of(place, names)
    address = tracking_of(place, tracking, sweeps)
    places = ["--tracking", without_password(tracking)] if tracking else ["--storage", storage]
    again = ["sweeper", "report", *names, *places, "-o", "DIR"]
    asked = Asked(*called(place, names), missing, again)
    page = build_report(sweeps, address, Path(out), asked)
    print(f"The report: {page}")
    if problem := log_report(address, sweeps, page):
        print(
            f"sweeper: warning: it is not among the artifacts of the sweeps' runs in MLflow: {problem}", file=sys.stderr
        )
    return ExitCode.GOOD
