"""What a spec may search, and that everything about it is checked before anything starts."""

import pytest

from search_spaces.expansion import expand, searches
from search_spaces.json_schema import spec_schema
from search_spaces.loading import load_spec
from search_spaces.ranges import Search
from search_spaces.spec import Spec
from trainers.errors import InvalidInput

BASE = {"network": "lenet", "dataset": "digits", "method": "slot_machine", "preset": "icml"}


def spec(space=None, search=None, **fields):
    asked = {"sampler": "tpe", "trials": 5, "space": space or {"options": {"integer": [2, 8]}}, **(search or {})}
    return Spec.parse({"name": "x", "recipe": BASE, "budget_epochs": 10, "search": asked, **fields})


def faults(*arguments, **fields):
    with pytest.raises(InvalidInput) as caught:
        expand(spec(*arguments, **fields))
    return str(caught.value)


def test_arms_stand_beside_a_search_and_every_cell_of_the_grid_is_searched_by_itself():
    searched = spec(axes={"selection": ["greedy", "probabilistic"]}, slot_epochs=[5, 10], arms=[{"method": "learned"}])
    assert [recipe.method for recipe in expand(searched)] == ["learned"]
    cells = searches(searched)
    assert [cell.cell for cell in cells] == [
        {"selection": selection, "slot_epochs": epochs}
        for selection in ("greedy", "probabilistic")
        for epochs in (5, 10)
    ]
    recipe = cells[1].recipe({"options": 3})
    assert (recipe.options, recipe.selection, recipe.slot_epochs, recipe.finetune_epochs) == (3, "greedy", 10, 0)
    assert searches(Spec.parse({"name": "x", "recipe": {**BASE, "slot_epochs": 3}})) == []


def test_a_rule_leaves_cells_of_a_search_out():
    searched = spec(
        axes={"selection": ["greedy", "probabilistic"], "sharing": ["none", "layer"]},
        exclude=[{"selection": "probabilistic", "sharing": "layer"}],
    )
    expand(searched)
    assert len(searches(searched)) == 3


SPACE = {
    "selection": {"choice": ["greedy", "probabilistic"]},
    "options": {"integer": [2, 9], "step": 3},
    "slot_learning_rate": {"log_uniform": [0.01, 1], "when": {"selection": "greedy"}},
    "slot_momentum": {"uniform": [0, 0.9], "when": {"options": [5, 8], "selection": "probabilistic"}},
}


def test_a_field_is_searched_only_where_its_condition_holds():
    searched = spec(SPACE)
    expand(searched)
    search, cell = searched.search, searches(searched)[0]
    assert search.order() == ["selection", "options", "slot_learning_rate", "slot_momentum"]
    points = search.corners(cell.known)
    assert {frozenset(point) for point in points} == {
        frozenset({"selection", "options", "slot_learning_rate"}),
        frozenset({"selection", "options"}),
        frozenset({"selection", "options", "slot_momentum"}),
    }
    assert {point["options"] for point in points} == {2, 5, 8}  # its ends, 9 is no step; and what a condition asks for
    assert {point["slot_learning_rate"] for point in points if point["selection"] == "greedy"} == {0.01, 1.0}
    assert search.points(cell.known) is None


def test_a_condition_looks_at_axes_at_the_base_and_at_what_the_preset_fills():
    space = {
        "options": {"integer": [2, 4], "when": {"sharing": "none"}},  # by the preset
        "slot_momentum": {"choice": [0.5, 0.9], "when": {"selection": "greedy"}},  # an axis
        "slot_weight_decay": {"choice": [0.0, 1e-4], "when": {"network": "lenet"}},  # the base
    }
    searched = spec(space, axes={"selection": ["greedy", "probabilistic"]})
    expand(searched)
    sizes = [len(list(searched.search.points(cell.known))) for cell in searches(searched)]
    assert sizes == [3 * 2 * 2, 3 * 2]


