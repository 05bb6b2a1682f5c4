"""The notebook in examples/, run cell by cell as a kernel would, without one."""

import ast
import json
from pathlib import Path

import pytest
from torch import nn

ROOT = Path(__file__).resolve().parents[3]


def shown(cell: str, names: dict[str, object]) -> object:
    """Runs a cell; returns what it ends with, which a notebook shows."""
    *first, last = ast.parse(cell).body
    exec(compile(ast.Module(first, []), "cell", "exec"), names)
    assert isinstance(last, ast.Expr), "each cell shows something"
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names)


@pytest.mark.slow
def test_the_notebook_runs_from_the_top_and_each_cell_shows_something(tmp_path, monkeypatch):
    notebook = json.loads((ROOT / "examples" / "first_sweep.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(not cell.get("outputs") for cell in notebook["cells"]), "it is kept without what it has shown"
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    plan, sweep, arms, interaction, network = (shown(cell, names) for cell in cells)
    assert "<table" in plan._repr_html_() and "4 arms" in plan.text()
    assert "completed" in sweep._repr_html_() and sweep.state == "completed"
    assert arms["n"].tolist() == [2, 2, 2, 2] and "<table" in arms._repr_html_()
    assert interaction["measure"].tolist() == ["validation_accuracy", "test_accuracy"]
    assert interaction["difference"].tolist() == pytest.approx(
        (interaction["second_difference"] - interaction["first_difference"]).tolist()
    )
    assert isinstance(network, nn.Module)
