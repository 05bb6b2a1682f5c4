"""`sweeper plugin new`: a method, a network, a data set or a cost of one's own to begin with, its test and a spec."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from sweeper.cli.command import ExitCode, OneOf, command
from sweeper.cli.completion import folders


@command("sweeper plugin new my_methods")
@click.argument("action", metavar="new", type=OneOf(["new"]), help="what to do")
@click.argument("folder", metavar="DIR", shell_complete=folders, help="the folder to write, named as the plug-in")
@click.option(
    "--kind", type=OneOf(["method", "network", "data_set", "cost"]), default="method",
    help="what it brings (default: method)",
)  # fmt: skip
def plugin(action: str, folder: str, kind: str) -> int:
    """Writes a plug-in, its test and a spec of it."""
    from sweeper.plugins.example import write_example

    test, spec = write_example(Path(folder), kind)
    print(f"A {kind.replace('_', ' ')} of your own: {test.parent}, with a test of it; {spec} trains it. Next:")
    for words in (
        ["python", "-m", "pytest", str(test)],
        ["sweeper", "plan", str(spec), "--allow-plugins"],
        ["sweeper", "launch", str(spec), "--local"],
    ):
        print(f"  {shlex.join(words)}")
    return ExitCode.GOOD
