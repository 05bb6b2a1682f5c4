"""Short names for the arms of a sweep, by what varies: 'K=8 GS', 'learned weights', 'K=8 PS, layer-shared'."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from search_spaces.arm_words import LENGTHS, arm_text, facts_of
from trainers.recipe.recipe import Recipe


def arm_labels(recipes: Sequence[Recipe]) -> list[str]:
    """A label per recipe: equal within an arm, different between arms, and only as long as that takes."""
    return ArmLabels().add(recipes)


class ArmLabels:
    """The labels of recipes that are added bit by bit, the same as if all were added at once.

    A recipe costs what is new about it; all are named anew only where it changes what varies, or is called as another.
    """

    def __init__(self) -> None:
        self._labels: list[str] = []
        self._hashes: list[str] = []  # of the arm of each recipe
        self._arms: dict[str, Recipe] = {}
        self._facts: dict[str, dict[str, Any]] = {}
        self._names: dict[str, str] = {}
        self._taken: set[str] = set()  # all that arms are called, or would be, had they not to be told apart
        self._places: set[tuple[str, str]] = set()
        self._values = _Values()
        self._groups: dict[str, _Group] = defaultdict(_Group)  # by method

    def add(self, recipes: Sequence[Recipe]) -> list[str]:
        """Adds recipes; returns the labels of all so far."""
        hashes = [recipe.arm_hash() for recipe in recipes]
        self._hashes += hashes
        new = {arm: recipe for arm, recipe in zip(hashes, recipes, strict=True) if arm not in self._arms}
        fit = [self._take_in(arm, recipe) for arm, recipe in new.items()]
        if all(fit) and all(map(self._name_one, new)):
            self._labels = self._labels + [self._names[arm] for arm in hashes]
        else:
            self._name_all()
            self._labels = [self._names[arm] for arm in self._hashes]
        return self._labels

    def _take_in(self, arm: str, recipe: Recipe) -> bool:
        """False where this arm changes what is shown of the others."""
        facts = self._facts[arm] = facts_of(recipe)
        self._arms[arm] = recipe
        place = (recipe.network, recipe.dataset)
        known = place in self._places
        self._places.add(place)
        same_everywhere = self._values.add(facts)
        return self._groups[recipe.method].add(arm, recipe, facts) and same_everywhere and known

    def _name_one(self, arm: str) -> bool:
        """Names one more arm by what varied before it; False where that does not tell it from the others."""
        recipe, facts = self._arms[arm], self._facts[arm]
        group = self._groups[recipe.method]
        told, name = group.told(facts), group.name(recipe, facts)
        if told in group.tolds or name in self._taken:
            return False
        group.tolds |= {told} if group.tolds else set()
        self._names[arm] = name
        self._taken.add(name)
        return True

    def _name_all(self) -> None:
        self._taken = set()
        places = _varying_places(self._places)
        for group in self._groups.values():
            group.look_at_all(self._arms, self._facts, places)
            names = {arm: group.name(self._arms[arm], self._facts[arm]) for arm in group.arms}
            self._taken |= set(names.values())
            self._names |= names
            self._tell_apart(group.arms, group.varying)
        self._tell_apart(list(self._arms), self._values.varying)

    def _tell_apart(self, arms: Sequence[str], varying: set[str]) -> None:
        """Give arms of one name more of what varies, what a preset filled included; at the very last, their hash."""
        for arm in _alike(arms, self._names):
            self._names[arm] = arm_text(self._arms[arm], self._facts[arm], varying)
            self._taken.add(self._names[arm])
        for arm in _alike(arms, self._names):
            self._names[arm] = f"{self._names[arm]} ({arm[:8]})"
            self._taken.add(self._names[arm])


class _Values:
    """Which fields have several values. To lack a field is not a value: something else that varies says so already."""

    def __init__(self) -> None:
        self.varying: set[str] = set()
        self._first: dict[str, Any] = {}

    def add(self, facts: Mapping[str, Any]) -> bool:
        """False where a field varies now that did not."""
        steady = {name: value for name, value in facts.items() if name not in self.varying}
        new = {name for name, value in steady.items() if self._first.setdefault(name, value) != value}
        self.varying |= new
        return not new


class _Group:
    """The arms of one method, and what is shown of each of them."""

    def __init__(self) -> None:
        self.arms: list[str] = []
        self.varying: set[str] = set()
        self.tolds: set[tuple[Any, ...]] = set()  # by these alone all are told apart; empty where that is not so
        self._values = _Values()
        self._budgets: set[int] = set()
        self._finetuned = False  # some of them
        self._told_of: list[str] = []
        self._shorter = False  # budgets are not shown: they follow from what else is said

    def add(self, arm: str, recipe: Recipe, facts: Mapping[str, Any]) -> bool:
        """False where this arm changes what is shown of the others."""
        before = (bool(self.arms), len(self._budgets) == 1, self._finetuned)
        self.arms.append(arm)
        self._budgets.add(recipe.budget_epochs)
        self._finetuned |= recipe.finetune_epochs > 0
        return self._values.add(facts) and before == (True, len(self._budgets) == 1, self._finetuned)

    def look_at_all(self, arms: Mapping[str, Recipe], facts: Mapping[str, dict[str, Any]], places: set[str]) -> None:
        """Decides which fields are shown."""
        self.varying = (self._values.varying - {"network", "dataset"}) | places
        self._told_of = sorted(name for name in self.varying if not _is_rule_of_phase(name))
        tolds = {self.told(facts[arm]) for arm in self.arms}
        self.tolds = tolds if len(tolds) == len(self.arms) else set()
        if self.tolds:
            self.varying = set(self._told_of)  # how the phases learn follows from what is said
        self._shorter = True
        shorter = {self.name(arms[arm], facts[arm]) for arm in self.arms} if not self._finetuned else ()
        self._shorter = len(shorter) == len(self.arms)

    def told(self, facts: Mapping[str, Any]) -> tuple[Any, ...]:
        """The fields that vary, except for how the phases learn."""
        return tuple(facts.get(name) for name in self._told_of)

    def name(self, recipe: Recipe, facts: Mapping[str, Any]) -> str:
        """The name by the fields that vary and that no preset filled."""
        # All of the budget in the slot phase: the plain arm, beside splits of the same budget.
        plain = not recipe.finetune_epochs and len(self._budgets) == 1
        shown = self.varying - set(recipe.filled)
        return arm_text(recipe, facts, shown - LENGTHS if plain or self._shorter else shown)


def _is_rule_of_phase(name: str) -> bool:
    """Whether the field says how a phase learns (its rate, its schedule), and not for how long."""
    return name.startswith(("slot_", "finetune_")) and name not in LENGTHS


def _varying_places(pairs: Iterable[tuple[str, str]]) -> set[str]:
    """Which of network and data set vary, less the data set where the network tells it."""
    listed = list(pairs)
    networks, datasets = {network for network, _ in listed}, {dataset for _, dataset in listed}
    told = len(networks) == len(listed) > 1
    return ({"network"} if len(networks) > 1 else set()) | ({"dataset"} if len(datasets) > 1 and not told else set())


def _alike(group: Iterable[str], names: Mapping[str, str]) -> list[str]:
    holders: dict[str, list[str]] = defaultdict(list)
    for arm in group:
        holders[names[arm]].append(arm)
    return [arm for same in holders.values() if len(same) > 1 for arm in same]
