"""What methods of one's own are checked for."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import torch
from pydantic import Field
from torch.nn.utils import parametrize

import trainers
from trainers.checks import BrokenRule
from trainers.errors import InvalidInput
from trainers.methods.card import Method
from trainers.methods.edge_popup.weight import PopupWeight, initial_scores
from trainers.methods.masks import fixed_weights
from trainers.streams import RandomStream, stream_key


@dataclass(frozen=True)
class Own(Method):
    """Some of its scores are drawn as `keyed_by` says."""

    keep: Annotated[float, Field(gt=0, le=1, description="share of the connections that are kept")] = 0.5

    @classmethod
    def preset_fields(cls, given: Any, preset: str) -> dict[str, Any]:
        return {"slot_learning_rate": 0.1, "slot_weight_decay": 0.0, "slot_schedule": "constant"}

    def attach(self, layer: Any, name: str, seed: int) -> None:
        fixed = fixed_weights(layer.weight, name, seed, kind="signed_constant", deviation=0.3)
        with torch.no_grad():
            layer.weight.copy_(initial_scores(layer.weight, name, seed))
        parametrize.register_parametrization(layer, "weight", PopupWeight(fixed, self.keep), unsafe=True)


class OwnGenerator(Own):
    def attach(self, layer: Any, name: str, seed: int) -> None:
        super().attach(layer, name, seed)
        with torch.no_grad():
            layer.parametrizations.weight.original.mul_(random.random())


class OneForAll(Own):
    def attach(self, layer: Any, name: str, seed: int) -> None:
        super().attach(layer, "any", seed)


class Precise(Own):
    def attach(self, layer: Any, name: str, seed: int) -> None:
        super().attach(layer, name, seed)
        os.environ["PRECISE"] = "1"


class Forgetful(Own):
    def attach(self, layer: Any, name: str, seed: int) -> None:
        super().attach(layer, name, seed)
        selection = layer.parametrizations.weight[0]
        selection.passes = 0
        kept = selection.forward

        def forward(scores: torch.Tensor) -> torch.Tensor:
            selection.passes += selection.training  # in no buffer
            return kept(scores) * (1 + 0.01 * selection.passes)

        selection.forward = forward


class Idle(Own):
    def attach(self, layer: Any, name: str, seed: int) -> None:
        weight = layer.weight
        chance = RandomStream(stream_key(seed, name)).uniform(torch.arange(weight.numel()))
        with torch.no_grad():
            weight.mul_(chance.view_as(weight))


def test_a_method_that_keeps_the_rules_passes_with_any_of_its_options():
    assert trainers.check_method(Own) is None
    trainers.check_method(Own, keep=0.3)


@pytest.mark.parametrize(
    ("card", "rule"),
    [
        (OwnGenerator, "attach gives a layer other numbers the second time"),
        (OneForAll, "attach gives every layer the same randomness"),
        (Precise, "attach changes the environment of the whole process"),
        (Forgetful, "gone on from a saved state, the slot phase ends otherwise"),
        (Idle, "attach registers no SelectedWeight on a layer"),
    ],
)
def test_a_method_that_breaks_a_rule_is_told_which_with_file_and_line(card, rule, monkeypatch):
    monkeypatch.delenv("PRECISE", raising=False)
    with pytest.raises(BrokenRule, match=rule) as broken:
        trainers.check_method(card)
    assert f"{__file__}:" in str(broken.value) and f": {card.__name__}: " in str(broken.value)
    os.environ.pop("PRECISE", None)


def test_options_that_a_method_does_not_take_are_wrong_input():
    with pytest.raises(InvalidInput, match=r"method_options.keep: should be less than or equal to 1"):
        trainers.check_method(Own, keep=2)
    with pytest.raises(InvalidInput, match=r"method_options.kept: checked.own has no such option \(did you mean keep"):
        trainers.check_method(Own, kept=0.5)
