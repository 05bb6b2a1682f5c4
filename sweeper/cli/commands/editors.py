"""`sweeper schema`, the JSON Schema of a spec, and `sweeper completion`: for editors and shells."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sweeper.cli.command import ExitCode, OneOf, command
from sweeper.cli.completion import SHELLS, files, script
from trainers.errors import InvalidInput


@command("sweeper schema -o sweep.schema.json")
@click.option("-o", "--out", metavar="FILE", shell_complete=files, help="where it goes (default: it is printed)")
def schema(out: str | None) -> int:
    """Writes the schema."""
    from search_spaces.json_schema import spec_schema

    text = json.dumps(spec_schema(), indent=1)
    if out is None:
        print(text)
        return ExitCode.GOOD
    path = Path(out)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"out: cannot write {path}: {error.strerror}") from None
    print(f"The schema: {path}; the first line of a spec then says: # yaml-language-server: $schema={path}")
    return ExitCode.GOOD


@command("sweeper completion bash > ~/.local/share/bash-completion/completions/sweeper")
@click.argument("shell", metavar="SHELL", type=OneOf(SHELLS), help=", ".join(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Prints what a shell is to evaluate."""
    print(script(shell, context.find_root().command))
    return ExitCode.GOOD
