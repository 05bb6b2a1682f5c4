"""`sweeper plugin new`: what it writes works as it stands, and it writes over nothing."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from sweeper.plugins.example import template
from tests.sweeper.cli.answers import said, wrong
from tests.sweeper.plugins.written import forget
from tests.sweeper.processes import ROOT, environment

QUICK = ["--set", "budget_epochs=1", "--set", "recipe.width=0.1"]


@pytest.mark.slow
def test_a_new_plugin_passes_its_test_and_is_trained_by_the_commands_it_names(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, message = said(capsys, "plugin", "new", "own methods/mine")
    assert code == 0, message
    (_, *pytest_words), (_, *plan), (_, *launch) = (shlex.split(line) for line in out.splitlines()[1:])
    tried = subprocess.run([sys.executable, *pytest_words, "-q"], capture_output=True, text=True, env=environment())
    assert "1 passed" in tried.stdout, tried.stdout + tried.stderr
    for words in (plan, launch):  # the second finds that the first was agreed to
        code, _, message = said(capsys, *words, *QUICK, "--storage", "storage")
        assert code == 0, message
    forget()
    assert said(capsys, "report", "mine", "--storage", "storage", "-o", "report")[0] == 0
    assert "mine.sparse_start, density 0.5" in Path("report", "table.csv").read_text()


@pytest.mark.parametrize("kind", ["network", "data_set"])
def test_networks_and_data_sets_to_begin_with_are_planned_as_they_stand(tmp_path, capsys, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    code, out, message = said(capsys, "plugin", "new", "mine", "--kind", kind)
    assert code == 0 and out.startswith(f"A {kind.replace('_', ' ')} of your own: mine"), message
    _, _, (_, *plan), _ = (shlex.split(line) for line in out.splitlines())  # it checks what the test checks
    code, out, message = said(capsys, *plan, "--storage", "storage")
    assert code == 0 and "3 trials of 3 arms" in out, message
    assert "check_" in Path("mine", "test_mine.py").read_text()


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("there", "there is there already, and is left as it is"),
        ("trained", "trained.yaml is there already"),
        ("My-Methods", "'My-Methods': a plug-in is called as its folder"),
        ("sweeper", "and is none of trainers, search_spaces, sweeper, reports"),
        ("random", "'random': Python itself has that name"),
        ("class", "'class': Python itself has that name"),
        ("trained.yaml/mine", "cannot write trained.yaml/mine: Not a directory"),
    ],
)
def test_a_new_plugin_takes_no_name_that_is_taken_or_none(tmp_path, capsys, monkeypatch, folder, message):
    monkeypatch.chdir(tmp_path)
    Path("there").mkdir()
    Path("trained.yaml").touch()
    assert message in wrong(capsys, "plugin", "new", folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "there", "trained.yaml"]


def test_the_page_of_plugins_shows_what_is_written():
    page = (ROOT / "docs" / "plugins.md").read_text()
    assert [part for part in ("method", "test", "spec") if template(part) not in page] == []
