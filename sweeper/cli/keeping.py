"""Commands for what is stored: import, export, gc, data."""

from __future__ import annotations

import argparse

from sweeper.cli.options import add_data, add_sweep, add_tracking, add_yes, days
from sweeper.cli.parser import AddCommand


def add_commands(command: AddCommand) -> None:
    """import, export, gc, data."""
    added = command(
        "import",
        _import,
        "bring in trials that were trained elsewhere, as JSON records (benchmarks/gpu.py writes such)",
        "sweeper import gpu/*.json --sweep conv_on_h200",
    )
    added.add_argument("files", metavar="FILE", nargs="+", help="a record, or a list of them, as JSON")
    added.add_argument("--sweep", metavar="NAME", required=True, help="what the sweep that they become is called")
    added.add_argument("--description", metavar="TEXT", default="", help="a sentence on it, for the report")
    add_tracking(added)

    added = command(
        "export",
        _export,
        "write trained networks as tickets: seed, recipe and what every connection chose",
        "sweeper export lenet_options 'K=8 GS seed 0' -o tickets",
    )
    add_sweep(added)
    added.add_argument("trials", metavar="TRIAL", nargs="*", help="trials as `sweeper runs` names them (default: all)")
    added.add_argument("-o", "--out", metavar="DIR", required=True, help="where the tickets go")
    added.add_argument(
        "--phase", choices=["last", "slot", "finetune"], default="last", help="at whose end (default: %(default)s)"
    )

    added = command(
        "gc", _gc, "list what is stored and no sweep refers to (a sweep whose folder is gone, say); remove it if told",
        "sweeper gc --older-than 30 --delete",
    )  # fmt: skip
    added.add_argument("--delete", action="store_true", help="remove it (default: say what would be removed)")
    added.add_argument(
        "--older-than", metavar="DAYS", type=days, default=0.0, help="only what was trained so long ago (default: all)"
    )
    added.add_argument(
        "--earlier-versions", action="store_true",
        help="also what only earlier versions of sweeps refer to, which their reports cite (default: it is kept)",
    )  # fmt: skip
    add_yes(added)

    added = command(
        "data", _data, "download data sets, and see that every file is the published one",
        "sweeper data fetch mnist cifar10 --data-dir /data", stored=False,
    )  # fmt: skip
    added.add_argument("action", metavar="fetch|check", choices=["fetch", "check"], help="what to do")
    added.add_argument("datasets", metavar="DATASET", nargs="*", help="which (check: all, unless some are named)")
    add_data(added)
    added.add_argument("--mirror", metavar="URL", help="fetch URL/DATASET/FILE instead of where it is published")


def _import(options: argparse.Namespace) -> int:
    from sweeper.cli.commands.import_ import import_records

    return import_records(options)


def _export(options: argparse.Namespace) -> int:
    from sweeper.cli.commands.export import export

    return export(options)


def _gc(options: argparse.Namespace) -> int:
    from sweeper.cli.commands.gc import gc

    return gc(options)


def _data(options: argparse.Namespace) -> int:
    from sweeper.cli.commands.data import data

    return data(options)
