"""Costs from a folder of the user's own: measured, kept, told of without its code, searched by, refused."""

import csv
import json
import shutil
import sqlite3

import pytest

from search_spaces.expansion import as_spec, expand
from search_spaces.loading import spec_of
from sweeper.launch.view import SweepView
from sweeper.plugins.example import template
from sweeper.records.sweep_folder import SweepFolder
from tests.sweeper.cli.answers import said, wrong
from tests.sweeper.plugins.written import forget, launched, modules, read, written
from trainers.costs import registry
from trainers.errors import InvalidInput
from trainers.recipe.recipe import Recipe

ALLOW = "--allow-plugins"
COST = template("cost")
SPEC = """\
name: own
plugins: [./my_methods]
costs: [my_methods.nonzero]
recipe: {network: lenet, dataset: digits, method: supermask, width: 0.1, batch_size: 200}
budget_epochs: 2
slot_epochs: [1]
arms: [{method: learned}]
"""
SEARCH = """\
search:
  sampler: random
  trials: 2
  objectives: [my_methods.nonzero]
  space: {width: {uniform: [0.1, 0.2]}}
"""


@pytest.fixture(autouse=True)
def told_anew(monkeypatch):
    monkeypatch.setattr(registry, "PLUGGED", registry.PLUGGED)
    registry.PLUGGED.clear()
    yield
    registry.PLUGGED.clear()


@pytest.mark.slow
def test_a_cost_goes_from_a_plan_to_a_report_that_needs_none_of_its_code(tmp_path, storage, capsys):
    spec = written(tmp_path, COST, SPEC)
    assert said(capsys, "plan", spec, "--storage", storage, ALLOW)[0] == 0
    launched(capsys, spec, storage)
    forget()
    registry.PLUGGED.clear()
    shutil.rmtree(tmp_path / "my_methods")
    code, out, message = said(capsys, "runs", "own", "--storage", storage)
    assert code == 0 and "seconds  nonzero" in out.splitlines()[0], out + message
    shown = json.loads(said(capsys, "runs", "own", "--storage", storage, "--json")[1])
    counts = {run["my_methods.nonzero"] for run in shown}
    assert len(counts) == 2 and all(count > 1000 for count in counts)
    registry.PLUGGED.clear()  # what reports know of it, MLflow tells them
    with sqlite3.connect(storage / "mlflow.db") as database:
        told = database.execute("SELECT value FROM latest_metrics WHERE key = 'my_methods.nonzero'").fetchall()
        (view,) = database.execute("SELECT value FROM experiment_tags WHERE key LIKE 'mlflow.sharedView%'").fetchone()
    assert {value for (value,) in told} == counts and view
    for words in (
        ["report", "own", "-o", tmp_path / "report"],
        ["status", "own"],
        ["compare", "own:supermask", "own:learned"],
        ["gc"],
    ):
        code, _, message = said(capsys, *words, "--storage", storage)
        assert code == 0 and not modules(), message
    with (tmp_path / "report" / "table.csv").open(newline="") as file:
        assert {float(row["my_methods.nonzero"]) for row in csv.DictReader(file)} == counts
    page = (tmp_path / "report" / "report.md").read_text()
    assert any(line.startswith("| Arm") and "| Nonzero |" in line for line in page.splitlines())
    assert "weights that are not 0" in page
    assert (tmp_path / "report" / "figures" / "own-my-methods-nonzero.svg").is_file()


@pytest.mark.slow
def test_an_edited_cost_is_measured_anew_unless_its_version_says_otherwise(tmp_path, storage, capsys):
    spec = written(tmp_path, COST, SPEC)
    launched(capsys, spec, storage, ALLOW)

    def left(code: str) -> str:
        written(tmp_path, code, SPEC)
        out = said(capsys, "plan", spec, "--storage", storage, ALLOW)[1]
        return next(line for line in out.splitlines() if line.startswith("left to train"))

    assert left(COST).startswith("left to train: 0 epochs")
    assert left(COST + "# other\n").startswith("left to train: 4 epochs"), "of every arm it is measured"
    versioned = COST + 'version = "1"\n'
    written(tmp_path, versioned, SPEC)
    launched(capsys, spec, storage, ALLOW)
    assert left(versioned + "# a comment\n").startswith("left to train: 0 epochs")


@pytest.mark.slow
def test_a_search_makes_a_cost_of_a_plugin_as_small_or_as_large_as_its_row_says(tmp_path, storage, capsys):
    spec = written(tmp_path, COST.replace('"last", ', '"last", better="higher", '), SPEC.partition("arms")[0] + SEARCH)
    launched(capsys, spec, storage, ALLOW)
    found = [result.finals["my_methods.nonzero"] for result in SweepView(SweepFolder(storage, "own")).results]
    assert len(set(found)) == 2
    code, _, message = said(capsys, "report", "own", "--storage", storage, "-o", tmp_path / "report")
    assert code == 0, message
    page = (tmp_path / "report" / "report.md").read_text()
    best = next(line for line in page.splitlines() if line.startswith("| ") and "Trial of the search" not in line
                and f"| {max(found):,.0f}" in line.replace(" ", " "))  # fmt: skip
    assert "Best by weights that are not 0" in page and best


