"""The parts of the documentation that are made from the code: complete, in step with it, or else an error."""

import re
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from docs.generated import PARTS, choices, complete, fetches, rooms
from trainers.methods.registry import METHODS
from trainers.recipe.recipe import Recipe

DOCS = Path(__file__).resolve().parent.parent / "docs"
MARKS = [mark for page in DOCS.glob("**/*.md") for mark in re.findall(r"<!-- generated: (.*?) -->", page.read_text())]


def test_every_part_stands_on_one_page_and_every_mark_is_a_part():
    assert sorted(MARKS) == sorted(PARTS)


def test_a_mark_becomes_the_part_that_it_names_and_all_else_stays():
    assert complete("a\n\n<!-- generated: methods -->\nb") == f"a\n\n{choices.methods()}\nb"
    with pytest.raises(KeyError, match="methodes"):
        complete("<!-- generated: methodes -->")


def test_what_says_nothing_of_itself_cannot_be_shown():
    def silent(): ...

    with pytest.raises(ValueError, match=r"silent.* has no docstring"):
        choices.said(silent)


def test_a_field_belongs_to_the_methods_that_have_it():
    assert "keep_fraction" in choices.own_fields()["edge_popup"]
    assert {"options", "start"} <= set(choices.own_fields()["learned"])
    assert "network" not in choices.own_fields()["slot_machine"]
    assert set(choices.own_fields()) == set(METHODS)


@pytest.mark.parametrize(
    "field, words",
    [
        ("keep_fraction", "number above 0 to 1"),
        ("seed", "whole number from 0 below 2⁶³"),
        ("rescale", "`true` or `false`"),
        ("slot_optimizer", "`sgd`"),
        ("filled", "list of names"),
    ],
)
def test_the_rule_of_a_field_is_said_in_words(field, words):
    assert choices.rule(Recipe.model_json_schema()["properties"][field]) == words


def test_every_field_of_a_recipe_has_its_line_and_its_meaning():
    lines = [line.split(" | ") for line in choices.recipe_fields().splitlines()[2:]]
    assert [line[0].strip("|` ") for line in lines] == list(Recipe.model_fields)
    assert [line[0] for line in lines if not line[-1].strip("| ")] == []


def test_the_arrows_are_those_of_the_imports():
    assert ("trainers/methods", "trainers/kernels") in rooms.arrows()  # from trainers.kernels.options import …
    assert ("sweeper: above", "sweeper/cli") in rooms.arrows()
    assert ("trainers/kernels", "trainers: below") in rooms.arrows()
    assert not {room for arrow in rooms.arrows() for room in arrow} - {*rooms.ordered()}
    assert all(used.startswith("trainers") for user, used in rooms.arrows() if user.startswith("trainers"))


def test_every_file_of_the_packages_is_in_one_room():
    files = [path for paths in rooms.files_by_room().values() for path in paths]
    assert sorted(files) == sorted(path for name in rooms.PACKAGES for path in (rooms.ROOT / name).rglob("*.py"))


def test_the_picture_has_a_mark_for_every_arrow_and_says_which_points_up():
    picture = rooms.picture()
    assert picture.count("<title>") == len(rooms.arrows()) + len(rooms.ordered())
    assert picture.count('class="up"') == len(rooms.against_the_order())


def test_a_page_that_loads_from_another_host_is_told_from_one_that_links_there(tmp_path):
    (tmp_path / "links.html").write_text('<a href="https://example.org">x</a><script src="_static/x.js"></script>')
    (tmp_path / "own.css").write_text("a { background: url(data:image/svg+xml;base64,x) }")
    assert fetches(tmp_path) == []
    for name, text in {
        "script.html": '<script src="https://example.org/x.js"></script>',
        "style.html": '<link rel="stylesheet" href="//example.org/x.css">',
        "font.css": "@font-face { src: url('https://example.org/x.woff2') }",
        "import.css": '@import "https://example.org/x.css";',
        "picture.html": '<img alt="" src="http://example.org/x.png">',
    }.items():
        (tmp_path / name).write_text(text)
    assert fetches(tmp_path) == ["font.css", "import.css", "picture.html", "script.html", "style.html"]


def test_the_examples_of_the_python_interface_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sweeps, one_run = re.findall(r"```python\n(.*?)```", (DOCS / "python.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(sweeps, "python.md", "exec"), names)
    said = capsys.readouterr().out
    assert "left to train: 8 epochs" in said and said.endswith("\ncompleted\n")
    assert len(names["trials"]) == 4 and len(names["curves"]) == 8 and names["arms"]["n"].tolist() == [2, 2]
    assert isinstance(names["network"], nn.Module) and (tmp_path / "report" / "report.html").stat().st_size > 0
    exec(compile(one_run, "python.md", "exec"), {})
    assert len(re.findall(r"^slot \d: validation accuracy 0\.\d{3}$", capsys.readouterr().out, re.MULTILINE)) == 2
    assert (tmp_path / "digits.ticket").stat().st_size > 0
