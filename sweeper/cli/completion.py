"""Completion in a shell: what `sweeper completion` prints, and the answers when the shell asks."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import argcomplete
from argcomplete.completers import FilesCompleter
from argcomplete.shell_integration import shellcode

SHELLS = ("bash", "zsh", "fish")


def script(shell: str) -> str:
    """What that shell is to evaluate."""
    return str(shellcode(["sweeper"], shell=shell))


def answer(parser: argparse.ArgumentParser) -> None:
    """Answers the shell that asks, and ends the process."""
    argcomplete.autocomplete(parser, always_complete_options="long")


def specs(prefix: str, **_: object) -> Iterable[str]:
    """Bundled specs, and YAML files."""
    from search_spaces.loading import bundled_specs

    files = FilesCompleter(["yaml", "yml"])
    return [*bundled_specs(), *files(prefix)]


def sweeps(parsed_args: argparse.Namespace, **_: object) -> Iterable[str]:
    """The sweeps in the storage that the line names, or in the usual one."""
    from sweeper.records.sweep_folder import SweepFolder
    from sweeper.storage.place import storage_at

    storage = storage_at(parsed_args.storage)
    return SweepFolder.names(storage) if isinstance(storage, Path) else []  # a shell is not to wait for a bucket