@pytest.mark.slow
@pytest.mark.parametrize(
    ("amount", "reason"),
    [
        (
            "float('nan') if run.recipe.batch_size == 200 else 1",
            "bug: costs: my_methods.nonzero gave nan, and a cost is fini",
        ),
        ("1 // (run.recipe.seed - 3)", "bug: ZeroDivisionError: "),
    ],
)
def test_a_cost_that_cannot_be_had_fails_its_trial_and_says_where(tmp_path, storage, capsys, amount, reason):
    code = (
        COST.partition("    from trainers.methods.base")[0]
        + f"    return {amount}\n\n\nCOSTS"
        + COST.partition("COSTS")[2]
    )
    spec = written(tmp_path, code, SPEC.replace("budget", "seeds: [3]\nbudget"))
    assert said(capsys, "launch", spec, "--storage", storage, "--local", "--yes", ALLOW)[0] == 1
    failures = [result.failure for result in SweepView(SweepFolder(storage, "own")).results]
    assert len(failures) == 2 and all(str(failure).startswith(reason) for failure in failures)
    assert all("my_methods" in failure.traceback or "costs: my_methods" in failure.reason for failure in failures)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[my_methods.nonzero]", "[flops]", "costs: 'flops' is no cost of a plug-in, as my_costs.latency is"),
        (
            "[my_methods.nonzero]",
            "[my_methods.nonzer]",
            "costs: 'my_methods.nonzer' is not one of my_methods.nonzero (did",
        ),
        ("[my_methods.nonzero]", "[mine.nonzero]", "costs: 'mine.nonzero' is of a plug-in that the spec does not name"),
        (
            "costs: [my_methods.nonzero]\n",
            SEARCH,
            "search.objectives: my_methods.nonzero is no cost of a plug-in that the",
        ),
        ("recipe: {", "recipe: {costs: my_methods.nonzero, ", "recipe.costs: unknown field"),
    ],
)
def test_a_spec_that_asks_for_a_cost_that_is_not_there_is_told_what_is(tmp_path, old, new, message):
    with pytest.raises(InvalidInput) as refused:
        expand(read(written(tmp_path, COST, SPEC.replace(old, new))))
    assert message in str(refused.value) and "recipe.costs: '" not in str(refused.value)


def test_what_some_machines_cannot_measure_is_no_objective(tmp_path):
    code = COST.replace('"last", ', '"last", everywhere=False, ')
    with pytest.raises(InvalidInput, match=r"my_methods\.nonzero is not known on every machine"):
        read(written(tmp_path, code, SPEC + SEARCH))


def test_a_cost_that_breaks_a_rule_is_refused_before_anything_is_planned(tmp_path, capsys):
    code = COST.replace("return sum(", "return __import__('random').random() + sum(")
    message = wrong(capsys, "plan", written(tmp_path, code, SPEC), "--storage", tmp_path / "s", ALLOW)
    assert message.startswith("plugins: my_methods/__init__.py:14: nonzero: "), message
    assert "changes Python's generator of the whole process" in message and not (tmp_path / "s").exists()


def test_recipes_without_costs_are_what_they_were_and_others_can_be_written(tmp_path):
    spec = read(written(tmp_path, COST, SPEC))
    split, learned = expand(spec)
    assert split.costs == learned.costs == "my_methods.nonzero" and split.plugins == learned.plugins
    again = spec_of(as_spec("again", [split]).to_yaml(), "again.yaml")
    assert [one.content_hash() for one in expand(again)] == [split.content_hash()]
    plain = read(tmp_path / "own.yaml", "costs=[]")
    assert expand(plain)[1].plugins is None
    fields = {name: value for name, value in learned.model_dump().items() if name not in ("costs", "plugins")}
    assert expand(plain)[1].content_hash() == Recipe.model_validate(fields).content_hash()


def test_two_sweeps_that_call_different_things_by_one_name_are_no_one_report():
    from reports.tracked.runs import Sweep, _take_in
    from trainers.costs import units

    one = registry.Cost("Latency", "Latency", units.SECOND, "max", of_run="mine.latency")
    other = registry.Cost("Latency", "Latency", units.BYTE, "max", of_run="mine.latency")
    sweeps = [
        Sweep(name, "", None, "", "", "", {}, {}, {"mine.latency": row})
        for name, row in zip("ab", (one, other), strict=True)
    ]
    rows = {}
    _take_in(rows, sweeps[0])
    _take_in(rows, sweeps[0])
    with pytest.raises(InvalidInput, match=r"cost: mine\.latency is another in b .* report them one by one"):
        _take_in(rows, sweeps[1])
