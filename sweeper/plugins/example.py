"""A plug-in to begin with, its test, and a spec that trains it, written from the files in `template/`."""

from __future__ import annotations

import keyword
import sys
from importlib.resources import files
from pathlib import Path

from sweeper.plugins.folder import ENTRY, PlugInFolder
from trainers.errors import InvalidInput

NAME = "my_methods"  # what the plug-in is called in the template


# What it may bring, with the names of its files in `template/`: the plug-in, its test, its spec.
KINDS = {
    "method": ("method", "test", "spec"),
    "network": ("network", "network_test", "network_spec"),
    "data_set": ("data_set", "data_set_test", "data_set_spec"),
    "cost": ("cost", "cost_test", "cost_spec"),
}


def write_example(folder: Path, kind: str = "method") -> tuple[Path, Path]:
    """Writes a plug-in that works, and a spec beside it. Returns its test and the spec.

    Raises InvalidInput where something is there already, for a name that no plug-in can have, or that Python has taken.
    """
    name = PlugInFolder.name_of(folder)
    if keyword.iskeyword(name) or name in sys.stdlib_module_names:
        raise InvalidInput(f"plugins: {name!r}: Python itself has that name, so that no test could import it")
    test, spec = folder / f"test_{name}.py", folder.parent / f"{name}.yaml"
    for path in (folder, spec):
        if path.exists() or path.is_symlink():
            raise InvalidInput(f"plugins: {path} is there already, and is left as it is; choose another name")
    try:
        folder.mkdir(parents=True)
        for file, part in zip((folder / ENTRY, test, spec), KINDS[kind], strict=True):
            file.write_text(template(part).replace(NAME, name), encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"plugins: cannot write {folder}: {error.strerror}") from None
    return test, spec


def template(part: str) -> str:
    """The text of a file of `template/`, for a plug-in called my_methods."""
    return files("sweeper.plugins").joinpath("template", f"{part}.txt").read_text(encoding="utf-8")
