"""Plug-ins that commands may run: agreed to by --allow-plugins, at the terminal, or before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from search_spaces.spec import Spec, entry_of
from sweeper.cli.command import answered_yes, may_ask
from sweeper.launch.sweep import reachable
from sweeper.plugins.checking import check_import, check_use
from sweeper.plugins.folder import PlugInFolder
from sweeper.plugins.importing import imported, imported_folder, is_imported
from sweeper.plugins.stored import keep, kept_folder, other_states
from sweeper.plugins.trust import is_agreed, remember
from sweeper.storage.base import Place
from trainers.errors import InvalidInput
from trainers.plugins.known import SHOWN, PlugIn
from trainers.recipe.recipe import Recipe

FILES_SHOWN = 20


def plugin_reader(allowed: bool, yes: bool = False) -> Callable[[Path], dict[str, Any]]:
    """What reads the plug-ins of a spec. `allowed`: by --allow-plugins; `yes`: nobody is to be asked."""

    def read(path: Path) -> dict[str, Any]:
        return entry_of(_use(PlugInFolder.read(path), str(path), allowed, yes)).model_dump()

    return read


def ready_plugins(spec: Spec, storage: Place, allowed: bool, yes: bool = False) -> list[PlugIn]:
    """The plug-ins of a spec, imported: from the storage where its folder was not read. Raises InvalidInput."""
    plugins = spec.plugins_used()
    for plugin in plugins:
        if not is_imported(plugin):
            place = f"{storage}, where it is kept"
            found = _use(imported_folder(plugin.digest) or kept_folder(storage, plugin.digest), place, allowed, yes)
            if found != plugin:
                raise InvalidInput(f"plugins: {plugin.name}: the spec tells other facts of it than its code does")
    return plugins


def checked_plugins(spec: Spec, storage: Place, data_dir: Path | None, allowed: bool, yes: bool = False) -> list[str]:
    """Tries what a spec uses of its plug-ins; returns what is to be said of them. Writes nothing. InvalidInput."""
    plugins = ready_plugins(spec, storage, allowed, yes)
    if not plugins:
        return []
    check_use(plugins, reachable(spec), data_dir)
    return other_states(storage, plugins)


def check_launched(plugins: Sequence[PlugIn], recipes: Sequence[Recipe], storage: Place, data_dir: Path | None) -> None:
    """Tries what recipes use of the plug-ins; prints what is to be said of them. Raises InvalidInput."""
    check_use(plugins, recipes, data_dir)
    for line in other_states(storage, plugins):
        print(line, flush=True)


def keep_all(plugins: Sequence[PlugIn], storage: Place) -> dict[str, str]:
    """Puts plug-ins into the storage. Returns digests by key. While none is swept up: nothing refers to them yet."""
    for plugin in plugins:
        keep(storage, plugin)
    return {plugin.key: plugin.digest for plugin in plugins}


def submitted(spec: Spec) -> tuple[Spec, dict[str, bytes]]:
    """A spec that names its plug-ins by folders beside it, and the files of these, by their paths: for elsewhere."""
    found = [imported_folder(plugin.digest) for plugin in spec.plugins_used()]
    folders = [folder for folder in found if folder is not None]
    files = {f"plugins/{one.name}/{name}": content for one in folders for name, content in one.files.items()}
    return spec.model_copy(update={"plugins": [f"./plugins/{one.name}" for one in folders]}), files


def _use(folder: PlugInFolder, where: str, allowed: bool, yes: bool) -> PlugIn:
    """Imports a plug-in once its user has agreed and it was seen, in another process, that it can be."""
    if allowed or is_agreed(folder.digest):
        pass
    elif not may_ask(yes):
        raise InvalidInput(
            f"plugins: {where}: it holds code ({folder.name}, digest {folder.digest[:SHOWN]}…), which runs only for "
            "whom agreed: --allow-plugins, or an answer at a terminal"
        )
    elif not _answered(folder, where):
        raise InvalidInput(f"plugins: {folder.name} was not agreed to, and nothing of it was run")
    remember(folder.digest)
    check_import(folder)
    return imported(folder)


def _answered(folder: PlugInFolder, where: str) -> bool:
    names = sorted(folder.files)
    more = [f"  … and {len(names) - FILES_SHOWN} more"] if len(names) > FILES_SHOWN else []
    print(f"The spec uses code: the plug-in {folder.name} in {where}, digest {folder.digest}:")
    print(*(f"  {name} ({len(folder.files[name]):,} bytes)" for name in names[:FILES_SHOWN]), *more, sep="\n")
    return answered_yes("Run it, now and whenever these very files are asked for?")
