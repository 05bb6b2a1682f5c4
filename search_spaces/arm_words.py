"""What can be said of an arm, in words: 'K=8 GS', 'learned weights', 'layer-shared', '20+20 epochs'."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from trainers.recipe.recipe import Recipe

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


def facts_of(recipe: Recipe) -> dict[str, Any]:
    """Every field that counts for this recipe, with the lengths of its phases and the family that it comes from."""
    facts = {name: value for name, value in recipe.common_fields().items() if name != "seed"}
    for phase, _ in recipe.phases():
        facts |= recipe.phase_fields(phase)
    lengths = {"slot_epochs": recipe.slot_epochs, "finetune_epochs": recipe.finetune_epochs}
    return {"preset": recipe.preset, **facts, **lengths}


def arm_text(recipe: Recipe, facts: Mapping[str, Any], shown: set[str]) -> str:
    """The arm with these of its fields."""
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
