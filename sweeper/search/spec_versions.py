"""The versions of a sweep: every spec that was launched under its name, limits and description aside.

versions.json in the sweep's folder lists them, and versions/v1.yaml is what was launched; the present version is that
of spec.yaml. The list is written first, so that a launch that dies in between loses none.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from search_spaces.expansion import expand
from search_spaces.labels import arm_labels
from search_spaces.loading import spec_of
from search_spaces.spec import Spec
from search_spaces.yaml_reader import read_yaml
from sweeper.records.sweep_folder import SweepFile, SweepFolder
from sweeper.storage.base import Place, missing
from trainers.errors import InvalidInput
from trainers.hashing import content_hash
from trainers.recipe.recipe import Recipe

LIST = "versions.json"
NO_PART_OF_IT = {"limits", "description"}  # they change nothing about which trials a sweep has
ARMS_SHOWN = 12


@dataclass(frozen=True)
class Version:
    """One spec of a sweep."""

    number: int
    identity: str  # the hash of what it says, but for NO_PART_OF_IT
    first_launched: str  # UTC, ISO 8601; empty where that was not kept
    digests: Mapping[str, str]  # of its data sets, as it was launched last


@dataclass(frozen=True)
class Member:
    """A trial that belongs to a version."""

    recipe: Recipe
    label: str  # of its arm, among those of this version
    search_trial: int | None = None  # Optuna's number of the point that it is of; None: no search asked for it


class Versions:
    """All versions of one sweep, and which of them is the present one."""

    def __init__(self, folder: SweepFolder, known: Sequence[Version], present: int, texts: Mapping[int, str]) -> None:
        """`texts`: specs that are not, or not so, in the folder of versions."""
        self.folder, self.known, self.present = folder, tuple(known), present
        self._texts = dict(texts)
        self._members: dict[int, dict[str, Member]] = {}

    @classmethod
    def of(cls, folder: SweepFolder) -> Versions:
        """Those of a sweep as it was launched last; none of one that was not launched. Raises InvalidInput."""
        known = _listed(folder)
        text = missing(folder.spec_path.read_text)
        if text is None:
            return cls(folder, known, 0, {})
        identity = _identity_of_text(text)
        number = next((version.number for version in known if version.identity == identity), None)
        if number is None:  # launched before versions were kept
            number = len(known) + 1
            file = folder.read_if_there()
            first = str(file.launches[0]["started_at"]) if file and file.launches and number == 1 else ""
            known = [*known, Version(number, identity, first, file.digests if file else {})]
        return cls(folder, known, number, {number: text})

    def launched(self, spec: Spec, now: str, digests: Mapping[str, str]) -> Versions:
        """The same once this spec is launched: it becomes the present version, new or again."""
        identity = identity_of(spec)
        found = next((version for version in self.known if version.identity == identity), None)
        now_so = replace(found, digests=digests) if found else Version(len(self.known) + 1, identity, now, digests)
        known = [now_so if version is found else version for version in self.known]
        known += [] if found else [now_so]
        return Versions(self.folder, known, now_so.number, {**self._texts, now_so.number: spec.to_yaml()})

    def write(self) -> None:
        """Raises StoreError."""
        for number, text in self._texts.items():
            self.path(number).put(text.encode())
        listed = json.dumps([asdict(version) for version in self.known], indent=1)
        (self.folder.path / LIST).put(listed.encode())

    def path(self, number: int) -> Place:
        """Where the spec of a version lies: it can be launched from there."""
        return self.folder.path / "versions" / f"v{number}.yaml"

    @property
    def numbers(self) -> list[int]:
        return [version.number for version in self.known]

    def find(self, number: int | None) -> int:
        """This version, or the present one. Raises InvalidInput for one that there is not."""
        if number is not None and number not in self.numbers:
            raise InvalidInput(f"version: {self.folder.name!r} has versions {_span(self.numbers)}, and no {number}")
        return self.present if number is None else number

    def __getitem__(self, number: int) -> Version:
        return next(version for version in self.known if version.number == number)

    def text(self, number: int) -> str:
        """The spec of a version as it was launched last. Raises InvalidInput."""
        text = self._texts.get(number) or missing(self.path(number).read_text)
        if text is None:
            raise InvalidInput(f"version: cannot read {self.path(number)}: it is not there")
        return text

    def spec(self, number: int) -> Spec:
        """The same, read. Raises InvalidInput."""
        return spec_of(self.text(number), f"version {number} of {self.folder.name}")

    def members(self, number: int) -> dict[str, Member]:
        """The trials of a version, by recipe hash: of a search, those that it asked for by now. Raises InvalidInput."""
        if number not in self._members:
            self._members[number] = members_of(self.spec(number), self.folder)
        return self._members[number]

    def others(self, number: int) -> tuple[dict[int, dict[str, Member]], list[int]]:
        """The trials of all versions but this one, and the versions that cannot be read any more."""
        found, unreadable = {}, []
        for other in self.numbers:
            if other != number:
                try:
                    found[other] = self.members(other)
                except InvalidInput:
                    unreadable.append(other)
        return found, unreadable


def identity_of(spec: Spec) -> str:
    """SHA-256 (hex) of what a spec says about which trials there are."""
    said = spec.model_dump(mode="json", exclude_defaults=True, exclude=NO_PART_OF_IT)
    for entry in said.get("plugins", ()):
        if entry.get("version"):
            del entry["digest"]  # results hang on the version that its author declares
    return content_hash(said)


def members_of(spec: Spec, folder: SweepFolder) -> dict[str, Member]:
    """The trials of a spec by recipe hash, with what its search has asked for by now. Raises StoreError."""
    recipes = {recipe.content_hash(): recipe for recipe in expand(spec)}
    search = None
    if spec.search is not None:
        from sweeper.search.optuna_study import StudySearch

        search = StudySearch(spec, folder.path, read_only=True, earlier_names=folder.earlier_names())
        recipes |= {recipe.content_hash(): recipe for recipe in search.recipes()}
    labels = arm_labels(list(recipes.values()))
    return {
        found: Member(recipe, label, search.number(recipe.arm_hash()) if search else None)
        for (found, recipe), label in zip(recipes.items(), labels, strict=True)
    }


def rest_of(versions: Versions, number: int, shown: Collection[str]) -> list[str]:
    """Lines that count the trials of other versions than this one, whose recipe hashes are `shown`."""
    found, unreadable = versions.others(number)
    beyond = {
        recipe_hash: member
        for members in found.values()
        for recipe_hash, member in members.items()
        if recipe_hash not in shown
    }
    which = "earlier" if number == versions.present else "other"
    lines = []
    if beyond:
        holders = [other for other, members in found.items() if beyond.keys() & members.keys()]
        lines.append(
            f"Of {which} versions: {counted_arms(member.label for member in beyond.values())} "
            f"(--version {_span(holders)} shows them)"
        )
    if unreadable:
        lines.append(f"Of {which} versions, the trials of {_span(unreadable)} cannot be told: its spec is not readable")
    return lines


def counted_arms(labels: Iterable[str], more: str = "") -> str:
    """'3 trials: K=4 GS (3)', with a word after the trials."""
    counts = Counter(labels)
    listed = ", ".join(f"{label} ({count})" for label, count in list(counts.items())[:ARMS_SHOWN])
    listed += f", and {len(counts) - ARMS_SHOWN} more arms" if len(counts) > ARMS_SHOWN else ""
    total = counts.total()
    trials = f"{total:,} trial{'' if total == 1 else 's'}{f' {more}' if more else ''}"
    return f"{trials}: {listed}" if counts else trials


def launches_of(file: SweepFile, number: int) -> list[dict[str, Any]]:
    """The launches of one version; those of before versions were kept are counted to the first."""
    return [launch for launch in file.launches if launch.get("version", 1) == number]


def wall_seconds_of(file: SweepFile, number: int) -> float:
    """All launches of one version together."""
    return sum(float(launch.get("seconds", 0)) for launch in launches_of(file, number))


def version_of_last_launch(file: SweepFile) -> int:
    """The version that was launched last."""
    return int(file.launches[-1].get("version", 1)) if file.launches else 1


def _span(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _listed(folder: SweepFolder) -> list[Version]:
    path = folder.path / LIST
    text = missing(path.read_text)
    try:
        return [Version(**fields) for fields in json.loads(text)] if text else []
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"version: cannot read {path}: {error}") from None


def _identity_of_text(text: str) -> str:
    try:
        return identity_of(Spec.parse(read_yaml(text)))
    except InvalidInput:  # of another version of this package: a version all the same
        return content_hash(text)
