"""`make reproduce-row`: one row of a report is trained once more and held against it, here at a small size."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sweeper.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
ROW = "--set options=2 --set method=slot_machine --set selection=greedy --set budget_epochs=2 --set seeds=2"


def make(results, storage):
    variables = {"BIN": Path(sys.executable).parent, "ROW_SWEEP": "digits_quickstart", "ROW": ROW,
                 "ROW_STORAGE": storage, "RESULTS": results}  # fmt: skip
    said = [f"{name}={value}" for name, value in variables.items()]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SWEEPER_")}
    command = ["make", "--no-print-directory", "-o", ".venv/.ready", "reproduce-row", *said]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)


@pytest.mark.slow
def test_a_row_run_once_more_in_another_storage_says_what_moved(tmp_path):
    first, results = ["--storage", str(tmp_path / "first")], tmp_path / "results"
    assert main(["launch", "digits_quickstart", *ROW.split(), *first, "--local", "--yes"]) == 0
    assert main(["report", "digits_quickstart", *first, "-o", str(results)]) == 0
    again = make(results, tmp_path / "second")
    assert again.returncode == 0, again.stderr
    assert "in both, of which 0 moved beyond the interval of the difference." in again.stdout
    assert "| the same |" in again.stdout, "on one machine the same row gives the same numbers"