def test_a_large_space_is_checked_where_any_two_of_its_fields_are_at_an_end():
    fields = ("slot_learning_rate", "slot_momentum", "slot_weight_decay", "score_range_linear", "finetune_momentum",
              "finetune_learning_rate", "finetune_weight_decay", "dropout", "width", "score_range_conv")  # fmt: skip
    wide = Search.model_validate(
        {"sampler": "random", "trials": 2, "space": {name: {"uniform": [0.1, 0.5]} for name in fields}}
    )
    corners = wide.corners(lambda point: {})
    assert len(corners) == 1 + len(fields) + len(fields) * (len(fields) - 1) // 2


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"optons": {"integer": [2, 8]}}, "search.space.optons: unknown field (did you mean options?)"),
        ({"seed": {"integer": [2, 8]}}, "search.space.seed: the seeds of a sweep go into seeds"),
        ({"options": {"integer": [8, 2]}}, "search.space.options: low 8 is above high 2 (integer)"),
        ({"options": {"integer": [2]}}, "integer: should be [low, high], not [2]"),
        ({"options": {"intger": [2, 8]}}, "search.space.options.intger: unknown field (did you mean integer?)"),
        ({"options": {}}, "exactly one of uniform, log_uniform, integer, choice, and this has none"),
        ({"options": {"integer": [2, 8], "choice": [2]}}, "not integer and choice"),
        ({"options": {"choice": [2, 2]}}, "choice: 2 is listed twice"),
        ({"options": {"choice": [[2]]}}, "choice: a value is a number, a word, true or false, not [2]"),
        ({"options": {"integer": [2, 8], "step": 2, "log": True}}, "either steps or orders of size"),
        ({"slot_momentum": {"uniform": [0.1, 0.5], "step": 1}}, "step: belongs to integer, not to uniform"),
        ({"slot_learning_rate": {"log_uniform": [0, 1]}}, "orders of size begin above 0, not at 0"),
        ({"slot_learning_rate": {"uniform": [0.1, float("inf")]}}, "uniform: should be [low, high]"),
        ({"slot_momentum": {"uniform": [0.5, 1.5]}}, "search.space.slot_momentum: should be less than 1, not 1.5"),
        ({"options": {"uniform": [2.5, 8]}}, "search.space.options: should be a valid integer"),
        (
            {"slot_epochs": {"integer": [5, 20]}},
            "search.space.slot_epochs: a part of the budget is from 0 to 10 epochs",
        ),
        ({"keep_fraction": {"uniform": [0.1, 0.9]}}, "search.space.keep_fraction: slot_machine has no such field"),
        ({"finetune_learning_rate": {"uniform": [0.1, 0.9]}}, "finetune_learning_rate: no recipe changes with it"),
        ({"options": {"integer": [2, 8], "when": {"selektion": "greedy"}}}, "when.selektion: unknown field"),
        ({"options": {"integer": [2, 8], "when": {"selection": "probabilistic"}}}, "options.when: {'selection':"),
        ({"options": {"integer": [2, 8], "when": {"options": 2}}}, "a field cannot wait for its own value"),
        (
            {
                "options": {"integer": [2, 8], "when": {"width": 1.0}},
                "width": {"choice": [1.0, 2.0], "when": {"options": 2}},
            },
            "search.space: options and width wait for each other (when)",
        ),
        ({}, "search.space: "),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_space_that_cannot_be_searched_is_told_before_anything_starts(space, message):
    assert message in faults(None, {"space": space})


@pytest.mark.parametrize(
    ("search", "message"),
    [
        (
            {"sampler": "tpee"},
            "search.sampler: 'tpee' is not one of random, qmc, tpe, cmaes, nsga2 (did you mean tpe?)",
        ),
        (
            {"sampler": "cmaes", "objectives": ["validation_accuracy", "flops"]},
            "search.objectives: cmaes follows one; nsga2 weighs several",
        ),
        ({"trials": 0}, "search.trials: should be greater than or equal to 1, not 0"),
        ({"sampler": "nsga2"}, "search.objectives: nsga2 weighs objectives against each other, so name two or more"),
        ({"objectives": ["test_accuracy"]}, "search.objectives.0"),
        ({"objectives": ["flops", "flops"]}, "search.objectives: flops is listed twice"),
        ({"population": 5}, "search.population: tpe has no generations, so leave it out"),
        ({"trails": 5}, "search.trails: unknown field (did you mean trials?)"),
    ],
)
def test_a_search_that_cannot_be_is_told_before_anything_starts(search, message):
    assert message in faults(None, search)


@pytest.mark.parametrize(
    ("dimension", "what"),
    [
        ({"choice": [2, 8]}, "is a choice"),
        ({"integer": [2, 8], "when": {"width": 1.0}}, "is there only sometimes (when)"),
    ],
)
def test_cma_es_takes_ranges_of_numbers_alone(dimension, what):
    told = faults({"options": dimension, "slot_learning_rate": {"uniform": [0.1, 1.0]}}, {"sampler": "cmaes"})
    assert f"search.space.options: {what}, and cmaes moves in ranges of numbers alone" in told


