"""README and documentation keep in step with the code: what can be chosen or run is there, what they name exists."""

import re
from functools import cache
from pathlib import Path
from typing import get_args

import click
import pytest

from docs.generated import complete
from search_spaces.expansion import expand
from search_spaces.loading import bundled_chains, bundled_specs, load_spec
from sweeper.cli.main import cli
from trainers.data.registry import DATA_SETS
from trainers.methods.registry import METHODS
from trainers.networks.registry import NETWORKS
from trainers.recipe.choices import Preset

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
# What users read before they run something; its flags are all of this command line.
GUIDES = README + "".join(
    (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    for page in ("start", "sweep", "searching", "choices", "reading", "price_of_k")
)
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("docs/**/*.md"))]
PACKAGES = ("trainers", "search_spaces", "sweeper", "reports")


@cache
def choices_page() -> str:
    """The page of choices as it is built, for which every bundled spec is read."""
    return complete((ROOT / "docs" / "choices.md").read_text(encoding="utf-8"))


def commands() -> dict[str, click.Command]:
    """The command line's commands, by name."""
    context = click.Context(cli)
    return {name: cli.get_command(context, name) for name in cli.list_commands(context)}


def folders_of_code() -> set[str]:
    """The folders of the four packages that hold code, and the packages themselves."""
    return {
        path.parent.relative_to(ROOT).as_posix() + "/"
        for package in PACKAGES
        for path in (ROOT / package).rglob("__init__.py")
    }


def test_the_readme_fits_on_a_few_screens():
    assert len(README.splitlines()) <= 150


def test_the_readme_has_a_line_for_every_folder_of_code_and_for_no_other():
    listed = re.search(r"## The four packages\n(.*?)\n## ", README, re.DOTALL)[1]
    folders = set(re.findall(r"`([\w/]+/)`", listed))
    assert folders - {"tests/", "benchmarks/", "docs/"} == folders_of_code()


CHOICES = [*NETWORKS, *METHODS, *DATA_SETS, *get_args(Preset), *bundled_specs(), *bundled_chains()]


@pytest.mark.parametrize("name", CHOICES)
def test_whatever_can_be_chosen_is_on_the_page_of_choices(name):
    assert f"`{name}`" in choices_page()


@pytest.mark.parametrize("name", commands())
def test_every_command_is_in_the_readme(name):
    assert re.search(rf"\bsweeper {name}\b", README)


@pytest.mark.parametrize(
    "line", sorted(set(re.findall(r"bin/sweeper [^\n`#]+", GUIDES + (ROOT / "Makefile").read_text())))
)
def test_every_command_line_in_the_guides_and_the_makefile_is_accepted(line):
    _, name, *words = line.split()
    commands()[name].make_context(name, words)  # raises UsageError


def test_every_flag_in_the_guides_exists():
    parameters = [one for command in commands().values() for one in command.get_params(click.Context(command))]
    known = {flag for one in parameters for flag in one.opts + one.secondary_opts}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", GUIDES)) <= known


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


@pytest.mark.parametrize("example", sorted(set(re.findall(r"```yaml\n(.*?)```", GUIDES, re.DOTALL))))
def test_every_spec_in_the_guides_can_be_launched(example, tmp_path):
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


def test_every_place_to_add_something_is_where_the_documentation_says():
    places = re.findall(r"`(\w+)`\s+in\s+`([\w/.]+)`", (ROOT / "docs" / "adding.md").read_text(encoding="utf-8"))
    assert places
    missing = [
        (n, path)
        for n, path in places
        if not re.search(rf"^(class |def )?{n}\b", (ROOT / path).read_text(), re.MULTILINE)
    ]
    assert missing == []


def test_every_decision_is_in_their_list_under_its_own_title():
    folder = ROOT / "docs" / "decisions"
    listed = re.findall(
        r"^\| \[(\d{4})\]\((\S+)\) \| (.+) \|$", (folder / "README.md").read_text(encoding="utf-8"), re.M
    )
    titles = {path.name: path.read_text(encoding="utf-8").splitlines()[0] for path in folder.glob("[0-9]*.md")}
    assert {name: f"# {number}: {title}" for number, name, title in listed} == titles


def test_the_changelog_has_the_version_of_the_package():
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE).group(1)
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()
