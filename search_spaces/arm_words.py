"""What can be said of an arm, in words: 'K=8 GS', 'learned weights', 'layer-shared', '20+20 epochs'."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from trainers.conversions.registry import build_conversion
from trainers.data.registry import DATA_NAMES, data_facts
from trainers.methods.registry import build_method, method_card
from trainers.networks.registry import NETWORKS
from trainers.plugins.known import is_of_plugin, keys_in, short
from trainers.recipe.plugin_fields import options_of
from trainers.recipe.recipe import Recipe
from trainers.recipe.stretches import stretches

NETWORK_NAMES = {name: network.title for name, network in NETWORKS.items()}
DATASET_NAMES = {name: data_facts(name).title for name in DATA_NAMES}
LENGTHS = frozenset({"slot_epochs", "finetune_epochs"})
_AUGMENTATION = {"none": "no augmentation", "flip": "flipped", "crop_flip": "cropped and flipped"}
_PHRASES: dict[str, Callable[[Any], str]] = {
    "preset": lambda value: {"icml": "paper's recipe", "authors_code": "authors' code", "tuned": "tuned recipe"}[value],
    "slot_nesterov": lambda value: "slot Nesterov" if value else "",
    "finetune_nesterov": lambda value: "finetune Nesterov" if value else "",
    "width": lambda value: f"width {value:g}",
    "padding": lambda value: f"padding {value}",
    "activation": lambda value: "" if value == "relu" else value.upper(),
    "readout": lambda value: "" if value == "last" else "read from all hidden layers",
    "finetune_start": lambda value: "" if value == "selected" else "finetuned from shuffled weights",
    "augmentation": lambda value: _AUGMENTATION[value],
    "method_options": lambda value: ", ".join(_phrase(name, one, {}) for name, one in options_of(value).items()),
    "plugins": lambda value: ", ".join(map(short, keys_in(value))),
    "costs": lambda value: f"measuring {value}",
}


def network_name(network: str) -> str:
    """What labels call a network; a plug-in's goes by its name, which no other has."""
    return NETWORK_NAMES.get(network, network)


def dataset_name(dataset: str) -> str:
    """What labels call a data set; a plug-in's goes by its name, which no other has."""
    return DATASET_NAMES.get(dataset, dataset)


def facts_of(recipe: Recipe) -> dict[str, Any]:
    """The fields that count for this recipe, with the lengths of its phases and its preset."""
    facts = {name: value for name, value in recipe.common_fields().items() if name != "seed"}
    for phase in dict.fromkeys(part.phase for part in stretches(recipe)):
        facts |= recipe.phase_fields(phase)
    facts = {"conversion": "none", "activation": "relu", "readout": "last", "finetune_start": "selected"} | facts
    lengths = {"slot_epochs": recipe.slot_epochs, "finetune_epochs": recipe.finetune_epochs}
    return {"preset": recipe.preset, **facts, **lengths}


def arm_text(recipe: Recipe, facts: Mapping[str, Any], shown: set[str]) -> str:
    """The text that describes an arm by these of its fields."""
    card = method_card(recipe.method, recipe.plugins)
    where = [network_name(recipe.network)] if "network" in shown else []
    where += [dataset_name(recipe.dataset)] if "dataset" in shown else []
    phrases = [" ".join([*where, _method_words(recipe)])]
    left = shown - card.in_words - {"network", "dataset", "method"}
    conversion = build_conversion(recipe)
    if conversion is not None:
        phrases.append(conversion.words)
    left = {name for name in left if not name.startswith("conversion")}
    if left & LENGTHS:
        left -= LENGTHS
        phrases.append(_epochs(recipe, card.slot_phase))
    known = {**_PHRASES, **card.phrases}
    phrases += [_phrase(name, facts[name], known) for name in Recipe.model_fields if name in left and name in facts]
    return ", ".join(phrase for phrase in phrases if phrase)


def _method_words(recipe: Recipe) -> str:
    """A plug-in's method goes by its name: the same whether its code was imported or not."""
    return recipe.method if is_of_plugin(recipe.method) else build_method(recipe).words


def _epochs(recipe: Recipe, slot_phase: bool) -> str:
    return f"{recipe.slot_epochs}+{recipe.finetune_epochs} epochs" if slot_phase else f"{recipe.finetune_epochs} epochs"


def _phrase(name: str, value: Any, known: Mapping[str, Callable[[Any], str]]) -> str:
    if name in known:
        return known[name](value)
    words = name.replace("_", " ")
    return f"{words} {value:g}" if isinstance(value, float) else f"{words} {str(value).replace('_', ' ')}"
