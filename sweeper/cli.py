"""The command line. What a command needs is imported when it runs, so that --help is quick.

Exit codes: 0 all good; 1 some trial failed; 2 wrong input, told on stderr; 3 a limit of the spec was reached; 130
interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from sweeper.argument_types import (
    count,
    count_from_zero,
    days,
    hours,
    port,
    seconds,
    share_none_or_auto,
    share_or_auto,
    status_name,
)
from trainers.validation import InvalidInput, nearest

# The words of a few arguments: the modules that act on them take long to import, and tests hold these equal to theirs.
SORTS = ("arm", "seed", "status", "epochs", "seconds", "validation_accuracy", "test_accuracy")
SHELLS = ("bash", "zsh", "fish")
GOOD, SOME_FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code."""
    parser = build_parser()
    if "_ARGCOMPLETE" in os.environ:  # a shell asks what might come next
        from sweeper.completion import answer

        answer(parser)
    options = parser.parse_args(arguments)
    options.given = _given(arguments)
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
    from search_spaces.chains import load_chain
    from sweeper.commands.planning import plan

    # A chain stands alone: what its sweeps have in common it says itself.
    if len(options.specs) == 1 and (linked := load_chain(options.specs[0], options.overrides)):
        from sweeper.commands.chaining import plan_chain

        return plan_chain(options, linked)
    return plan(options)


def _launch(options: argparse.Namespace) -> int:
    if options.cluster:
        from sweeper.commands.on_cluster import launch_on_cluster

        return launch_on_cluster(options)
    from reports.statistics import estimate
    from search_spaces.chains import load_chain
    from sweeper.commands.launching import launch, launch_spec

    if linked := load_chain(options.spec, options.overrides):
        from sweeper.commands.chaining import launch_chain

        return launch_chain(linked, lambda spec: launch_spec(options, spec, estimate))
    return launch(options, estimate)


def _stop(options: argparse.Namespace) -> int:
    if options.cluster:
        from sweeper.commands.on_cluster import stop_on_cluster

        return stop_on_cluster(options)
    from sweeper.commands.stopping import stop

    return stop(options)


def _resume(options: argparse.Namespace) -> int:
    if options.cluster:
        from sweeper.commands.on_cluster import again_on_cluster

        return again_on_cluster(options)
    from reports.statistics import estimate
    from sweeper.commands.launching import resume

    return resume(options, estimate)


def _retry(options: argparse.Namespace) -> int:
    if options.cluster:
        from sweeper.commands.on_cluster import again_on_cluster

        return again_on_cluster(options)
    from reports.statistics import estimate
    from sweeper.commands.launching import retry

    return retry(options, estimate)


def _status(options: argparse.Namespace) -> int:
    if options.cluster:
        from sweeper.commands.on_cluster import status_on_cluster

        return status_on_cluster(options)
    from reports.statistics import estimate
    from sweeper.commands.looking import status

    return status(options, estimate)


def _logs(options: argparse.Namespace) -> int:
    from sweeper.commands.on_cluster import logs_on_cluster

    return logs_on_cluster(options)


def _data(options: argparse.Namespace) -> int:
    from sweeper.commands.data import data

    return data(options)


def _runs(options: argparse.Namespace) -> int:
    from sweeper.commands.looking import runs

    return runs(options)


def _compare(options: argparse.Namespace) -> int:
    from reports import statistics
    from sweeper.commands.comparing import compare

    return compare(options, statistics)


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
    from sweeper.commands.chaining import sweeps_of
    from sweeper.tracking import log_report
    from sweeper.tracking_address import without_password

    storage = Path(options.storage).expanduser().absolute()
    sweeps, missing = sweeps_of(storage, options.sweeps)
    tracking = tracking_of(options, sweeps)
    places = ["--tracking", without_password(options.tracking)] if options.tracking else ["--storage", options.storage]
    again = ["sweeper", "report", *options.sweeps, *places, "-o", "DIR"]
    page = build_report(sweeps, tracking, Path(options.out), missing, again)
    print(f"The report: {page}")
    if problem := log_report(tracking, sweeps, page):
        print(
            f"sweeper: warning: it is not among the artifacts of the sweeps' runs in MLflow: {problem}", file=sys.stderr
        )
    return GOOD


def _export(options: argparse.Namespace) -> int:
    from sweeper.commands.exporting import export

    return export(options)


def _import(options: argparse.Namespace) -> int:
    from sweeper.commands.importing import import_records

    return import_records(options)