def test_a_field_is_searched_or_an_axis_and_budgets_are_one_unless_said_otherwise():
    assert "it is an axis of the grid, too" in faults(axes={"options": [2, 4]})
    assert "it is an axis of the grid, too" in faults({"slot_epochs": {"choice": [2, 3]}}, slot_epochs=[5])
    budgets = {"budget_epochs": {"choice": [5, 10]}}
    assert "the arms differ in their total" in faults(budgets)
    expand(spec(budgets, budgets_differ=True))


@pytest.mark.parametrize(
    ("rungs", "message"),
    [
        ({"rule": "asha", "epochs": [10]}, "rungs.epochs: nothing is left to stop at 10 of 10 epochs"),
        ({"rule": "asha", "epochs": [4, 2]}, "rungs.epochs: should ascend, each once, not [4, 2]"),
        (
            {"rule": "asha", "epochs": [2, 4], "brackets": 4},
            "rungs.brackets: 2 rungs can make 3 at most, the last without one, not 4",
        ),
        ({"rule": "median", "epochs": [2], "brackets": 2}, "rungs.brackets: median keeps no share of the arms"),
        ({"rule": "median", "epochs": [2], "reduction": 3}, "rungs.reduction: median has no such field"),
        (
            {"rule": "ahsa", "epochs": [2]},
            "rungs.rule: 'ahsa' is not one of asha, synchronous, stop, median (did you mean asha?)",
        ),
        ({"rule": "asha", "epochs": []}, "rungs.epochs: "),
    ],
)
def test_rungs_that_cannot_be_are_told_before_anything_starts(rungs, message):
    assert message in faults(rungs=rungs)


def test_the_command_line_changes_a_search(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(spec(SPACE).to_yaml())
    changed = load_spec(str(path), ["search.trials=20", "search.sampler=random", "rungs={rule: asha, epochs: [2]}"])
    assert (changed.search.trials, changed.search.sampler, changed.rungs.epochs) == (20, "random", [2])
    fixed = load_spec(str(path), ["slot_learning_rate=0.1"])
    assert "slot_learning_rate" not in fixed.search.space
    assert fixed.recipe["slot_learning_rate"] == 0.1
    with pytest.raises(InvalidInput, match=r"search has no field trails \(did you mean trials\?\)"):
        load_spec(str(path), ["search.trails=20"])


@pytest.mark.parametrize(
    ("fields", "fits"),
    [
        ({"search": {"sampler": "tpe", "trials": 3, "space": SPACE}}, True),
        ({"rungs": {"rule": "asha", "epochs": [2], "reduction": 3}}, True),
        ({"search": {"sampler": "tpe", "trials": 3, "space": {"optons": {"integer": [1, 2]}}}}, False),
        ({"search": {"sampler": "tpe", "trials": 3, "space": {"options": {"integer": [1, 2, 3]}}}}, False),
        ({"search": {"sampler": "tpe", "trials": 3, "space": {"options": {}}}}, False),
        ({"search": {"sampler": "tpe", "trials": 3, "space": {"selection": {"choice": ["greddy"]}}}}, False),
        ({"search": {"sampler": "tpe", "space": SPACE}}, False),
        ({"rungs": {"rule": "asha"}}, False),
    ],
)
def test_the_schema_knows_searches_and_rungs(fields, fits):
    import jsonschema

    found = list(jsonschema.Draft202012Validator(spec_schema()).iter_errors({"name": "x", "recipe": BASE, **fields}))
    assert (found == []) is fits


def test_whole_numbers_may_be_written_as_powers_of_ten():
    asked = {"sampler": "random", "trials": 1e1, "space": {"options": {"integer": [2e0, 1e1], "step": 2.0}}}
    search = Search.model_validate(asked)
    assert (search.trials, search.space["options"].integer, search.space["options"].step) == (10, [2, 10], 2)
    with pytest.raises(ValueError, match="valid integer"):
        Search.model_validate({**asked, "trials": 1.5})


@pytest.mark.parametrize(
    ("point", "reason"),
    [
        ({"optons": 4}, "search.enqueue[0].optons: is not in search.space (did you mean options?)"),
        ({"options": 9}, "search.enqueue[0].options: 9 is not in its range, {'integer': [2, 8]}"),
        ({"options": True}, "search.enqueue[0].options: True is not in its range"),
        ({}, "search.enqueue[0].options: missing, and it is searched there"),
    ],
)
def test_a_point_to_be_tried_first_is_one_of_the_space(point, reason):
    with pytest.raises(InvalidInput) as caught:
        expand(spec(search={"enqueue": [point]}))
    assert reason in str(caught.value)
