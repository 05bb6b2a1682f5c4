"""The notebook in examples/, run in a kernel by nbmake."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sweeper.processes import environment

ROOT = Path(__file__).resolve().parents[3]


def shown(cell: dict) -> str:
    """What a cell of the notebook shows: HTML where it has that, else text."""
    (result,) = (each["data"] for each in cell["outputs"] if each["output_type"] == "execute_result")
    return "".join(result.get("text/html") or result["text/plain"])


@pytest.mark.slow
def test_the_notebook_runs_from_the_top_and_each_cell_shows_something(tmp_path):
    path = Path(shutil.copy(ROOT / "examples" / "first_sweep.ipynb", tmp_path))
    assert not any(cell.get("outputs") for cell in json.loads(path.read_text())["cells"]), "kept without what it showed"
    nbmake = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbmake", "--overwrite", path.name]
    done = subprocess.run(nbmake, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    plan, sweep, arms, interaction, network = map(shown, cells)
    assert "<table" in plan and "4 arms" in plan
    assert "<table" in arms and arms.count("<tr") == 1 + 4
    assert "completed" in sweep
    assert "<table" in interaction and "test_accuracy" in interaction
    assert "SlotWeight()" in network and "(flatten): Flatten" in network