def _gc(options: argparse.Namespace) -> int:
    from sweeper.commands.collecting import gc

    return gc(options)


def _schema(options: argparse.Namespace) -> int:
    from sweeper.commands.describing import schema

    return schema(options)


def _completion(options: argparse.Namespace) -> int:
    from sweeper.completion import script

    print(script(options.shell))
    return GOOD


def _complete_sweeps(**line: Any) -> Iterable[str]:
    from sweeper.completion import sweeps

    return sweeps(**line)


def _complete_specs(**line: Any) -> Iterable[str]:
    from sweeper.completion import specs

    return specs(**line)


class _Parser(argparse.ArgumentParser):
    """Errors in the words of the rest of the program, with the nearest valid choice."""

    def error(self, message: str) -> NoReturn:
        choice = re.fullmatch(r"argument (.+): invalid choice: '(.*)' \(choose from (.*)\)", message)
        if choice:
            known = [word.strip(" '") for word in choice[3].split(",")]
            message = f"{choice[1]}: {choice[2]!r} is not one of {', '.join(known)}{nearest(choice[2], known)}"
        message = message.removeprefix("argument ")
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
        name: str, run: Callable[[argparse.Namespace], int], what: str, example: str, stored: bool = True
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name, help=what, description=what[0].upper() + what[1:] + ".", epilog=f"example: {example}"
        )
        added.set_defaults(run=run)
        if stored:
            added.add_argument(
                "--storage", metavar="DIR", default=os.environ.get("SWEEPER_STORAGE", "sweeper-storage"),
                help="where results lie (default: %(default)s; the variable SWEEPER_STORAGE sets another)",
            )  # fmt: skip
        return added

    added = command(
        "plan", _plan, "show what a launch would train, what is stored already, and what it will take",
        "sweeper plan lenet_options --calibrate --max-parallel 8",
    )  # fmt: skip
    _add_spec(added, several=True)
    _add_shares(added)
    added.add_argument(
        "--calibrate", action="store_true",
        help="time a few batches of whatever no stored epoch tells of, about a minute at most, and remember it",
    )  # fmt: skip
    added.add_argument("--json", action="store_true", help="all of it as JSON")

    added = command(
        "launch", _launch, "train what is not stored yet; launching again goes on",
        "sweeper launch lenet_options --set 'seeds=[0]' --set 'options=[2, 8]' --data-dir ~/data",
    )  # fmt: skip
    _add_spec(added)
    _add_resources(added)
    _add_cluster(added, submits=True)

    added = command(
        "stop", _stop, "stop a launch that runs, here or on another machine: it finishes its epochs and saves",
        "sweeper stop lenet_options",
    )  # fmt: skip
    _add_sweep(added)
    added.add_argument("--no-wait", action="store_true", help="ask, and do not wait until it has stopped")
    _add_cluster(added)

    added = command(
        "resume", _resume, "go on with a sweep as it was launched last", "sweeper resume lenet_options --max-parallel 4"
    )
    _add_sweep(added)
    _add_resources(added, again=True)
    _add_cluster(added, submits=True)

    added = command("retry", _retry, "launch again what failed, as it was launched last", "sweeper retry lenet_options")
    _add_sweep(added)
    _add_resources(added, again=True)
    _add_cluster(added, submits=True)

    added = command("status", _status, "show how far sweeps are", "sweeper status lenet_options")
    _add_cluster(added)
    _add_sweep(added, "one sweep in detail (default: all, a line each)", nargs="?")
    added.add_argument("--watch", action="store_true", help="again and again, as long as a launch runs")
    added.add_argument("--json", action="store_true", help="as JSON")

    added = command(
        "logs", _logs, "show what a sweep on a cluster says, until it ends",
        "sweeper logs lenet_options --cluster http://HOST:8265", stored=False,
    )  # fmt: skip
    added.add_argument("sweep", metavar="SWEEP", help="a sweep that was launched there")
    _add_cluster(added, needed=True)

    added = command(
        "runs", _runs, "list the trials of a sweep",
        "sweeper runs lenet_options --arm GS --status COMPLETED --sort validation_accuracy",
    )  # fmt: skip
    _add_sweep(added)
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
        _completed(
            added.add_argument(name, metavar=metavar, help="a sweep, or an arm of one: SWEEP:ARM"), _complete_sweeps
        )
    added.add_argument(
        "--paired", action="store_true", help="pair the trials of one seed (default: independent trials)"
    )
    added.add_argument("--json", action="store_true", help="as JSON")

    added = command(
        "track", _track, "bring MLflow up to date with what is stored, after an outage", "sweeper track lenet_options"
    )
    _add_sweep(added)
    _add_tracking(added)

    added = command(
        "ui", _ui, "open MLflow's UI on what the sweeps wrote, for this machine only", "sweeper ui lenet_options"
    )
    _add_sweep(added, "print the link to this sweep (default: to all)", nargs="?")
    added.add_argument("--port", type=port, default=5000, help="the first port to try (default: %(default)s)")
    _add_tracking(added)

    added = command(
        "report",
        _report,
        "write report.html, report.md, report.tex, table.csv and figures",
        "sweeper report lenet_options -o report",
    )
    _completed(
        added.add_argument("sweeps", metavar="SWEEP", nargs="+", help="sweeps that were launched"), _complete_sweeps
    )
    added.add_argument("-o", "--out", metavar="DIR", required=True, help="where the report goes")
    _add_tracking(added)

    added = command(
        "import",
        _import,
        "bring in trials that were trained elsewhere, as JSON records (benchmarks/gpu.py writes such)",
        "sweeper import gpu/*.json --sweep conv_on_h200",
    )
    added.add_argument("files", metavar="FILE", nargs="+", help="a record, or a list of them, as JSON")
    added.add_argument("--sweep", metavar="NAME", required=True, help="what the sweep that they become is called")
    added.add_argument("--description", metavar="TEXT", default="", help="a sentence on it, for the report")
    _add_tracking(added)

    added = command(
        "export",
        _export,
        "write trained networks as tickets: seed, recipe and what every connection chose",
        "sweeper export lenet_options 'K=8 GS seed 0' -o tickets",
    )
    _add_sweep(added)
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

    added = command(
        "data", _data, "download data sets, and see that every file is the published one",
        "sweeper data fetch mnist cifar10 --data-dir /data", stored=False,
    )  # fmt: skip
    added.add_argument("action", metavar="fetch|check", choices=["fetch", "check"], help="what to do")
    added.add_argument("datasets", metavar="DATASET", nargs="*", help="which (check: all, unless some are named)")
    _add_data(added)
    added.add_argument("--mirror", metavar="URL", help="fetch URL/DATASET/FILE instead of where it is published")

    added = command(
        "schema", _schema, "write the JSON Schema of a spec, by which editors complete and check it",
        "sweeper schema -o sweep.schema.json", stored=False,
    )  # fmt: skip
    added.add_argument("-o", "--out", metavar="FILE", help="where it goes (default: it is printed)")

    added = command(
        "completion", _completion, "print what makes a shell complete sweeper's commands, specs and sweeps",
        "sweeper completion bash > ~/.local/share/bash-completion/completions/sweeper", stored=False,
    )  # fmt: skip
    added.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
    return parser


