"""Which tests run in one process where several run side by side: those of one file, as they share its dear fixtures.

xdist's own groups (`--dist loadgroup`) are lost with pytest 9.2 and xdist 3.8: marks no longer reach tests' names.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from xdist.scheduler import LoadScopeScheduling

_GROUP = re.compile(r'xdist_group\("(\w+)"\)')


class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Hands out files whole, in the order of collection; tests that start Ray or servers one by one."""

    def __init__(self, config: Any, log: Any) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)
        self._root = Path(config.rootpath)

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return _scope(self._root / file) or nodeid


@cache
def _scope(path: Path) -> str | None:
    """The group that a file names, or else the file; None where its tests are handed out one by one."""
    text = path.read_text(encoding="utf-8")
    if group := _GROUP.search(text):
        return group[1]
    return None if "mark.cluster" in text else str(path)
