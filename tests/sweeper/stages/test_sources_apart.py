"""Edited code is never taken for the old one: its results are stored apart, and this is said."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sweeper.launch.ray_jobs import write_submission
from sweeper.records.environment import sources
from sweeper.stages.points import points
from tests.sweeper.launch.started import short
from tests.sweeper.processes import ROOT
from trainers.numerics import running_sources
from trainers.recipe.recipe import Recipe
from trainers.sources import sources_digest

RECIPE = Recipe.complete({"network": "lenet", "dataset": "digits", "method": "learned", "finetune_epochs": 1})


def test_the_digest_counts_paths_and_bytes_of_source_files_and_nothing_else(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "a.py").write_text("1")
    (tmp_path / "inner" / "b.c").write_text("2")
    before = sources_digest(tmp_path)
    for name in ("notes.txt", "a.pyc", "inner/b.so"):
        (tmp_path / name).write_text("3")
    assert sources_digest(tmp_path) == before
    assert sources_digest(tmp_path, without=[tmp_path / "a.py"]) != before
    (tmp_path / "inner" / "b.c").write_text("2 ")
    edited = sources_digest(tmp_path)
    (tmp_path / "inner" / "b.c").write_text("2")
    (tmp_path / "inner" / "b.c").rename(tmp_path / "inner" / "c.c")
    assert len({before, edited, sources_digest(tmp_path)}) == 3


def test_keys_are_those_of_before_unless_the_sources_are_not_the_pinned_ones():
    assert points(RECIPE, "d", "") == points(RECIPE, "d")
    keys = {points(RECIPE, "d", apart)[-1].key for apart in ("", "3f2a", "77aa")}
    assert len(keys) == 3


def test_an_installed_wheel_has_the_digest_of_the_checkout(tmp_path):
    pytest.importorskip("setuptools", reason="needs setuptools to build a wheel")
    write_submission(tmp_path, None)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    build = "from setuptools.build_meta import build_wheel; build_wheel('wheel')"
    subprocess.run([sys.executable, "-W", "ignore", "-c", build], cwd=tmp_path, capture_output=True, check=True)
    (wheel,) = (tmp_path / "wheel").glob("*.whl")
    subprocess.run([sys.executable, "-m", "zipfile", "-e", wheel, tmp_path / "installed"], check=True)
    for package in ("trainers", "sweeper"):
        assert sources_digest(tmp_path / "installed" / package) == sources_digest(ROOT / package)
    assert sources()["trainers_digest"] == running_sources()


def a_checkout(folder: Path) -> Path:
    """One whose sources are the pinned ones, whatever is being done to this one."""
    folder.mkdir()
    write_submission(folder, None)
    (folder / "submission.json").unlink()
    numerics = folder / "trainers" / "numerics.py"
    digest = sources_digest(folder / "trainers", without=[numerics])
    text = re.sub('PINNED_SOURCES = ".*"', f'PINNED_SOURCES = "{digest}"', numerics.read_text())
    numerics.write_text(text)
    return folder


@pytest.mark.cluster
def test_results_of_edited_sources_and_those_of_before_are_both_kept_and_apart(tmp_path):
    folder, spec, storage = a_checkout(tmp_path / "checkout"), short(tmp_path), tmp_path / "storage"

    def sweeper(*arguments: object) -> str:
        command = [sys.executable, "-m", "sweeper", *map(str, arguments), "--storage", str(storage)]
        variables = {**os.environ, "PYTHONPATH": str(folder)}
        done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    apart = "trainers/ differs from what these results were pinned for: kept apart as "
    assert apart not in sweeper("launch", spec, "--local")
    path = folder / "trainers" / "optimization.py"
    before = path.read_text()
    path.write_text(f"{before}# edited\n")
    digest = sources_digest(folder / "trainers", without=[folder / "trainers" / "numerics.py"])
    planned = sweeper("plan", spec)
    assert f"{apart}{digest[:8]}…" in planned and "stored already: 0 stages" in planned
    assert f"{apart}{digest[:8]}…" in sweeper("launch", spec, "--local")
    found = [json.loads(path.read_text())["record"] for path in storage.glob("stages/*/*/*/record.json")]
    assert len(found) == 2 and digest in {record["environment"]["trainers_digest"] for record in found}
    path.write_text(before)
    planned = sweeper("plan", spec)
    assert apart not in planned and "stored already: 1 stages" in planned
    assert "short: completed" in sweeper("status", "short")
    assert "A sweep refers to each of them." in sweeper("gc")
