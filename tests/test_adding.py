"""A method, a network and a data set are added as docs/adding.md says, to the letter, and launched."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("trainers", "search_spaces", "sweeper", "reports")
SPEC = """
name: added
recipe: {network: perceptron, dataset: stripes, method: sparse_start, finetune_learning_rate: 0.1}
budget_epochs: 2
axes: {density: [0.25, 0.5]}
arms:
  - {method: learned}
  - {method: edge_popup}
  - {network: lenet, density: 0.5}
seeds: 2
"""
ARMS = {
    ("Perceptron sparse start 25 %", "sparse_start", "perceptron", "0.25"),
    ("Perceptron sparse start 50 %", "sparse_start", "perceptron", "0.5"),
    ("Lenet sparse start 50 %", "sparse_start", "lenet", "0.5"),
    ("Perceptron learned weights", "learned", "perceptron", ""),
    ("Perceptron edge-popup keep 50 %", "edge_popup", "perceptron", ""),
}


def follow(page: str, root: Path) -> list[str]:
    """Does in the tree at `root` what the page's blocks of Python say, each headed by its file; returns those files."""
    blocks = re.findall(r"```python\n# (\S+)\n(.*?)```", page, re.DOTALL)
    for name, text in blocks:
        path = root / name
        if "    ...\n" not in text:
            assert not path.exists(), f"{name} is there already"
            path.write_text(text, encoding="utf-8")
            continue
        imported, registry, entry = re.fullmatch(r"(.*\n)\n(\w+) = \{\n    \.\.\.\n(.*\n)\}\n", text).groups()
        source = path.read_text(encoding="utf-8")
        source = re.sub(r"(\nfrom __future__ import annotations\n)", rf"\1\n{imported}", source, count=1)
        source, count = re.subn(
            rf"(\n{registry}\b[^\n]*\{{\n.*?)(?=\n\}})", rf"\1\n{entry.rstrip()}", source, flags=re.DOTALL
        )
        assert count == 1, f"{name} has no {registry}"
        path.write_text(source, encoding="utf-8")
    return [name for name, _ in blocks]


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """A copy of the four packages, to which things were added by the page alone."""
    root = tmp_path_factory.mktemp("tree")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    before = {path: path.read_text() for path in root.rglob("*.py")}
    files = follow((ROOT / "docs" / "adding.md").read_text(encoding="utf-8"), root)
    after = {path: path.read_text() for path in root.rglob("*.py")}
    new = {path.relative_to(root).as_posix() for path in after.keys() - before.keys()}
    changed = {path.relative_to(root).as_posix() for path in before if before[path] != after[path]}
    assert new | changed == set(files)
    registries = {f"trainers/{room}/registry.py" for room in ("methods", "networks", "data")}
    assert changed >= registries and len(new) >= 3, "one file and one line each"
    return root


# Commands of that tree's own, one after the other in one process.
COMMANDS = """
import shlex, sys
sys.path.insert(0, {tree!r})
from sweeper.cli.main import main
for command in sys.argv[1:]:
    if code := main(shlex.split(command)):
        sys.exit(code)
    print({end!r}, flush=True)
"""
END = "----- the next command -----"


def run(tree: Path, *commands: str) -> list[str]:
    """What each of these commands of that tree's own says."""
    environment = {**os.environ, "SWEEPER_DATA_DIR": str(tree / "data")}
    command = [sys.executable, "-c", COMMANDS.format(tree=str(tree), end=END), *commands]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split(END)


@pytest.fixture(scope="module")
def reported(tree) -> Path:
    """The folder of the report on a sweep of what was added; planned and launched first."""
    (tree / "added.yaml").write_text(SPEC)
    planned, launched, *_ = run(
        tree,
        "plan added.yaml --storage s",
        "launch added.yaml --storage s --local --yes",
        "report added --storage s -o r",
    )
    assert "sparse start 25 %" in planned
    assert "10 trials" in launched
    return tree / "r"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_what_is_added_by_the_page_has_its_label_family_and_column_in_the_report(reported):
    table = rows(reported / "table.csv")
    found = {(row["arm"], row["family"], row["network"], row["density"]) for row in table}
    assert found == ARMS
    assert {row["dataset"] for row in table} == {"stripes"}
    assert {row["n"] for row in table} == {"2"}
    learned = next(row for row in table if row["method"] == "learned")
    assert float(learned["test_accuracy"]) > 0.9, "stripes can be learned"


def test_what_is_added_is_drawn_in_its_colour_and_named_in_the_legend(reported):
    figures = "".join(path.read_text() for path in (reported / "figures").glob("*.svg"))
    assert "sparse start" in figures
    assert "--sparse_start: #7a3e00" in figures and "var(--sparse_start, #7a3e00)" in figures


def test_what_is_added_is_a_parameter_in_mlflow(tree, reported):
    program = (
        "from mlflow import MlflowClient; c = MlflowClient('sqlite:///s/mlflow.db');"
        "e = c.get_experiment_by_name('added').experiment_id;"
        "print(sorted({r.data.params.get('density', '') for r in c.search_runs([e])}))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tree, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['', '0.25', '0.5']"


def test_what_is_added_is_refused_where_its_rules_say_so(tree, reported):
    program = f"""
import sys; sys.path.insert(0, {str(tree)!r})
from trainers.errors import InvalidInput
from trainers.recipe.recipe import Recipe
added = {{"network": "perceptron", "dataset": "stripes", "method": "sparse_start", "finetune_epochs": 1}}
for wrong in ({{"density": 2.0}}, {{"options": 2}}, {{"slot_epochs": 1}}, {{"network": "vgg19"}},
              {{"method": "sparse"}}, {{"method": "learned", "density": 0.5}}):
    try: print(Recipe.complete({{**added, **wrong}}))
    except InvalidInput as error: print(str(error).splitlines()[0])
assert "torch" not in sys.modules, "a recipe is read without torch"
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tree, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "density: should be less than or equal to 1, not 2.0 (did you mean 0.02, for 2 %?)",
        "options: sparse_start has no such field, so it must be left out, not 2",
        "slot_epochs: sparse_start has no slot phase, so it must be 0, not 1 (use finetune_epochs)",
        "network: vgg19 needs images of at least 16 x 16 pixels, and stripes are 8 x 8 (use lenet, shallow, conv2, "
        "conv4, conv6, resnet18, resnet34, resnet50, resnet101, wide_resnet50, perceptron)",
        "method: 'sparse' is not one of slot_machine, learned, edge_popup, supermask, signed_supermask, "
        "random_features, binary, sparse_start (did you mean sparse_start?)",
        "density: learned has no such field, so it must be left out, not 0.5",
    ]
