"""The fields that recipes have from the cards of methods: brought together, or refused where that cannot be."""

from __future__ import annotations

from dataclasses import make_dataclass
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError, create_model

from trainers.conversions.registry import families
from trainers.errors import InvalidInput
from trainers.methods.card import Method
from trainers.methods.registry import METHODS, method_card
from trainers.recipe.method_fields import HYPERPARAMETERS, method_fields
from trainers.recipe.recipe import Recipe


def card(**kinds: Any) -> type[Method]:
    return make_dataclass("Card", list(kinds.items()), bases=(Method,), frozen=True)


def described(kind: Any, words: str = "what it means") -> Any:
    return Annotated[kind, Field(description=words)]


def test_methods_that_share_a_name_allow_what_one_of_them_allows():
    one, other = card(end=described(Literal["a", "b"], "first")), card(end=described(Literal["b", "c"], "second"))
    kind, field = method_fields({"one": one, "other": other})["end"]
    assert kind == Literal["a", "b", "c"] | None
    assert (field.default, field.description) == (None, "first; second")


def test_one_name_for_two_kinds_is_refused():
    with pytest.raises(TypeError, match=r"other\.depth: another method has a hyperparameter of this name"):
        method_fields({"one": card(depth=described(int)), "other": card(depth=described(float))})


def test_a_hyperparameter_without_a_description_is_refused():
    with pytest.raises(TypeError, match=r"one\.depth: its kind has no description"):
        method_fields({"one": card(depth=int)})


def test_a_hyperparameter_that_may_be_left_out_has_the_same_rules():
    whole = Annotated[int, Field(ge=3, description="d")]
    (kind, field), (same, _) = (method_fields({"one": card(depth=kind)})["depth"] for kind in (whole, whole | None))
    assert kind == same
    depth = create_model("Depth", depth=(kind, field))
    assert depth(depth=3).depth == 3 and depth().depth is None
    with pytest.raises(ValidationError, match="greater than or equal to 3"):
        depth(depth=2)


@pytest.mark.parametrize("method", METHODS)
def test_every_card_is_whole(method):
    one = METHODS[method]
    assert set(HYPERPARAMETERS[method]) <= set(Recipe.model_fields)
    assert one.families and one.__doc__
    assert one.in_words | set(one.decisive) | set(one.phrases) <= set(HYPERPARAMETERS[method])


def test_families_have_names_labels_markers_and_colours_of_their_own():
    for what in ("name", "label", "marker", "light", "dark"):
        values = [getattr(family, what) for family in families()]
        assert len(set(values)) == len(values) > 6, what
    assert families()[-1].name == "learned", "the baseline stands last"


@pytest.mark.parametrize("name", ["slot_machines", None, ["learned"]])
def test_an_unknown_method_has_no_card(name):
    with pytest.raises(InvalidInput, match="is not one of slot_machine, learned, edge_popup, supermask"):
        method_card(name)