def _given(arguments: Sequence[str] | None) -> dict[str, Any]:
    """What the command line says, without what is the default on this machine."""
    parser = build_parser()
    for command in _subparsers(parser):
        for action in command._actions:
            action.default = argparse.SUPPRESS
    said = vars(parser.parse_args(arguments))
    return {name: value for name, value in said.items() if name not in ("command", "run")}


def _completed(action: argparse.Action, by: Callable[..., Iterable[str]]) -> None:
    """What a shell is offered for this argument."""
    action.completer = by  # type: ignore[attr-defined]  # where argcomplete looks for it


def _add_spec(parser: argparse.ArgumentParser, several: bool = False) -> None:
    what = "a YAML file, or the name of a bundled spec"
    if several:
        added = parser.add_argument("specs", metavar="SPEC", nargs="+", help=f"{what}; of several, what they share too")
    else:
        added = parser.add_argument("spec", metavar="SPEC", help=what)
    _completed(added, _complete_specs)
    parser.add_argument(
        "--set", metavar="field=value", action="append", default=[], dest="overrides",
        help="change a field of the spec or of its recipes, for this time (again for more)",
    )  # fmt: skip
    _add_data(parser)


def _add_sweep(
    parser: argparse.ArgumentParser, what: str = "a sweep that was launched", nargs: str | None = None
) -> None:
    _completed(parser.add_argument("sweep", metavar="SWEEP", nargs=nargs, help=what), _complete_sweeps)


