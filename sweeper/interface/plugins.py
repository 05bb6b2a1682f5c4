"""Plug-ins for programs: their networks, tickets and recipes."""

from __future__ import annotations

from pathlib import Path

from sweeper.plugins.checking import check_import
from sweeper.plugins.folder import PlugInFolder
from sweeper.plugins.importing import imported


def use_plugin(folder: str | Path) -> str:
    """Runs the code of a plug-in's folder, so that this process can train, and load tickets, with what it brings.

    Returns its key, which recipes have in `plugins`. Raises InvalidInput where it cannot be imported.
    """
    files = PlugInFolder.read(Path(folder))
    check_import(files)
    return imported(files).key
