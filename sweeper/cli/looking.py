"""Commands that look at sweeps: status, logs, runs, compare."""

from __future__ import annotations

import argparse

from sweeper.cli.options import add_cluster, add_sweep, add_version, complete_sweeps, completed, status_name
from sweeper.cli.parser import AddCommand

# `sweeper.cli.commands.status.SORTS`: it takes long to import, and a test holds these equal.
SORTS = ("arm", "seed", "status", "epochs", "seconds", "validation_accuracy", "test_accuracy")


def add_commands(command: AddCommand) -> None:
    """status, logs, runs, compare."""
    added = command("status", _status, "show how far sweeps are", "sweeper status lenet_options")
    add_cluster(added)
    add_sweep(added, "one sweep in detail (default: all, a line each)", nargs="?")
    add_version(added)
    added.add_argument("--watch", action="store_true", help="again and again, as long as a launch runs")
    added.add_argument("--json", action="store_true", help="as JSON")

    added = command(
        "logs", _logs, "show what a sweep on a cluster says, until it ends",
        "sweeper logs lenet_options --cluster http://HOST:8265", stored=False,
    )  # fmt: skip
    added.add_argument("sweep", metavar="SWEEP", help="a sweep that was launched there")
    add_cluster(added, needed=True)

    added = command(
        "runs", _runs, "list the trials of a sweep",
        "sweeper runs lenet_options --arm GS --status COMPLETED --sort validation_accuracy",
    )  # fmt: skip
    add_sweep(added)
    add_version(added)
    added.add_argument("--arm", metavar="TEXT", help="only this arm, or those that have this in their names")
    added.add_argument(
        "--status",
        metavar="STATUS",
        action="append",
        type=status_name,
        help="only trials that are so (again for more)",
    )
    added.add_argument(
        "--sort", choices=SORTS, metavar="FIELD",
        help=f"by {', '.join(SORTS)}; the best accuracy first, the least of the others",
    )  # fmt: skip
    added.add_argument("--json", action="store_true", help="as JSON")

    added = command(
        "compare", _compare, "set two sweeps, or arms (SWEEP:ARM), side by side, with the differences of their means",
        "sweeper compare lenet_options:'K=8 GS' lenet_options:'K=2 GS'",
    )  # fmt: skip
    for name, metavar in (("first", "A"), ("second", "B")):
        completed(
            added.add_argument(name, metavar=metavar, help="a sweep, or an arm of one: SWEEP:ARM"), complete_sweeps
        )
    add_version(added, sides=True)
    added.add_argument(
        "--paired", action="store_true", help="pair the trials of one seed (default: independent trials)"
    )
    added.add_argument("--json", action="store_true", help="as JSON")


def _status(options: argparse.Namespace) -> int:
    if options.cluster:
        from sweeper.cli.commands.cluster import status_on_cluster

        return status_on_cluster(options)
    from reports.analysis.statistics import estimate
    from sweeper.cli.commands.status import status

    return status(options, estimate)


def _logs(options: argparse.Namespace) -> int:
    from sweeper.cli.commands.cluster import logs_on_cluster

    return logs_on_cluster(options)


def _runs(options: argparse.Namespace) -> int:
    from sweeper.cli.commands.status import runs

    return runs(options)


def _compare(options: argparse.Namespace) -> int:
    from reports.analysis import statistics
    from sweeper.cli.commands.compare import compare

    return compare(options, statistics)
