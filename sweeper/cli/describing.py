"""Commands for editors and shells: schema, completion."""

from __future__ import annotations

import argparse

from sweeper.cli.parser import AddCommand

SHELLS = ("bash", "zsh", "fish")  # those of `sweeper.cli.completion`; a test holds them equal


def add_commands(command: AddCommand) -> None:
    """schema, completion."""
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


def _schema(options: argparse.Namespace) -> int:
    from sweeper.cli.commands.editors import schema

    return schema(options)


def _completion(options: argparse.Namespace) -> int:
    from sweeper.cli.completion import script

    print(script(options.shell))
    return 0
