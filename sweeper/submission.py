"""What travels to a cluster with a sweep: this program's own files and the spec, named one by one, and nothing else."""

from __future__ import annotations

import json
import shutil
import sys
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from sweeper.environment import SUBMISSION, sources

PACKAGES = ("trainers", "search_spaces", "sweeper", "reports")
SUFFIXES = (".py", ".c", ".yaml", ".csv", ".j2", ".css", ".js")
SPEC = "sweep.yaml"


def write_submission(folder: Path, spec_text: str | None) -> None:
    """Fills an empty folder. What is not one of the kinds of file that the packages have stays here."""
    for package in PACKAGES:
        root = Path(str(files(package)))
        for path in sorted(root.rglob("*")):
            if path.suffix in SUFFIXES and path.is_file() and not path.is_symlink():
                target = folder / package / path.relative_to(root)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
    if spec_text is not None:
        (folder / SPEC).write_text(spec_text, encoding="utf-8")
    versions = {"python": f"{sys.version_info[0]}.{sys.version_info[1]}", "ray": version("ray")}
    (folder / SUBMISSION).write_text(json.dumps({"versions": versions, "sources": sources()}), encoding="utf-8")
