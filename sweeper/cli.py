"""The command line. What a command needs is imported when it runs, so that --help is quick.

Exit codes: 0 all good; 1 some trial failed; 2 wrong input, told on stderr; 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from trainers.validation import InvalidInput, nearest

GOOD, SOME_FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = build_parser().parse_args(given)
    options.command_line = given
    try:
        return int(options.run(options))
    except InvalidInput as error:
        for line in str(error).splitlines():
            print(f"sweeper: error: {line}", file=sys.stderr)
        return WRONG_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return GOOD


def _plan(options: argparse.Namespace) -> int:
    from sweeper.commands.planning import plan

    return plan(options)


def _launch(options: argparse.Namespace) -> int:
    from sweeper.commands.launching import launch

    return launch(options)


def _retry(options: argparse.Namespace) -> int:
    from sweeper.commands.launching import retry

    return retry(options)


def _status(options: argparse.Namespace) -> int:
    from sweeper.commands.looking import status

    return status(options)


def _runs(options: argparse.Namespace) -> int:
    from sweeper.commands.looking import runs

    return runs(options)


def _track(options: argparse.Namespace) -> int:
    from sweeper.commands.looking import track

    return track(options)


def _ui(options: argparse.Namespace) -> int:
    from sweeper.commands.browsing import ui

    return ui(options)


def _report(options: argparse.Namespace) -> int:
    from pathlib import Path

    from reports import build_report
    from sweeper.commands.browsing import tracking_of

    out = Path(options.out)
    page = build_report(options.sweeps, tracking_of(options, options.sweeps), out)
    print(f"The report: {page}")
    return GOOD


def _export(options: argparse.Namespace) -> int:
    from sweeper.commands.exporting import export

    return export(options)


class _Parser(argparse.ArgumentParser):
    """Errors in the words of the rest of the program, with the nearest valid choice."""

    def error(self, message: str) -> NoReturn:
        choice = re.fullmatch(r"argument (.+): invalid choice: '(.*)' \(choose from (.*)\)", message)
        if choice:
            known = [word.strip(" '") for word in choice[3].split(",")]
            message = f"{choice[1]}: {choice[2]!r} is not one of {', '.join(known)}{nearest(choice[2], known)}"
        unknown = re.fullmatch(r"unrecognized arguments: (.*)", message)
        if unknown:
            flags = [flag for parser in (self, *_subparsers(self)) for flag in parser._option_string_actions]
            message += nearest(unknown[1].split()[0].partition("=")[0], flags)
        sys.stderr.write(f"sweeper: error: {message}\n(see {self.prog} --help)\n")
        raise SystemExit(WRONG_INPUT)


def _subparsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    choices = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [subparser for parsers in choices for subparser in parsers.values()]


def build_parser() -> argparse.ArgumentParser:
    """The command line: every command with its flags and an example."""
    parser = _Parser(
        prog="sweeper",
        description="Sweeps of networks made of random weights: plan, launch, browse, report.",
        epilog="example: sweeper launch digits_quickstart && sweeper report digits_quickstart -o report",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(
        name: str, run: Callable[[argparse.Namespace], int], what: str, example: str
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name, help=what, description=what[0].upper() + what[1:] + ".", epilog=f"example: {example}"
        )
        added.set_defaults(run=run)
        added.add_argument(
            "--storage", metavar="DIR", default=os.environ.get("SWEEPER_STORAGE", "sweeper-storage"),
            help="where results lie (default: %(default)s; the variable SWEEPER_STORAGE sets another)",
        )  # fmt: skip
        return added

    added = command(
        "plan", _plan, "show what a launch would train, and what is stored already", "sweeper plan lenet_splits.yaml"
    )
    _add_spec(added)
    added.add_argument(
        "--json", action="store_true", help="trials, stages, epochs_alone, epochs_shared, stored as JSON"
    )

    added = command(
        "launch", _launch, "train what is not stored yet; launching again goes on",
        "sweeper launch lenet_options --set 'seeds=[0]' --set 'options=[2, 8]' --data-dir ~/data",
    )  # fmt: skip
    _add_spec(added)
    _add_resources(added)

    added = command("retry", _retry, "launch again what failed", "sweeper retry lenet_options")
    added.add_argument("sweep", metavar="SWEEP", help="a sweep that was launched")
    _add_resources(added)

    added = command("status", _status, "show how far sweeps are", "sweeper status lenet_options")
    added.add_argument("sweep", metavar="SWEEP", nargs="?", help="one sweep in detail (default: all, a line each)")
    added.add_argument("--json", action="store_true", help="as JSON")

    added = command("runs", _runs, "list the trials of a sweep", "sweeper runs lenet_options --json")
    added.add_argument("sweep", metavar="SWEEP", help="a sweep that was launched")
    added.add_argument("--json", action="store_true", help="as JSON")

    added = command(
        "track", _track, "bring MLflow up to date with what is stored, after an outage", "sweeper track lenet_options"
    )
    added.add_argument("sweep", metavar="SWEEP", help="a sweep that was launched")
    _add_tracking(added)

    added = command(
        "ui", _ui, "open MLflow's UI on what the sweeps wrote, for this machine only", "sweeper ui lenet_options"
    )
    added.add_argument("sweep", metavar="SWEEP", nargs="?", help="print the link to this sweep (default: to all)")
    added.add_argument("--port", type=_port, default=5000, help="the first port to try (default: %(default)s)")
    _add_tracking(added)

    added = command(
        "report",
        _report,
        "write report.html, report.md, table.csv and figures",
        "sweeper report lenet_options -o report",
    )
    added.add_argument("sweeps", metavar="SWEEP", nargs="+", help="sweeps that were launched")
    added.add_argument("-o", "--out", metavar="DIR", required=True, help="where the report goes")
    _add_tracking(added)

    added = command(
        "export",
        _export,
        "write trained networks as tickets: seed, recipe and what every connection chose",
        "sweeper export lenet_options 'K=8 GS seed 0' -o tickets",
    )
    added.add_argument("sweep", metavar="SWEEP", help="a sweep that was launched")
    added.add_argument("trials", metavar="TRIAL", nargs="*", help="trials as `sweeper runs` names them (default: all)")
    added.add_argument("-o", "--out", metavar="DIR", required=True, help="where the tickets go")
    added.add_argument(
        "--phase", choices=["last", "slot", "finetune"], default="last", help="at whose end (default: %(default)s)"
    )
    return parser


def _add_spec(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("spec", metavar="SPEC", help="a YAML file, or the name of a bundled spec")
    parser.add_argument(
        "--set", metavar="field=value", action="append", default=[], dest="overrides",
        help="change a field of the spec or of its recipes, for this time (again for more)",
    )  # fmt: skip
    _add_data(parser)


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-dir", metavar="DIR", default=os.environ.get("SWEEPER_DATA_DIR"),
        help="a folder with the data sets, in torchvision's layout (the variable SWEEPER_DATA_DIR sets it too)",
    )  # fmt: skip


def _add_resources(parser: argparse.ArgumentParser) -> None:
    if parser.prog.endswith("retry"):
        _add_data(parser)
    _add_tracking(parser)
    parser.add_argument(
        "--tracking-optional",
        action="store_true",
        help="start although the tracking server does not answer; catch up later",
    )
    parser.add_argument("--cpus-per-trial", metavar="F", type=_share, help="CPUs, and threads, of a trial (default: 1)")
    parser.add_argument(
        "--gpus-per-trial",
        metavar="F",
        type=_share_or_none,
        help="GPUs of a trial; 0.25 packs four on one (default: 0)",
    )
    parser.add_argument(
        "--max-parallel", metavar="N", type=_count, help="trials at once (default: as many as the CPUs and GPUs take)"
    )
    parser.add_argument(
        "--ray-address", metavar="HOST:PORT", default=os.environ.get("RAY_ADDRESS"),
        help="join this Ray cluster (default: start Ray on this machine alone); the storage must be a shared folder",
    )  # fmt: skip
    parser.add_argument(
        "--save-seconds", metavar="S", type=_seconds, default=30.0,
        help="save stages on their way that often; a killed worker loses no more (default: %(default)g)",
    )  # fmt: skip
    parser.add_argument("--local", action="store_true", help="one stage after the other in this process, without Ray")
    parser.add_argument("--no-download", action="store_true", help="do not download data; they must be there")


def _add_tracking(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tracking", metavar="URI", default=os.environ.get("MLFLOW_TRACKING_URI"),
        help="where MLflow is: sqlite:///FILE, http://HOST:PORT, postgresql://… (default: mlflow.db in the storage)",
    )  # fmt: skip


def _share(text: str) -> float:
    value = _share_or_none(text)
    if value == 0:
        raise argparse.ArgumentTypeError(f"must be above 0, not {text}")
    return value


def _share_or_none(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, not {text!r}") from None
    if not 0 <= value < 10_000:
        raise argparse.ArgumentTypeError(f"must be a number from 0, not {text}")
    if value > 1 and value != int(value):
        raise argparse.ArgumentTypeError(f"above 1 it must be a whole number, not {text}")
    return value


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number of seconds, not {text!r}") from None
    if not 0 <= value <= 86_400:
        raise argparse.ArgumentTypeError(f"must be from 0 to 86400 seconds, not {text}")
    return value


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, not {text!r}")
    return int(text)


def _port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65_535:
        raise argparse.ArgumentTypeError(f"must be a port from 1 to 65535, not {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
