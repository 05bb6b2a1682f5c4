"""The real command line as processes, with this checkout importable from anywhere."""

import os
import subprocess
import sys
from pathlib import Path

from tests.sweeper.forked import Forked

ROOT = Path(__file__).resolve().parents[2]


def command(*arguments: object) -> list[str]:
    """The command line as a user's shell would run it."""
    return [sys.executable, "-m", "sweeper", *map(str, arguments)]


def environment() -> dict[str, str]:
    """As the tests have it, with this checkout importable from anywhere."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def start_sweeper(
    *arguments: object, out: Path, program: str = "", cwd: Path | None = None, anew: bool = False, **variables: str
) -> subprocess.Popen[bytes] | Forked:
    """Starts the real command, as the leader of a process group of its own, and lets it run.

    `program`: Python that ends by calling it, after it has arranged for something to happen. `anew`: in a Python that
    starts, for what depends on how it does: which packages it finds, or the environment.
    """
    if not anew:
        return Forked(program, list(map(str, arguments)), out, cwd, environment() | variables)
    started = [sys.executable, "-c", program, *map(str, arguments)] if program else command(*arguments)
    with out.open("ab") as file:
        return subprocess.Popen(
            started, stdout=file, stderr=file, cwd=cwd, env=environment() | variables, start_new_session=True
        )


def claimed(storage: Path) -> set[str]:
    """The stages that some launch trains now."""
    return {path.name.partition(".")[0] for path in (storage / "claims").glob("*.*")}