def _add_data(parser: argparse.ArgumentParser, again: bool = False) -> None:
    default = "as it was launched last" if again else "the variable SWEEPER_DATA_DIR"
    parser.add_argument(
        "--data-dir", metavar="DIR", default=None if again else os.environ.get("SWEEPER_DATA_DIR"),
        help=f"a folder with the data sets, in torchvision's layout (default: {default})",
    )  # fmt: skip


def _add_resources(parser: argparse.ArgumentParser, again: bool = False) -> None:
    """How a launch is carried out. `again`: as the last launch, so that nothing but what is said here changes it."""

    def told(default: str) -> str:
        return "(default: as it was launched last)" if again else f"(default: {default})"

    add = parser.add_argument
    if again:
        _add_data(parser, again)
    _add_tracking(parser, again)
    add(
        "--tracking-optional", action=argparse.BooleanOptionalAction,
        help="start although the tracking server does not answer; catch up later",
    )  # fmt: skip
    _add_shares(parser, again)
    add(
        "--ray-address", metavar="HOST:PORT", default=None if again else os.environ.get("RAY_ADDRESS"),
        help=f"join this Ray cluster {told('start Ray on this machine alone')}; the storage must be a shared folder",
    )  # fmt: skip
    add(
        "--save-seconds", metavar="S", type=seconds,
        help=f"save stages on their way that often; a killed worker loses no more {told('30')}",
    )  # fmt: skip
    add(
        "--epoch-timeout", metavar="S", type=seconds,
        help="kill a worker that has finished no epoch for so long, and go on from what it saved; 0: never "
        + told("20 times the longest epoch of such a stage, and at least 300"),
    )  # fmt: skip
    add(
        "--max-retries", metavar="N", type=count_from_zero,
        help=f"try a stage again that often after faults that may pass, such as a lost worker {told('3')}",
    )  # fmt: skip
    add("--local", action=argparse.BooleanOptionalAction, help="one stage after the other in this process, without Ray")
    add("--download", action=argparse.BooleanOptionalAction, help="download data that are not there (default: do)")
    add(
        "--ask-above", metavar="HOURS", type=hours, default=1.0,
        help="at a terminal, ask before a launch that is estimated at more device-hours (default: %(default)g)",
    )  # fmt: skip
    add("--yes", action="store_true", help="never ask")


def _add_shares(parser: argparse.ArgumentParser, again: bool = False) -> None:
    """How trials share what they run on."""

    def told(default: str) -> str:
        return "(default: as it was launched last)" if again else f"(default: {default})"

    parser.add_argument(
        "--cpus-per-trial", metavar="F", type=share_or_auto,
        help=f"CPUs, and threads, of a trial; auto shares out the cores {told('1, and auto on GPUs')}",
    )  # fmt: skip
    parser.add_argument(
        "--gpus-per-trial", metavar="F", type=share_none_or_auto,
        help=f"GPUs of a trial; 0.25 packs four on one, auto as many as its memory takes {told('auto')}",
    )  # fmt: skip
    parser.add_argument(
        "--max-parallel", metavar="N", type=count,
        help=f"trials at once {told('as many as the CPUs and GPUs take')}",
    )  # fmt: skip


def _add_cluster(parser: argparse.ArgumentParser, submits: bool = False, needed: bool = False) -> None:
    default = os.environ.get("SWEEPER_CLUSTER") or None
    parser.add_argument(
        "--cluster", metavar="URL", default=default, required=needed and default is None,
        help="on the Ray cluster whose dashboard is there, http://HOST:8265; folders and addresses are then those of "
        "its machines (the variable SWEEPER_CLUSTER sets it too)",
    )  # fmt: skip
    if submits:
        parser.add_argument("--detach", action="store_true", help="with --cluster: do not wait for what it says")
        parser.add_argument(
            "--owner", metavar="NAME", default=os.environ.get("SWEEPER_OWNER", os.environ.get("USER", "unknown")),
            help="whose sweep it is (default: %(default)s; the variable SWEEPER_OWNER sets another)",
        )  # fmt: skip


def _add_tracking(parser: argparse.ArgumentParser, again: bool = False) -> None:
    default = "as it was launched last" if again else "mlflow.db in the storage"
    parser.add_argument(
        "--tracking", metavar="URI", default=None if again else os.environ.get("MLFLOW_TRACKING_URI"),
        help=f"where MLflow is: sqlite:///FILE, http://HOST:PORT, postgresql://… (default: {default})",
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
