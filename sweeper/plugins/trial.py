"""The program that tries a plug-in: told on its input what to import and what to check; silent where all is well."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sweeper.plugins.folder import PlugInFolder
from sweeper.plugins.importing import imported
from trainers.errors import InvalidInput
from trainers.plugins.known import code_of


def main() -> int:
    """Returns 2 where a rule is broken, and what it is on the error output; whatever the plug-in raises is raised."""
    told = json.loads(sys.stdin.read())
    folder = PlugInFolder.read(Path(told["folder"]))
    try:
        plugin = imported(folder)
        for registry, name, options in told["tries"]:
            from trainers.checks import CHECKS

            CHECKS[registry](code_of(registry, f"{plugin.name}.{name}", plugin.key), **options)
    except InvalidInput as error:
        print(error, file=sys.stderr)
        return 2
    return 0
