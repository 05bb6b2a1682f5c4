"""`make reproduce-row`: one row of a report is trained once more and held against it, here at a small size."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
    before = make(tmp_path / "nothing", tmp_path / "first")
    assert before.returncode != 0 and "sweep: 'digits_quickstart'" not in before.stderr
    launched = [Path(sys.executable).with_name("sweeper"), "report", "digits_quickstart"]
    subprocess.run([*launched, "--storage", tmp_path / "first", "-o", tmp_path / "results"], check=True)
    again = make(tmp_path / "results", tmp_path / "second")
    assert again.returncode == 0, again.stderr
    assert "in both, of which 0 moved beyond the interval of the difference." in again.stdout
    assert "| the same |" in again.stdout, "on one machine the same row gives the same numbers"
