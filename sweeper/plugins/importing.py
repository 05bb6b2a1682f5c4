"""A plug-in's code in this process: imported from an own copy, under a name with its digest, so that several can be."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sweeper.plugins.folder import ENTRY, LIKE_PACKAGES, PlugInFolder
from trainers.errors import InvalidInput
from trainers.plugin_facts import facts_of_registries
from trainers.plugins.known import KINDS, SHOWN, PlugIn, has_code, know_code

_folders: dict[str, PlugInFolder] = {}  # by digest: those that this process has imported


def imported(folder: PlugInFolder) -> PlugIn:
    """Imports a plug-in, and lets this process train with it. Whatever its code raises is raised.

    Raises InvalidInput where what it registers is not what it should be.
    """
    plugin = PlugIn(folder.name, folder.digest, folder.version)
    module = _module(folder)
    registries: dict[str, Mapping[str, Any]] = {}
    for registry in KINDS:
        registries[registry] = getattr(module, registry, {})
        if not isinstance(registries[registry], Mapping):
            raise InvalidInput(f"plugins: {folder.name}/{ENTRY}: {registry}: a dict of what it brings by name")
    try:
        facts = facts_of_registries(registries)
    except InvalidInput as error:
        lines = str(error).splitlines()
        raise InvalidInput("\n".join(f"plugins: {folder.name}/{ENTRY}: {line}" for line in lines)) from None
    plugin = replace(plugin, facts=facts)
    know_code(plugin, registries)
    _folders[folder.digest] = folder
    return plugin


def imported_folder(digest: str) -> PlugInFolder | None:
    """The files of a plug-in that this process has imported."""
    return _folders.get(digest)


def is_imported(plugin: PlugIn) -> bool:
    """Whether this process can train with this very state of it."""
    return has_code(plugin.key, plugin.digest)


def module_name(folder: PlugInFolder) -> str:
    """What its module is called: two states of one plug-in are two modules."""
    return f"{folder.name}_{folder.digest[: 2 * SHOWN]}"


def versions_imported(folder: PlugInFolder) -> dict[str, str]:
    """The versions of the installed packages that a plug-in's files name in their imports."""
    found: dict[str, str] = {}
    for name, content in folder.files.items():
        for node in ast.walk(ast.parse(content)) if name.endswith(".py") else ():
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            for package in {one.partition(".")[0] for one in names} - sys.stdlib_module_names - set(LIKE_PACKAGES):
                with suppress(PackageNotFoundError, ValueError):
                    found[package] = version(package)
    return dict(sorted(found.items()))


def _module(folder: PlugInFolder) -> Any:
    name = module_name(folder)
    if name in sys.modules:
        return sys.modules[name]
    path: Path = folder.copy()
    spec = importlib.util.spec_from_file_location(name, path / ENTRY, submodule_search_locations=[str(path)])
    assert spec is not None and spec.loader is not None, "a file that ends in .py has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        for part in [one for one in sys.modules if one == name or one.startswith(f"{name}.")]:
            del sys.modules[part]  # half of it must not be found by those who try again
        raise
    return module
