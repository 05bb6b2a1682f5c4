"""What parses the command line, and how a command is added to it."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable
from typing import NoReturn, Protocol

from trainers.recipe.errors import nearest

WRONG_INPUT = 2


class Parser(argparse.ArgumentParser):
    """Errors in the words of the rest of the program, with the nearest valid choice."""

    def error(self, message: str) -> NoReturn:
        choice = re.fullmatch(r"argument (.+): invalid choice: '(.*)' \(choose from (.*)\)", message)
        if choice:
            known = [word.strip(" '") for word in choice[3].split(",")]
            message = f"{choice[1]}: {choice[2]!r} is not one of {', '.join(known)}{nearest(choice[2], known)}"
        message = message.removeprefix("argument ")
        unknown = re.fullmatch(r"unrecognized arguments: (.*)", message)
        if unknown:
            flags = [flag for parser in (self, *subparsers(self)) for flag in parser._option_string_actions]
            message += nearest(unknown[1].split()[0].partition("=")[0], flags)
        sys.stderr.write(f"sweeper: error: {message}\n(see {self.prog} --help)\n")
        raise SystemExit(WRONG_INPUT)


def subparsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """The parsers of the commands."""
    choices = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [subparser for parsers in choices for subparser in parsers.values()]


class AddCommand(Protocol):
    """Adds a command: its name, what it runs, what it does, an example; whether it looks into a storage."""

    def __call__(
        self, name: str, run: Callable[[argparse.Namespace], int], what: str, example: str, stored: bool = True
    ) -> argparse.ArgumentParser: ...


def command_of(commands: argparse._SubParsersAction[Parser]) -> AddCommand:
    """What adds a command to these."""

    def command(
        name: str, run: Callable[[argparse.Namespace], int], what: str, example: str, stored: bool = True
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name, help=what, description=what[0].upper() + what[1:] + ".", epilog=f"example: {example}"
        )
        added.set_defaults(run=run)
        if stored:
            added.add_argument(
                "--storage", metavar="PLACE", default=os.environ.get("SWEEPER_STORAGE", "sweeper-storage"),
                help="where results lie: a folder, or a bucket such as s3://BUCKET/PREFIX (default: %(default)s; the "
                "variable SWEEPER_STORAGE sets another)",
            )  # fmt: skip
        return added

    return command
