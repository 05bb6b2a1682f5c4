"""The paper as a tree of requirements, each with a state that is computed from what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache
from importlib.resources import files
from math import ceil, isnan, nan
from typing import Any

import pandas as pd

from reports.analysis.arms import best_by
from reports.analysis.paper_claims import Judgement, Verdict, conclude
from search_spaces.expansion import expand
from search_spaces.loading import load_spec
from search_spaces.yaml_reader import read_yaml
from trainers.errors import InvalidInput
from trainers.readable import interval, points

FEWEST = 2  # trials, for an interval


class State(StrEnum):
    """Met and contradicted are settled by the numbers; open is what more trials would settle."""

    MET = "met"
    CONTRADICTED = "contradicted"
    OPEN = "open"
    OUT_OF_REACH = "out of reach"


@dataclass(frozen=True)
class Requirement:
    """One leaf: something the paper says of one problem, and how it is tested."""

    group: str
    sweep: str
    text: str
    network: str
    dataset: str
    claim: str = ""
    published: tuple[tuple[str, Any], ...] = ()  # recipe fields of the arms held against their published values
    tolerance: float = nan  # a fraction
    out_of_reach: str = ""


@dataclass(frozen=True)
class Ticked:
    """A requirement with its state, the numbers behind it, and what would settle it."""

    requirement: Requirement
    state: State
    why: str
    command: str = ""  # what would settle it, where it is open
    hours: float = nan  # of training, one trial after the other, at the pace measured here


@cache
def requirements() -> tuple[Requirement, ...]:
    """Every leaf of search_spaces/requirements.yaml, in its order."""
    text = files("search_spaces").joinpath("requirements.yaml").read_text(encoding="utf-8")
    return tuple(leaf for group in read_yaml(text) for item in group["requirements"] for leaf in _leaves(group, item))


def _leaves(group: Mapping[str, Any], item: Mapping[str, Any]) -> Iterator[Requirement]:
    for problem in item["for"]:
        network, dataset = problem.split("/")
        common = (group["group"], group["sweep"])
        for options in item.get("options", [None]):
            fields = tuple(item.get("published", {}).items())
            fields += (("options", options),) if options is not None else ()
            text = item["text"] + (f", K = {options}" if options is not None and len(item["options"]) > 1 else "")
            yield Requirement(*common, text, network, dataset, item.get("claim", ""), fields,
                              item.get("tolerance", nan) / 100, item.get("out_of_reach", ""))  # fmt: skip


def ticked(arms: pd.DataFrame, judged: Sequence[Judgement]) -> list[Ticked]:
    """Every requirement with its state. arms: of all sweeps, each recipe once, with their published values."""
    measured = arms[arms["n"] > 0]
    by_name = {judgement.claim.name: judgement for judgement in judged}
    return [_tick(requirement, measured, by_name) for requirement in requirements()]


def _tick(requirement: Requirement, arms: pd.DataFrame, judged: Mapping[str, Judgement]) -> Ticked:
    if requirement.out_of_reach:
        return Ticked(requirement, State.OUT_OF_REACH, requirement.out_of_reach)
    own = arms[(arms["network"] == requirement.network) & (arms["dataset"] == requirement.dataset)]
    found = _by_claim(requirement, own, judged) if requirement.claim else _by_published(requirement, own)
    return found or Ticked(requirement, State.OPEN, "Nothing was run for it.", *_to_run(requirement, own))


def _by_claim(requirement: Requirement, own: pd.DataFrame, judged: Mapping[str, Judgement]) -> Ticked | None:
    judgement = judged[requirement.claim]
    readings = [
        comparison.reading for comparison in judgement.comparisons
        if (comparison.first["network"], comparison.first["dataset"]) == (requirement.network, requirement.dataset)
    ]  # fmt: skip
    if not readings:
        return None
    verdict, why = conclude(readings, judgement.claim.needs)
    state = {Verdict.SUPPORTED: State.MET, Verdict.CONTRADICTED: State.CONTRADICTED}.get(verdict, State.OPEN)
    if state == State.CONTRADICTED and (short := _short_of(requirement, own)):
        return Ticked(requirement, State.OPEN, f"{why} {short}", *_to_run(requirement, own, whole=True))
    if state != State.OPEN:
        return Ticked(requirement, state, why)
    seeds = int(max(comparison.first["n"] for comparison in judgement.comparisons))
    return Ticked(requirement, state, f"{why} Twice the seeds may tell.", *_to_run(requirement, own, 2 * seeds))


def _by_published(requirement: Requirement, own: pd.DataFrame) -> Ticked | None:
    fitting = own[own["published"].notna()]
    for field, value in requirement.published:
        fitting = fitting[(fitting[field] == value).fillna(False)]
    if fitting.empty:
        return None
    arm = best_by(fitting, "validation_accuracy")
    difference = float(arm["test_accuracy"]) - float(arm["published"])
    half, n, tolerance = float(arm["test_accuracy_half_width"]), int(arm["n"]), requirement.tolerance
    said = f"{arm['arm']}: {points(difference)} points against the published value"
    if n < FEWEST or isnan(half):
        return Ticked(requirement, State.OPEN, f"{said}; one trial gives no interval.", *_to_run(requirement, own))
    why = f"{said} ({interval(100 * (difference - half), 100 * (difference + half))}), n = {n}."
    if abs(difference) + half <= tolerance:
        return Ticked(requirement, State.MET, why)
    if abs(difference) - half > tolerance:
        if short := _short_of(requirement, own):
            return Ticked(requirement, State.OPEN, f"{why} {short}", *_to_run(requirement, own, whole=True))
        return Ticked(requirement, State.CONTRADICTED, why)
    away = abs(abs(difference) - tolerance)
    seeds = max(n + 1, ceil(n * (half / away) ** 2)) if away > 0 else 2 * n
    return Ticked(requirement, State.OPEN, why, *_to_run(requirement, own, seeds))


def _short_of(requirement: Requirement, own: pd.DataFrame) -> str:
    """That fewer epochs than the sweep asks for contradict nothing; nothing where there are as many."""
    trained, asked = int(own["epochs"].max()), _longest(requirement.sweep, _problem(requirement))
    return f"By {trained} of {asked} epochs, which contradict nothing." if trained < asked else ""


def _problem(requirement: Requirement) -> tuple[str, ...]:
    return f"network={requirement.network}", f"dataset={requirement.dataset}"


@lru_cache
def _longest(sweep: str, overrides: tuple[str, ...]) -> int:
    return max(recipe.budget_epochs for recipe in expand(load_spec(sweep, overrides)))


def _to_run(requirement: Requirement, own: pd.DataFrame, seeds: int = 0, *, whole: bool = False) -> tuple[str, float]:
    """The command that trains what is missing, and its hours at the pace of this network's arms here (else nan).

    By the recipe and the epochs of the arms that are here, where there are some, or `whole` as the spec asks; with so
    many seeds, or the spec's.
    """
    overrides = [*_problem(requirement)]
    if len(own) and not whole:
        overrides += [f"preset={own['preset'].mode().iloc[0]}", f"budget_epochs={int(own['epochs'].max())}"]
    overrides += [f"seeds={seeds}"] if seeds else []
    command = " ".join(["sweeper launch", requirement.sweep, *(f"--set {each}" for each in overrides)])
    pace = float((own["train_seconds"] / own["epochs"]).median()) if len(own) else nan
    return command, nan if isnan(pace) else pace * _epochs(requirement.sweep, tuple(overrides)) / 3600


@lru_cache
def _epochs(sweep: str, overrides: tuple[str, ...]) -> float:
    """What the sweep trains for one problem, its trials one by one; nan where it cannot be had that way."""
    try:
        return float(sum(recipe.budget_epochs for recipe in expand(load_spec(sweep, overrides))))
    except InvalidInput:
        return nan
