"""`sweeper report`: what sweeps came to, as a document; MLflow keeps a copy of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from reports import build_report
from reports.request import Asked
from sweeper.cli import completion
from sweeper.cli.command import ExitCode, command
from sweeper.cli.commands.mlflow import tracking_of
from sweeper.cli.options import out_option, storage_option, tracking_option, version_option
from sweeper.storage.place import storage_that_answers
from sweeper.storage.tracking_address import check_open, without_password
from sweeper.storage.tracking_file import address_for_mlflow, file_of, is_file
from trainers.errors import InvalidInput


@command("sweeper report lenet_options -o report")
@click.argument(
    "names", metavar="SWEEP...", nargs=-1, required=True, shell_complete=completion.sweeps,
    help="sweeps that were launched",
)  # fmt: skip
@storage_option
@out_option("where the report goes")
@version_option()
@tracking_option()
@click.option("--tex", is_flag=True, help="for papers: LaTeX, a file a table; figures as PDF and PNG; BibTeX")
@click.option("--against", metavar="DIR|SWEEP", help="say what moved since that report, or against that sweep")
def report(
    names: Sequence[str], storage: str, out: str, version: int | None, tracking: str | None, tex: bool,
    against: str | None,
) -> int:  # fmt: skip
    """Writes the report of sweeps, or of a chain."""
    from sweeper.cli.chains import called, sweeps_of
    from sweeper.tracking.experiment import log_report

    place = storage_that_answers(storage)
    sweeps, missing = sweeps_of(place, names)
    address = tracking_of(place, tracking, sweeps)
    if version and len(sweeps) > 1:
        raise InvalidInput(f"--version: {version} of which sweep? Name one sweep, not {len(sweeps)}")
    places = ["--tracking", without_password(address)] if tracking else ["--storage", storage]
    of_version = ["--version", str(version)] if version else []
    more = [*(["--tex"] if tex else []), *(["--against", against] if against else [])]
    again = ["sweeper", "report", *names, *places, *of_version, *more, "-o", "DIR"]
    asked = Asked(*called(place, names), missing, again, tex, against or "")
    if is_file(address) and file_of(address).is_file():
        check_open(address, place)
    page = build_report(sweeps, address_for_mlflow(address), Path(out), asked, version)
    print(f"The report: {page}")
    if version:
        return ExitCode.GOOD  # MLflow shows the report of the present version
    if problem := log_report(address, sweeps, page):
        print(
            f"sweeper: warning: it is not among the artifacts of the sweeps' runs in MLflow: {problem}", file=sys.stderr
        )
    return ExitCode.GOOD
