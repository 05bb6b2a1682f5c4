"""Short names for the arms of a sweep, by what varies: 'K=8 GS', 'learned weights', 'K=8 PS, layer-shared'."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from trainers.recipe import Recipe

NETWORK_NAMES = {
    "lenet": "Lenet", "conv2": "CONV-2", "conv4": "CONV-4", "conv6": "CONV-6", "vgg19": "VGG-19", "alexnet": "AlexNet",
    "resnet18": "ResNet-18", "resnet34": "ResNet-34", "resnet50": "ResNet-50", "resnet101": "ResNet-101",
    "wide_resnet50": "Wide ResNet-50",
}  # fmt: skip
DATASET_NAMES = {
    "digits": "digits", "mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10",
    "image_folder": "image folder",
}  # fmt: skip
# Always shown where they vary, or part of the head: never shown a second time.
_HEAD = {
    "slot_machine": frozenset({"options", "selection"}),
    "edge_popup": frozenset({"keep_fraction"}),
    "supermask": frozenset[str](),
    "learned": frozenset({"start"}),
}
LENGTHS = frozenset({"slot_epochs", "finetune_epochs"})
_SHARING = {"none": "", "layer": "layer-shared", "network": "network-shared"}
_WEIGHTS = {"kaiming_normal": "Kaiming-normal", "glorot_normal": "Glorot-normal", "signed_constant": "signed constant"}
_AUGMENTATION = {"none": "no augmentation", "flip": "flipped", "crop_flip": "cropped and flipped"}
_PHRASES: dict[str, Callable[[Any], str]] = {
    "preset": lambda value: {"icml": "paper's recipe", "authors_code": "authors' code", "tuned": "tuned recipe"}[value],
    "sharing": lambda value: _SHARING[value],
    "weight_init": lambda value: _WEIGHTS[value],
    "value_bound": lambda value: f"{value.replace('_', ' ')} values",
    "evaluation": lambda value: f"evaluated by {value.replace('_', ' ')}",
    "rescale": lambda value: "rescaled" if value else "",
    "scale_by_keep_fraction": lambda value: "scaled" if value else "",
    "slot_nesterov": lambda value: "slot Nesterov" if value else "",
    "finetune_nesterov": lambda value: "finetune Nesterov" if value else "",
    "width": lambda value: f"width {value:g}",
    "padding": lambda value: f"padding {value}",
    "augmentation": lambda value: _AUGMENTATION[value],
}


def arm_label(recipe: Recipe, among: Sequence[Recipe]) -> str:
    """What to call the arm of `recipe` in a sweep of the recipes `among`. For all of them at once: `arm_labels`."""
    recipes = [*among, recipe]
    return arm_labels(recipes)[-1]


def arm_labels(recipes: Sequence[Recipe]) -> list[str]:
    """A label per recipe: equal within an arm, different between arms, and only as long as that takes."""
    hashes = [recipe.arm_hash() for recipe in recipes]
    arms = dict(zip(hashes, recipes, strict=True))
    facts = {arm: _facts(recipe) for arm, recipe in arms.items()}
    varying_everywhere = _varying(facts.values())
    names: dict[str, str] = {}
    by_method: dict[str, list[str]] = defaultdict(list)
    for arm, recipe in arms.items():
        by_method[recipe.method].append(arm)
    places = _places(arms.values())
    for group in by_method.values():
        varying = (_varying([facts[arm] for arm in group]) - {"network", "dataset"}) | places
        told = {arm: _told(facts[arm], varying) for arm in group}
        if len(set(told.values())) == len(group):
            varying = {name for name in varying if not _is_rule_of_phase(name)}  # they follow from what is said
        one_budget = len({arms[arm].budget_epochs for arm in group}) == 1
        for arm in group:
            shown = varying - set(arms[arm].filled)
            # All of the budget in the slot phase: the plain arm, beside splits of the same budget.
            plain = not arms[arm].finetune_epochs and one_budget
            names[arm] = _text(arms[arm], facts[arm], shown - LENGTHS if plain else shown)
        if not any(arms[arm].finetune_epochs for arm in group):
            shorter = {arm: _text(arms[arm], facts[arm], varying - set(arms[arm].filled) - LENGTHS) for arm in group}
            if len(set(shorter.values())) == len(group):
                names |= shorter  # their budgets follow from what else is said
        _tell_apart(group, names, arms, facts, varying)
    _tell_apart(list(arms), names, arms, facts, varying_everywhere)
    return [names[arm] for arm in hashes]


def _is_rule_of_phase(name: str) -> bool:
    """Whether the field says how a phase learns (its rate, its schedule), and not for how long."""
    return name.startswith(("slot_", "finetune_")) and name not in LENGTHS


def _told(facts: Mapping[str, Any], varying: set[str]) -> tuple[Any, ...]:
    """All that varies but how the phases learn."""
    return tuple((name, facts.get(name)) for name in sorted(varying) if not _is_rule_of_phase(name))


def _places(recipes: Iterable[Recipe]) -> set[str]:
    """Which of network and data set vary, less the data set where the network tells it."""
    pairs = {(recipe.network, recipe.dataset) for recipe in recipes}
    networks, datasets = {network for network, _ in pairs}, {dataset for _, dataset in pairs}
    told = len(networks) == len(pairs) > 1
    return ({"network"} if len(networks) > 1 else set()) | ({"dataset"} if len(datasets) > 1 and not told else set())


def _facts(recipe: Recipe) -> dict[str, Any]:
    """Every field that counts for this recipe, with the lengths of its phases and the family that it comes from."""
    facts = {name: value for name, value in recipe.common_fields().items() if name != "seed"}
    for phase, _ in recipe.phases():
        facts |= recipe.phase_fields(phase)
    lengths = {"slot_epochs": recipe.slot_epochs, "finetune_epochs": recipe.finetune_epochs}
    return {"preset": recipe.preset, **facts, **lengths}


def _varying(all_facts: Iterable[Mapping[str, Any]]) -> set[str]:
    """Fields with several values. To lack a field is not a value: something else that varies says so already."""
    listed = list(all_facts)
    names = {name for facts in listed for name in facts}
    return {name for name in names if len({facts[name] for facts in listed if name in facts}) > 1}


def _text(recipe: Recipe, facts: Mapping[str, Any], shown: set[str]) -> str:
    head = _head(recipe)
    where = [NETWORK_NAMES[recipe.network]] if "network" in shown else []
    where += [DATASET_NAMES[recipe.dataset]] if "dataset" in shown else []
    phrases = [" ".join([*where, head])]
    left = shown - _HEAD[recipe.method] - {"network", "dataset", "method"}
    if left & LENGTHS:
        left -= LENGTHS
        phrases.append(_epochs(recipe))
    phrases += [_phrase(name, facts[name]) for name in Recipe.model_fields if name in left and name in facts]
    return ", ".join(phrase for phrase in phrases if phrase)


def _head(recipe: Recipe) -> str:
    if recipe.method == "slot_machine":
        return f"K={recipe.options} {'GS' if recipe.selection == 'greedy' else 'PS'}"
    if recipe.method == "edge_popup":
        return f"edge-popup keep {100 * (recipe.keep_fraction or 0):g} %"
    if recipe.method == "supermask":
        return "supermask"
    return "learned weights" if recipe.start == "glorot" else f"learned weights from 1 of K={recipe.options}"


def _epochs(recipe: Recipe) -> str:
    if recipe.method == "learned":
        return f"{recipe.finetune_epochs} epochs"
    return f"{recipe.slot_epochs}+{recipe.finetune_epochs} epochs"


def _phrase(name: str, value: Any) -> str:
    if name in _PHRASES:
        return _PHRASES[name](value)
    words = name.replace("_", " ")
    return f"{words} {value:g}" if isinstance(value, float) else f"{words} {str(value).replace('_', ' ')}"


def _tell_apart(
    group: list[str], names: dict[str, str], arms: Mapping[str, Recipe], facts: Mapping[str, dict[str, Any]],
    varying: set[str],
) -> None:  # fmt: skip
    """Give arms of one name more of what varies, what a preset filled included; at the very last, their hash."""
    for arm in _alike(group, names):
        names[arm] = _text(arms[arm], facts[arm], varying)
    for arm in _alike(group, names):
        names[arm] = f"{names[arm]} ({arm[:8]})"


def _alike(group: list[str], names: Mapping[str, str]) -> list[str]:
    holders: dict[str, list[str]] = defaultdict(list)
    for arm in group:
        holders[names[arm]].append(arm)
    return [arm for same in holders.values() if len(same) > 1 for arm in same]
