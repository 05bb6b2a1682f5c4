"""The command line. What a command needs is imported when it runs, so that --help is quick.

Exit codes: 0 all good; 1 some trial failed; 2 wrong input, told on stderr; 3 a limit of the spec was reached; 130
interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from sweeper.cli import describing, keeping, looking, showing, training
from sweeper.cli.parser import WRONG_INPUT, Parser, command_of, subparsers
from trainers.recipe.errors import InvalidInput

GROUPS = (training, looking, showing, keeping, describing)  # in the order of --help
GOOD, INTERRUPTED = 0, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code."""
    parser = build_parser()
    if "_ARGCOMPLETE" in os.environ:  # a shell asks what might come next
        from sweeper.cli.completion import answer

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


def build_parser() -> argparse.ArgumentParser:
    """The command line: every command with its flags and an example."""
    parser = Parser(
        prog="sweeper",
        description="Sweeps of networks made of random weights: plan, launch, browse, report.",
        epilog="example: sweeper launch digits_quickstart && sweeper report digits_quickstart -o report",
    )
    parser.add_argument(
        "--version", action=_Version, nargs=0, dest=argparse.SUPPRESS, default=argparse.SUPPRESS,
        help="say which version this is, and of which commit",
    )  # fmt: skip
    command = command_of(parser.add_subparsers(dest="command", metavar="COMMAND", required=True))
    for group in GROUPS:
        group.add_commands(command)
    return parser


class _Version(argparse.Action):
    """Asks git, which takes a moment, only when it is wanted."""

    def __call__(self, parser: argparse.ArgumentParser, *given: object, **more: object) -> NoReturn:
        from sweeper.records.environment import sources

        known = sources()
        print(f"sweeper {known['version']} (commit {known['git_commit']})")
        parser.exit()


def _given(arguments: Sequence[str] | None) -> dict[str, Any]:
    """What the command line says, without what is the default on this machine."""
    parser = build_parser()
    for command in subparsers(parser):
        for action in command._actions:
            action.default = argparse.SUPPRESS
    said = vars(parser.parse_args(arguments))
    return {name: value for name, value in said.items() if name not in ("command", "run")}


if __name__ == "__main__":
    sys.exit(main())
