"""Completion in a shell: the script that it evaluates, and what an argument is offered."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class, shell_complete, split_arg_string

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_SWEEPER_COMPLETE"  # set by a shell that asks
Offered = list[CompletionItem[str]]


def script(shell: str, cli: click.Command) -> str:
    """The script that this shell evaluates."""
    shell_class = get_completion_class(shell)
    assert shell_class is not None, shell
    return shell_class(cli, {}, "sweeper", VARIABLE).source()


def answer(cli: click.Command, environment: Mapping[str, str]) -> int:
    """Tells a shell what may come next on a command line; returns the exit code."""
    if VARIABLE in environment:
        return shell_complete(cli, {}, "sweeper", VARIABLE, environment[VARIABLE])
    return _answer_old_script(cli, environment)


def _answer_old_script(cli: click.Command, environment: Mapping[str, str]) -> int:
    """The same for argcomplete's scripts, which people have in their folders: words on descriptor 8."""
    line = environment["COMP_LINE"][: int(environment["COMP_POINT"])]
    words = split_arg_string(line)
    incomplete = words.pop() if line[-1:].strip() else ""
    found = ShellComplete(cli, {}, "sweeper", VARIABLE).get_completions(words[1:], incomplete)
    between = environment.get("_ARGCOMPLETE_IFS", "\v")
    with open(environment.get("_ARGCOMPLETE_STDOUT_FILENAME", 8), "w", encoding="utf-8") as out:
        out.write(between.join(item.value for item in found if item.type == "plain"))
    return 0


def specs(context: click.Context, parameter: click.Parameter, incomplete: str) -> Offered:
    """Bundled specs and chains, YAML files, and folders that may have some."""
    from search_spaces.loading import bundled_chains, bundled_specs

    bundled = [name for name in (*bundled_specs(), *bundled_chains()) if name.startswith(incomplete)]
    return [*folders(context, parameter, incomplete), *map(CompletionItem, [*bundled, *_yaml_files(incomplete)])]


def _yaml_files(incomplete: str) -> list[str]:
    folder, name = os.path.split(incomplete)
    try:
        files = sorted(path.name for path in Path(folder).expanduser().iterdir() if path.suffix in (".yaml", ".yml"))
    except OSError:
        return []
    return [os.path.join(folder, file) for file in files if file.startswith(name)]


def sweeps(context: click.Context, parameter: click.Parameter, incomplete: str) -> Offered:
    """The sweeps in the storage that the command line names, or in the default one."""
    if "storage" not in context.params:
        return []  # what lies on a cluster only the cluster knows
    from sweeper.records.sweep_folder import SweepFolder
    from sweeper.storage.place import storage_at

    storage = storage_at(context.params["storage"])
    names = SweepFolder.names(storage) if isinstance(storage, Path) else []  # a shell is not to wait for a bucket
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def folders(context: click.Context, parameter: click.Parameter, incomplete: str) -> Offered:
    """An item by which the shell itself completes folders."""
    return [CompletionItem(incomplete, type="dir")]


def files(context: click.Context, parameter: click.Parameter, incomplete: str) -> Offered:
    """An item by which the shell itself completes files."""
    return [CompletionItem(incomplete, type="file")]
