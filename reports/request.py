"""What a report was asked for, and how to ask again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Asked:
    """What was asked for by name, where that is more than the names of sweeps."""

    title: str = ""  # of a chain; else the names of the sweeps say it
    description: str = ""
    missing: Sequence[str] = ()  # sweeps that belong to it and were not launched; the report says so
    again: Sequence[str] = ()  # the command that makes this report again
    for_papers: bool = False  # LaTeX, PDF, PNG and BibTeX too
    against: str = ""  # a report's folder or a sweep, of which it is to say what moved
