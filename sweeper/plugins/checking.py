"""A plug-in tried in a process of its own, before anything is planned or trained with it: it may do whatever it likes.

What passed is remembered on this machine, by its digest, what was tried, and the sources of `trainers`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sweeper.plugins.folder import PlugInFolder
from sweeper.plugins.importing import imported_folder
from trainers.cache_folder import cache_folder
from trainers.data.files import missing_files
from trainers.data.registry import IMAGE_FOLDER, data_set_named
from trainers.errors import InvalidInput
from trainers.hashing import content_hash
from trainers.networks.registry import network_arguments
from trainers.numerics import running_sources
from trainers.plugins.known import PlugIn, is_of_plugin, key_of, split
from trainers.recipe.recipe import Recipe

PATIENCE_SECONDS = 300.0  # a check takes some; what hangs must not hang a launch
PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from sweeper.plugins.trial import main; sys.exit(main())"
WRONG = 2  # the exit code for a rule that is broken and said so
_FRAME = re.compile(r'File "([^"]+)", line (\d+)')

Try = tuple[str, str, Mapping[str, Any]]  # a registry, a name in it, and options


def check_import(folder: PlugInFolder) -> None:
    """Sees that a plug-in can be imported and registers what it should. Raises InvalidInput that says where not."""
    _check(folder, ())


def check_use(plugins: Sequence[PlugIn], recipes: Sequence[Recipe], data_dir: Path | None) -> None:
    """Tries all of the plug-ins that these recipes use, each with its options. Raises InvalidInput.

    A data set is read if its files are there, in `data_dir` or with the plug-in.
    """
    for plugin in plugins:
        folder = imported_folder(plugin.digest)
        assert folder is not None, "what is used was imported"
        tries = {content_hash(one): one for recipe in recipes for one in _tries(recipe, plugin, data_dir)}
        if tries:
            _check(folder, [tries[key] for key in sorted(tries)])


def _tries(recipe: Recipe, plugin: PlugIn, data_dir: Path | None) -> Iterator[Try]:
    def is_own(name: str) -> bool:
        return is_of_plugin(name) and key_of(name, recipe.plugins) == plugin.key

    if is_own(recipe.method):
        yield "METHODS", recipe.method.partition(".")[2], recipe.method_fields()
    if is_own(recipe.network) and recipe.dataset != IMAGE_FOLDER:
        data_set = data_set_named(recipe.dataset, recipe.plugins)
        what = {"input_shape": data_set.input_shape, "classes": data_set.classes, "task": data_set.task}
        yield "NETWORKS", recipe.network.partition(".")[2], {**what, **network_arguments(recipe)}
    if is_own(recipe.dataset):
        data_set = data_set_named(recipe.dataset, recipe.plugins)
        with_plugin = data_set.installed is not None or not data_set.files
        if with_plugin or (data_dir and not missing_files(data_dir, data_set.files)):
            told = None if with_plugin else str(data_dir)
            yield "DATA_SETS", recipe.dataset.partition(".")[2], {"data_dir": told}
    for name in split(recipe.costs):
        if is_own(name):
            yield "COSTS", name.partition(".")[2], {}


def _check(folder: PlugInFolder, tries: Sequence[Try]) -> None:
    passed = _passed(folder, tries)
    if passed is not None and passed.exists():
        return
    told = json.dumps({"folder": str(folder.copy()), "name": folder.name, "tries": tries})
    command = [sys.executable, "-c", PROGRAM, str(Path(__file__).parents[2])]
    try:
        done = subprocess.run(command, input=told, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        raise InvalidInput(f"plugins: {folder.name}: no end of its check after {PATIENCE_SECONDS:.0f} s") from None
    if done.returncode:
        raise InvalidInput(f"plugins: {_reason(folder, done)}")
    if passed is not None:
        with suppress(OSError):
            passed.parent.mkdir(mode=0o700, exist_ok=True)
            passed.touch()


def _passed(folder: PlugInFolder, tries: Sequence[Try]) -> Path | None:
    """The file that is there once this check has passed."""
    kept = cache_folder()
    return kept / "checked_plugins" / content_hash([folder.digest, tries, running_sources()]) if kept else None


def _reason(folder: PlugInFolder, done: subprocess.CompletedProcess[str]) -> str:
    """Why a check failed, with the plug-in's file and line, the folder called as its author does."""
    home, lines = f"{folder.copy().parent}/", done.stderr.strip().splitlines()
    if done.returncode == WRONG:
        return "\nplugins: ".join(lines).replace(home, "")
    if not lines or done.returncode < 0:
        return f"{folder.name}: its check ended with exit code {done.returncode} and no word"
    own = [frame for frame in _FRAME.findall("\n".join(lines)) if frame[0].startswith(home)]
    where = f"{own[-1][0].removeprefix(home)}:{own[-1][1]}" if own else folder.name
    absolute = f"No module named '{folder.name}" in lines[-1]
    return f"{where}: {lines[-1]}" + (" (in a plug-in: from .file import name)" if absolute else "")
