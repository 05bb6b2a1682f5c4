"""What a sweep's runs in MLflow say of its versions. Knows no MLflow.

A trial's run has a tag for each version that it belongs to, `sweeper.v2`, with the name of its arm in that version; and
the sweep's own run says which version is the present one, once all trials of it say so too. Where it does not, versions
were not kept yet.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from sweeper.records.trial_result import TrialResult
from sweeper.search.spec_versions import Member, Versions

PRESENT = "sweeper.spec_version"  # of the sweep's own run: the present version
SIZES = "sweeper.spec_versions"  # of the sweep's own run, as JSON: how many trials each version has
_TAG = re.compile(r"sweeper\.v\d+(\.search_trial)?")


@dataclass(frozen=True)
class TrackedVersions:
    """The version that is projected, and the trials of the others by recipe hash."""

    present: int
    others: Mapping[int, Mapping[str, Member]]
    specs: Mapping[int, str]  # YAML

    @classmethod
    def of(cls, versions: Versions) -> TrackedVersions:
        """The versions of a sweep, as they are projected. Raises InvalidInput."""
        others, _ = versions.others(versions.present)
        return cls(versions.present, others, {number: versions.text(number) for number in (*others, versions.present)})

    def tags(self, recipe_hash: str, result: TrialResult | None, known: Mapping[str, str]) -> dict[str, str]:
        """The tags that a trial's run lacks beside those `known`. result: None for a trial of other versions only."""
        wanted = tags_of(self.present, result.label, result.search_trial) if result else {}
        lacking = {tag: text for tag, text in wanted.items() if known.get(tag) != text}
        for number, members in self.others.items():
            # What it is called in a version stands as it was when that was the present one.
            if (member := members.get(recipe_hash)) and version_tag(number) not in known:
                lacking |= tags_of(number, member.label, member.search_trial)
        return lacking

    def of_sweep(self, trials: int) -> dict[str, str]:
        """The tags of the sweep's own run, whose present version has so many trials."""
        sizes = {number: len(members) for number, members in self.others.items()} | {self.present: trials}
        return {PRESENT: str(self.present), SIZES: json.dumps(dict(sorted(sizes.items())))}


def tags_of(number: int, label: str, search_trial: int | None) -> dict[str, str]:
    """The tags by which a trial belongs to a version."""
    asked_for = {} if search_trial is None else {f"{version_tag(number)}.search_trial": str(search_trial)}
    return {version_tag(number): label, **asked_for}


def version_tag(number: int) -> str:
    """The name of the tag that trials of this version have."""
    return f"sweeper.v{number}"


def version_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags of a run that say to which versions it belongs."""
    return {tag: text for tag, text in tags.items() if _TAG.fullmatch(tag)}
