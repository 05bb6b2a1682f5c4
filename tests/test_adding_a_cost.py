"""What docs/adding.md says of a cost, done to the letter in a copy of the packages: it comes out in a report."""

import csv
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from trainers.costs.registry import RECORD_FORMAT

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("trainers", "search_spaces", "sweeper", "reports")
BLOCK = re.compile(r"```python\n# (?P<file>\S+), (?P<where>above|in) (?P<name>\w+)\n(?P<code>.*?)```", re.DOTALL)
SPEC = """\
name: toy
description: Two arms, for the look of their costs.
recipe: {network: lenet, dataset: digits, preset: icml, method: slot_machine, options: 2, width: 0.1}
budget_epochs: 2
slot_epochs: [1]
seeds: 2
arms: [{method: learned, width: 0.2}]
"""


def instructions():
    """The blocks of the section about costs: file, where, name, code."""
    text = (ROOT / "docs" / "adding.md").read_text(encoding="utf-8")
    section = re.search(r"^## A cost\n(.*?)^## ", text, re.DOTALL | re.MULTILINE).group(1)
    return [found.group("file", "where", "name", "code") for found in BLOCK.finditer(section)]


def follow(root, file, where, name, code):
    """Writes the code above the dict of this name, or as its last line."""
    text = (root / file).read_text(encoding="utf-8")
    start = re.search(rf"^{name}: dict\[.*\] = {{$", text, re.MULTILINE).start()
    place, code = (start, f"{code}\n\n") if where == "above" else (text.index("\n}", start) + 1, code)
    (root / file).write_text(text[:place] + code + text[place:], encoding="utf-8")


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """A copy of the packages with the costs of the instruction."""
    root = tmp_path_factory.mktemp("tree")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    for block in instructions():
        follow(root, *block)
    (root / "toy.yaml").write_text(SPEC)
    return root


# Commands one after the other in one process.
COMMANDS = """
import shlex, sys
from sweeper.cli.main import main
for command in sys.argv[1:]:
    if code := main(shlex.split(command)):
        sys.exit(code)
    print("----- the next command -----", flush=True)
"""


def sweeper(tree, *commands):
    done = subprocess.run([sys.executable, "-c", COMMANDS, *commands], cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split("----- the next command -----")


def test_a_cost_is_one_row_and_what_measures_it():
    files = [file for file, *_ in instructions()]
    assert len(files) == 6
    assert set(files) == {"trainers/costs/registry.py", "trainers/costs/measures.py", "trainers/costs/meters.py"}


def test_costs_added_as_written_go_from_plan_to_report(tree):
    launch, report = "launch toy.yaml --storage store --local --yes", "report toy --storage store -o out"
    planned, *_ = sweeper(tree, "plan toy.yaml --storage store", launch, report)
    assert "2 arms" in planned

    records = [json.loads(path.read_bytes()) for path in tree.glob("store/stages/*/*/*/record.json")]
    assert {content["format"] for content in records} == {RECORD_FORMAT + 1}, "which the page says"
    kept = [(content["record"]["recipe"]["method"], content["record"]["trained_parameters"]) for content in records]
    parameters = {max(count for method, count in kept if method == of) for of in ("slot_machine", "learned")}
    assert len(set(kept)) == 3, "a slot phase trains a scalar a layer besides"
    with sqlite3.connect(tree / "store" / "mlflow.db") as database:
        told = database.execute("SELECT key, value FROM latest_metrics").fetchall()
    assert {value for key, value in told if key == "trained_parameters"} == parameters
    assert len(parameters) == 2 and all(value > 0 for key, value in told if key == "process_seconds")

    with (tree / "out" / "table.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert {float(row["trained_parameters"]) for row in table} == parameters
    assert all(float(row["process_seconds"]) > 0 for row in table)
    page = (tree / "out" / "report.md").read_text()
    headers = [line for line in page.splitlines() if line.startswith("| Arm")]
    assert any("| Trained |" in header and "| Process time |" in header for header in headers)
    assert "test accuracy against trained parameters" in page
    assert (tree / "out" / "figures" / "toy-trained-parameters.svg").is_file()


# torch is loaded once; then each copy of the package in a process of its own, which ends with what it says.
EACH = """
import os, sys, torch
for folder in sys.argv[1:]:
    if os.fork() == 0:
        sys.path.insert(0, folder)
        os.dup2(os.open(folder + "/said", os.O_WRONLY | os.O_CREAT), 2)
        import trainers.training
        assert trainers.training.__file__.startswith(folder)
        sys.exit(0)
    open(folder + "/code", "w").write(str(os.waitstatus_to_exitcode(os.wait()[1])))
"""


def test_half_of_a_cost_is_an_error_that_names_it(tmp_path):
    blocks = instructions()
    for left_out in [*range(len(blocks)), None]:
        folder = tmp_path / str(left_out)
        shutil.copytree(ROOT / "trainers", folder / "trainers", ignore=shutil.ignore_patterns("__pycache__"))
        for number, block in enumerate(blocks):
            if number != left_out:
                follow(folder, *block)
    folders = sorted(map(str, tmp_path.iterdir()))
    subprocess.run([sys.executable, "-c", EACH, *folders], cwd=tmp_path, check=True)
    assert (tmp_path / "None" / "code").read_text() == "0", "with all of it there is none"
    for left_out, missing in enumerate(blocks):
        folder = tmp_path / str(left_out)
        named = re.search(r'"(\w+)": |def (\w+)', missing[-1])
        assert (folder / "code").read_text() == "1"
        assert (named.group(1) or named.group(2)) in (folder / "said").read_text().splitlines()[-1]
