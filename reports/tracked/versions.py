"""Of which version of a sweep's spec a tracked trial is: a run has a tag for each version that it belongs to.

Trackings from before versions were kept have no such tags: there all trials count.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainers.errors import InvalidInput

PRESENT, SIZES = "sweeper.spec_version", "sweeper.spec_versions"  # tags of the sweep's own run
OF_THE_PRESENT = ("sweeper.limits_reached", "sweeper.not_run", "sweeper.spec_hash")  # and of no other version


@dataclass(frozen=True)
class Shown:
    """The version that is reported."""

    number: int | None = None  # None: versions were not kept
    is_present: bool = True
    sizes: Mapping[int, int] | None = None  # how many trials each version has
    left_out: int = 0  # tracked trials that are of other versions only

    @property
    def lines(self) -> list[tuple[str, str]]:
        """Title and text of what a reader must know; nothing where there is but one version."""
        sizes = self.sizes or {}
        pairs = [("version of the spec", f"{self.number}, of {len(sizes)}")] if len(sizes) > 1 else []
        if self.left_out:
            which = "earlier" if self.is_present else "other"
            pairs.append((f"trials of {which} versions, not counted", f"{self.left_out:,}"))
        return pairs


ALL = Shown()  # trials of whatever version


def shown_version(sweep: str, tags: Mapping[str, str], asked: int | None) -> Shown:
    """The version asked for, else the present one, by the tags of the sweep's own run. Raises InvalidInput."""
    try:
        present = int(tags[PRESENT])
        sizes = {int(number): int(size) for number, size in json.loads(tags[SIZES]).items()}
    except (KeyError, ValueError, AttributeError):
        if asked is not None:
            raise InvalidInput(f"version: {sweep!r} is tracked without versions, so there is no {asked}") from None
        return ALL
    number = present if asked is None else asked
    if number not in sizes:
        known = ", ".join(map(str, sizes))
        raise InvalidInput(f"version: {sweep!r} has versions {known} in MLflow, and no {number}")
    return Shown(number, number == present, sizes)


def version_tag(number: int) -> str:
    """The tag that the runs of a version's trials have; its value is the name of the arm there."""
    return f"sweeper.v{number}"


def belonging(runs: Sequence[Any], shown: Shown) -> list[Any]:
    """Those of MLflow's runs that are of trials of the version shown."""
    return [run for run in runs if shown.number is None or version_tag(shown.number) in run.data.tags]


def told_by_version(tags: Mapping[str, str], shown: Shown) -> dict[str, str]:
    """What a run is called in the version shown, and what its search asked for there."""
    if shown.number is None:
        return {}
    tag = version_tag(shown.number)
    return {
        "arm": tags[tag],
        "name": f"{tags[tag]} seed {tags.get('sweeper.seed', '')}",
        "search_trial": tags.get(f"{tag}.search_trial", ""),
    }
