"""The README keeps in step with the code: whatever can be chosen or run is in it, and whatever it names exists."""

import re
from pathlib import Path
from typing import get_args

import click
import pytest

from search_spaces.expansion import expand
from search_spaces.loading import bundled_chains, bundled_specs, load_spec
from sweeper.cli.main import cli
from trainers.data.registry import DATA_SETS
from trainers.methods.registry import METHODS
from trainers.networks.registry import NETWORKS
from trainers.recipe.choices import Preset

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("docs/**/*.md"))]
PACKAGES = ("trainers", "search_spaces", "sweeper", "reports")


def commands() -> dict[str, click.Command]:
    """The command line's commands, by name."""
    context = click.Context(cli)
    return {name: cli.get_command(context, name) for name in cli.list_commands(context)}


def files_in_tree(readme: str) -> set[str]:
    """The files that the README's tree lists: an indented name a line, folders ending in a slash."""
    block = re.search(r"## The tree\n\n```\n(.*?)```", readme, re.DOTALL).group(1)
    folders, found = [], set()
    for line in block.splitlines():
        name, depth = line.split()[0], (len(line) - len(line.lstrip())) // 4
        del folders[depth:]
        if name.endswith("/"):
            folders.append(name)
        else:
            found.add("".join(folders) + name)
    return found


def test_the_tree_is_read_as_it_is_drawn():
    drawn = "## The tree\n\n```\na/      one\n    b/\n        c.py  two\n    d.py  three\ne.md\n```\n"
    assert files_in_tree(drawn) == {"a/b/c.py", "a/d.py", "e.md"}


def test_the_tree_lists_every_file_of_the_four_packages_and_no_other():
    files = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in files_in_tree(README) if name.startswith(PACKAGES)} == files


def test_every_file_in_the_tree_exists():
    assert [name for name in files_in_tree(README) if not (ROOT / name).exists()] == []


CHOICES = [*NETWORKS, *METHODS, *DATA_SETS, *get_args(Preset), *bundled_specs(), *bundled_chains()]


@pytest.mark.parametrize("name", CHOICES)
def test_whatever_can_be_chosen_is_in_the_readme(name):
    assert f"`{name}`" in README


@pytest.mark.parametrize("name", commands())
def test_every_command_is_in_the_readme(name):
    assert re.search(rf"\bsweeper {name}\b", README)


@pytest.mark.parametrize(
    "line", sorted(set(re.findall(r"bin/sweeper [^\n`#]+", README + (ROOT / "Makefile").read_text())))
)
def test_every_command_line_in_the_readme_and_the_makefile_is_accepted(line):
    _, name, *words = line.split()
    commands()[name].make_context(name, words)  # raises UsageError


def test_every_flag_in_the_readme_exists():
    parameters = [one for command in commands().values() for one in command.get_params(click.Context(command))]
    known = {flag for one in parameters for flag in one.opts + one.secondary_opts}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", README)) <= known


def test_every_test_that_the_list_of_faults_names_exists():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs" / "faults.md").read_text())
    assert named
    assert [name for path, name in named if f"def {name}(" not in (ROOT / path).read_text()] == []


def test_every_make_target_in_the_documents_exists_and_is_in_makes_help():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE).group(1).split())
    called = re.compile(r"(?:^|`)make ([a-z-]+)", re.MULTILINE)
    named = {name for path in DOCUMENTS for name in called.findall(path.read_text())}
    assert named <= targets
    assert set(re.findall(r'echo "make ([\w-]+)', makefile)) == targets - {"help"}


@pytest.mark.parametrize("example", re.findall(r"```yaml\n(.*?)```", README, re.DOTALL))
def test_every_spec_in_the_readme_can_be_launched(example, tmp_path):
    (tmp_path / "example.yaml").write_text(example)
    assert expand(load_spec(str(tmp_path / "example.yaml")))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_and_file_that_a_document_names_exists(document):
    text = document.read_text(encoding="utf-8")
    links = {link.partition("#")[0] for link in re.findall(r"\]\((?!\w+:)([^)]+)\)", text)} - {""}
    assert [link for link in links if not (document.parent / link).exists()] == []
    folders = "|".join((*PACKAGES, "tests", "benchmarks", "docs"))
    paths = set(re.findall(rf"`((?:{folders})/[\w./-]*)`", text))
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_place_to_add_something_is_where_the_readme_says():
    places = re.findall(r"`(\w+)` in `([\w/.]+)`", README)
    assert places
    missing = [
        (n, path)
        for n, path in places
        if not re.search(rf"^(class |def )?{n}\b", (ROOT / path).read_text(), re.MULTILINE)
    ]
    assert missing == []


def test_the_changelog_has_the_version_of_the_package():
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE).group(1)
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()
