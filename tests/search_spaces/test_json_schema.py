"""The JSON Schema agrees with what is loaded: it knows every field, and refuses what would be refused."""

from importlib.resources import files

import jsonschema
import pytest

from search_spaces.fields import AXIS_FIELDS, RECIPE_FIELDS
from search_spaces.json_schema import spec_schema
from search_spaces.loading import bundled_specs
from search_spaces.spec import Limits, Spec
from search_spaces.yaml_reader import read_yaml

GOOD = {"name": "x", "recipe": {"network": "lenet", "dataset": "digits", "method": "learned"}}


@pytest.fixture(scope="module")
def validator():
    jsonschema.Draft202012Validator.check_schema(spec_schema())
    return jsonschema.Draft202012Validator(spec_schema())


@pytest.mark.parametrize("name", bundled_specs())
def test_every_bundled_spec_fits_the_schema(validator, name):
    text = files("search_spaces").joinpath("specs", f"{name}.yaml").read_text()
    assert list(validator.iter_errors(read_yaml(text))) == []


def test_editors_can_complete_every_field_and_say_what_it_is():
    properties = spec_schema()["properties"]
    assert set(properties) == set(Spec.model_fields)
    assert set(properties["recipe"]["properties"]) == set(RECIPE_FIELDS)
    for fields in (properties["axes"], properties["arms"]["items"], properties["exclude"]["items"]):
        assert set(fields["properties"]) == set(AXIS_FIELDS)
        assert all(field["description"] for field in fields["properties"].values())
    assert all(field["description"] for field in properties.values())
    limits = spec_schema()["$defs"]["Limits"]["properties"]
    assert set(limits) == set(Limits.model_fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"seeds": 3},
        {"seeds": [0, 5]},
        {"slot_epochs": 3},
        {"slot_epochs": [3, 5]},
        {"axes": {"options": [2, 8], "budget_epochs": [10, 20]}},
        {"arms": [{"options": 2}, {"options": [2, 4], "selection": "greedy"}]},
        {"exclude": [{"selection": ["greedy"], "options": 2}]},
        {"limits": {"device_hours": 0.5, "trials": 3}},
        {"budgets_differ": True},
    ],
)
def test_what_a_spec_may_say_fits(validator, fields):
    Spec.parse({**GOOD, **fields})
    assert list(validator.iter_errors({**GOOD, **fields})) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"sedes": 3},
        {"seeds": 0},
        {"seeds": [1, 1]},
        {"seeds": "3"},
        {"slot_epochs": [-1]},
        {"slot_epochs": []},
        {"name": "a/b"},
        {"recipe": {"optons": 2}},
        {"recipe": {"selection": "greddy"}},
        {"recipe": {"seed": 2}},
        {"recipe": {"filled": []}},
        {"axes": {"options": 2}},
        {"axes": {"options": []}},
        {"axes": {"optons": [2]}},
        {"axes": {"selection": ["greddy"]}},
        {"arms": [{"optons": 2}]},
        {"arms": {"options": 2}},
        {"exclude": [{}]},
        {"limits": {"epochs": 0}},
        {"limits": {"epoch": 1}},
        {"budget_epochs": 0},
    ],
)
def test_what_would_be_refused_does_not_fit(validator, fields):
    assert list(validator.iter_errors({**GOOD, **fields})) != []
